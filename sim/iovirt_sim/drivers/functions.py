"""Functions behind the link, with the configuration space that software expects."""

from iovirt_sim.verilated import Function
from iovirt_sim.verilated.operations import NOBODY

__all__ = ["bridge", "endpoint"]

ALL = 0xffff_ffff
WIDE, PREFETCHABLE = 4, 8
#: A PCI Express capability at 0x40, and MSI behind it at 0x80.
PCIE_CAPABILITY, MSI_CAPABILITY = 0x40, 0x80


def endpoint(devfn, *, vendor=0x1AF4, device=0x10F0, bars=None, wide=(), parent=None, bus=0,
             at=None, multi=False):
    """Return a :class:`Function` of type 0.

    ``bars`` is {number: size}; those of ``wide`` are of 64 bits. ``at``, {number: address}, places
    them and switches them on, for tests that do not enumerate. ``multi``: the device has other
    functions.
    """
    bars = dict(bars or {})
    config = {
        0: (vendor | device << 16, 0),
        1: (0x0010_0000 | (6 if at else 0), 0x0000_0546),
        2: (0x0880_0001, 0),
        3: (multi << 23, 0xff),
        11: (vendor | device << 16, 0),
        13: (PCIE_CAPABILITY, 0),
        15: (0x0000_0100, 0xff),
        PCIE_CAPABILITY // 4: (0x10 | MSI_CAPABILITY << 8 | 2 << 16, 0),
        PCIE_CAPABILITY // 4 + 2: (0x0000_2810, 0x0000_7fff),
        MSI_CAPABILITY // 4: (0x05 | 0x0080 << 16, 0x0071_0000),
        **{MSI_CAPABILITY // 4 + n: (0, ALL) for n in (1, 2, 3)},
    }
    for bar, size in bars.items():
        base = (at or {}).get(bar, 0)
        kind = WIDE | PREFETCHABLE if bar in wide else 0
        config[4 + bar] = (base & ALL & -size | kind, ALL & -size)
        if bar in wide:
            config[5 + bar] = (base >> 32, ALL & -size >> 32)
    return Function(devfn, config, bars, tuple(wide), NOBODY if parent is None else parent,
                    bus=bus)


def bridge(devfn, *, parent=None, vendor=0x1B36, device=0x000C, bus=0, numbers=None, memory=None):
    """Return a :class:`Function` of type 1.

    ``numbers`` = (primary, secondary, subordinate) and ``memory`` = (base, limit) set it up, for
    tests that do not enumerate.
    """
    primary, secondary, subordinate = numbers or (0, 0, 0)
    base, limit = memory or (0xFFF0_0000, 0)
    config = {
        0: (vendor | device << 16, 0),
        1: (0x0010_0000 | (6 if numbers else 0), 0x0000_0546),
        2: (0x0604_0001, 0),
        3: (1 << 16, 0xff),
        6: (primary | secondary << 8 | subordinate << 16, 0xff_ffff),
        8: (base >> 16 & 0xfff0 | limit & 0xfff0_0000, 0xfff0_fff0),
        9: (0x0001_fff1, 0xfff0_fff0),
        10: (0, ALL),
        11: (0, ALL),
        13: (PCIE_CAPABILITY, 0),
        15: (0x0000_0100, 0xff),
        PCIE_CAPABILITY // 4: (0x10 | 6 << 20 | 2 << 16, 0),
    }
    return Function(devfn, config, {}, (), NOBODY if parent is None else parent, True, bus)
