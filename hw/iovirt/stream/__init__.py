"""Generic stream components. These know nothing about PCIe."""

from .arbiter import StreamArbiter
from .queue import StreamQueue

__all__ = ["StreamArbiter", "StreamQueue"]
