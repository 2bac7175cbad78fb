"""Generic stream components. These know nothing about PCIe."""

from .arbiter import StreamArbiter
from .credits import CreditQueue
from .passing import PassingQueue
from .queue import StreamQueue

__all__ = ["CreditQueue", "PassingQueue", "StreamArbiter", "StreamQueue"]
