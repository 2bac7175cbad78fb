"""What software does to the block: drivers for simulated systems."""

from .functions import bridge, endpoint
from .interrupts import Entry, InterruptDriver
from .pio import Found, PioDriver
from .registers import Registers

__all__ = ["Entry", "Found", "InterruptDriver", "PioDriver", "Registers", "bridge", "endpoint"]
