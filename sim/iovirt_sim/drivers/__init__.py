"""What software does to the block: drivers for simulated systems."""

from .functions import bridge, endpoint
from .interrupts import Entry, InterruptDriver
from .pio import Found, PioDriver
from .registers import Registers
from .sharing import Reset, SharingDriver
from .sharing_words import Addresses, PairEntry, Rates

__all__ = ["Addresses", "Entry", "Found", "InterruptDriver", "PairEntry", "PioDriver", "Rates",
           "Registers", "Reset", "SharingDriver", "bridge", "endpoint"]
