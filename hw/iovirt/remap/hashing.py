"""Hashes of addresses."""

from functools import reduce
from operator import xor

from amaranth import *

__all__ = ["line_hash"]


def line_hash(access, width):
    """Hash of the device and the line of 8 pages that ``access`` needs, by exclusive or."""
    key = Cat(access.iova[15:], access.device_id)
    return reduce(xor, (key[at:at + width] for at in range(0, len(key), width)))
