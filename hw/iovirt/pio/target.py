"""What a window makes of an address."""

from amaranth import *
from amaranth.lib import data

from .layouts import GUEST_WIDTH, Policy
from .windows import PAGE_LOG2, ecam_mask

__all__ = ["goes_to_page", "target", "target_of"]

#: The doorbell aperture has at most 256 MiB.
APERTURE_LOG2 = 28


def target(*, pages=False):
    """Where an access goes: to device memory, to configuration space, or (neither) nowhere.

    If the pages of guests are served, also to these.
    """
    return data.StructLayout({
        "memory":         1,
        "config":         1,
        "address":        64,  # on PCIe; in the ECAM window; or of the core
        "guest":          GUEST_WIDTH,
        "completer":      16,
        "completer_mask": 16,
        "policy":         Policy,
        **({"page": 1} if pages else {}),
    })


def goes_to_page(view):
    """Return bit ``page`` of what describes an access; 0 if nothing serves the pages of guests."""
    return view.page if "page" in view.shape().members else C(0, 1)


def target_of(m, burst, registers, address, *, pages=False):
    """Return the target of the part of ``burst`` at ``address``, combinationally.

    The ECAM window comes first, then the others by number, the doorbell aperture last.
    ``registers`` has members ``ecam``, ``windows``, ``doorbells`` and ``no_window``.
    """
    where = Signal(target(pages=pages), name="where")
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

    windows, plain = registers.windows, address
    if pages:
        aperture = registers.doorbells.mask
        m.d.comb += where.page.eq(burst.legal & burst.doorbell & ~taken
                                  & ~aperture[APERTURE_LOG2:].any())
        plain = address & (aperture | ~where.page.replicate(len(aperture)))
    within = address & Mux(burst.ecam, mask, choose([window.mask for window in windows]))
    base = choose([window.pcie & ~Cat(window.mask, C(0, 64 - len(window.mask)))
                   for window in windows])
    m.d.comb += [
        where.memory.eq(burst.legal & ~burst.ecam & burst.hits.any()
                        & ~choose([burst.blocked[n] for n in range(len(windows))])),
        where.config.eq(burst.legal & burst.ecam),
        where.address[:PAGE_LOG2].eq(address[:PAGE_LOG2]),
        where.address[PAGE_LOG2:].eq(Mux(taken, within | base, plain)[PAGE_LOG2:]),
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
