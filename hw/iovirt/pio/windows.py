"""Windows of the cores' address map, as registers describe them."""

from amaranth import *
from amaranth.lib import data

from .layouts import GUEST_WIDTH, Policy

__all__ = ["PAGE_LOG2", "aperture", "ecam_mask", "ecam_window", "inside", "memory_window"]

#: Windows begin and end at multiples of 4 KiB, so that no legal burst leaves one half way.
PAGE_LOG2 = 12


def memory_window(*, address_width):
    """A window onto device memory, from registers."""
    return data.StructLayout({
        "enable":         1,
        "blocked":        1,              # accesses go nowhere, by the policy
        "base":           address_width,  # of the window for cores
        "mask":           address_width,  # size - 1; the size is a power of two
        "pcie":           64,             # what `base` becomes on PCIe
        "guest":          GUEST_WIDTH,
        "policy":         Policy,
        "completer":      16,             # the only RID that may complete its reads, ...
        "completer_mask": 16,             # but for these bits: all ones admits any
    })


def ecam_window(*, address_width):
    """The window onto configuration space, from registers."""
    return data.StructLayout({
        "enable":    1,
        "base":      address_width,  # a multiple of the size
        "size_log2": 5,              # 20 (1 bus) to 28 (256 buses); others disable the window
        "policy":    Policy,
    })


def aperture(*, address_width):
    """A range that is reserved, from registers."""
    return data.StructLayout({
        "enable": 1,
        "base":   address_width,
        "mask":   address_width,  # size - 1; the size is a power of two
        "policy": Policy,
    })


def inside(address, base, mask):
    """Whether ``address`` is in the window; low bits of a page always select within."""
    outside = ~Cat(mask, C(0, len(address) - len(mask)))
    return ((address ^ base) & outside)[PAGE_LOG2:] == 0


def ecam_mask(m, size_log2):
    """Return ``(legal, mask)`` of the size of an ECAM window, both registered."""
    legal, mask = Signal(name="ecam_legal"), Signal(28, name="ecam_mask")
    m.d.sync += legal.eq(0)
    with m.Switch(size_log2):
        for log2 in range(20, 29):
            with m.Case(log2):
                m.d.sync += [legal.eq(1), mask.eq((1 << log2) - 1)]
    return legal, mask
