"""Tables in synchronous memories, and what belongs to them."""

from .ecc import Secded
from .plru import Plru
from .ways import WayTable

__all__ = ["Plru", "Secded", "WayTable"]
