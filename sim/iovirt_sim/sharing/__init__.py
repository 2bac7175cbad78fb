"""Devices that guests share, and the guests, as models in the fast simulation.

They drive the whole block by TLPs, by its memory and by the port of the cores; Python sets them up
and looks at what they have counted. A device that nobody shares::

    system = PlainSystem(sim, config, burst=8, lists=64)    # options of cpp/sharing/nvme.h
    guest = system.guest(1, in_flight=32, sgl=64)           # of cpp/sharing/guest.h
    events, stuck = system.play(1000)                       # commands of each guest
    assert not stuck and not system.wrongs_of(events)       # every byte was compared
    guest.counts()["bytes_checked"], system.device_model.counts()["list_reads"]

A device that the block shares, with hostile guests beside honest ones::

    system = SharedSystem(sim, config, touch=8)
    system.add()                                            # like Linux
    system.add(kind="hostile", sgl=40, in_flight=32)
    system.campaign(10_000)                                 # frozen guests are reset
    assert not system.breaches()

A guest that does what the test says, and a device whose accesses are seen::

    guest = system.add(kind="scripted", report=1).drivers[0]
    system.program.trace(0)
    guest.write(3, 0, data)                                 # into its page 3
    guest.submit(command(2, block=5, count=8, prp1=guest.gpa(0), cid=7))
    events, _ = system.wait()
    system.completions_of(events), system.dma_of(events)
    system.program.pio_write(guest.values["sq_doorbell"], bytes([9, 0]), expect="any")
"""

from .device import CommandFailed, NvmeDevice
from .events import Breach, Completion, DeviceDma, Mismatch
from .guests import Guest, command
from .nic import NicDevice, NicGuest
from .shared import SharedSystem, Tenant
from .shared_nic import SharedNicSystem
from .system import PlainNicSystem, PlainSystem

__all__ = ["Breach", "CommandFailed", "Completion", "DeviceDma", "Guest", "Mismatch", "NicDevice",
           "NicGuest", "NvmeDevice", "PlainNicSystem", "PlainSystem", "SharedNicSystem",
           "SharedSystem", "Tenant", "command"]
