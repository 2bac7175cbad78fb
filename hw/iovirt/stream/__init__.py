"""Generic stream components. These know nothing about PCIe."""

from .arbiter import StreamArbiter
from .credits import CreditQueue
from .queue import StreamQueue

__all__ = ["CreditQueue", "StreamArbiter", "StreamQueue"]
