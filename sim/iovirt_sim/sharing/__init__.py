"""Devices that guests share, and the guests, as models in the fast simulation."""

from .device import CommandFailed, NvmeDevice
from .events import Breach, Completion, DeviceDma, Mismatch
from .guests import Guest, command
from .nic import NicDevice, NicGuest
from .shared import SharedSystem, Tenant
from .system import PlainNicSystem, PlainSystem

__all__ = ["Breach", "CommandFailed", "Completion", "DeviceDma", "Guest", "Mismatch", "NicDevice",
           "NicGuest", "NvmeDevice", "PlainNicSystem", "PlainSystem", "SharedSystem", "Tenant",
           "command"]
