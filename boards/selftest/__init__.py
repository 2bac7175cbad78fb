"""The whole block between an on-chip generator and checker of TLPs, and block RAM as memory."""

from .selftest import SelfTest

__all__ = ["SelfTest"]
