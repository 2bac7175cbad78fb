"""What a window makes of an address."""

from amaranth import *
from amaranth.lib import data

from .layouts import GUEST_WIDTH, Policy
from .windows import PAGE_LOG2, ecam_mask

__all__ = ["target", "target_of"]


def target():
    """Where an access goes: to device memory, to configuration space, or (neither) nowhere."""
    return data.StructLayout({
        "memory":         1,
        "config":         1,
        "address":        64,  # on PCIe; in the ECAM window; or of the core
        "guest":          GUEST_WIDTH,
        "completer":      16,
        "completer_mask": 16,
        "policy":         Policy,
    })


def target_of(m, burst, registers, address):
    """Return the target of the part of ``burst`` at ``address``, combinationally.

    The ECAM window comes first, then the others by number, the doorbell aperture last.
    ``registers`` has members ``ecam``, ``windows``, ``doorbells`` and ``no_window``.
    """
    where = Signal(target(), name="where")
    _, mask = ecam_mask(m, registers.ecam.size_log2)
    grants, taken = [], burst.ecam
    for n in range(len(registers.windows)):
        grants.append(burst.hits[n] & ~taken)
        taken = taken | burst.hits[n]

    def choose(values):
        """Return the value of the window that is hit, or 0."""
        chosen = C(0)
        for grant, value in zip(grants, values, strict=True):
            chosen = chosen | (Value.cast(value) & grant.replicate(len(Value.cast(value))))
        return chosen

    windows = registers.windows
    within = address & Mux(burst.ecam, mask, choose([window.mask for window in windows]))
    base = choose([window.pcie & ~Cat(window.mask, C(0, 64 - len(window.mask)))
                   for window in windows])
    m.d.comb += [
        where.memory.eq(burst.legal & ~burst.ecam & burst.hits.any()
                        & ~choose([burst.blocked[n] for n in range(len(windows))])),
        where.config.eq(burst.legal & burst.ecam),
        where.address[:PAGE_LOG2].eq(address[:PAGE_LOG2]),
        where.address[PAGE_LOG2:].eq(Mux(taken, within | base, address)[PAGE_LOG2:]),
        where.guest.eq(choose([window.guest for window in windows])),
        where.completer.eq(choose([window.completer for window in windows])),
        where.completer_mask.eq(choose([window.completer_mask for window in windows])),
    ]
    policy = Value.cast(where.policy)
    with m.If(burst.ecam):
        m.d.comb += policy.eq(registers.ecam.policy)
    with m.Elif(taken):
        m.d.comb += policy.eq(choose([window.policy for window in windows]))
    with m.Elif(burst.doorbell):
        m.d.comb += policy.eq(registers.doorbells.policy)
    with m.Else():
        m.d.comb += policy.eq(registers.no_window)
    return where
