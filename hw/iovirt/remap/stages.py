"""What the stages of the lookup pipeline hand to each other, and how its tables are indexed."""

from functools import reduce
from operator import xor

from amaranth import Mux
from amaranth.lib import data

from .layouts import Context

__all__ = ["context_match", "fold", "iotlb_hash_bits", "leaf", "line_match", "permitted",
           "superpage_leaf", "superpage_match", "want"]


def fold(value, width):
    """Return the XOR of all slices of ``value`` that are ``width`` bits wide."""
    return reduce(xor, (value[low:low + width] for low in range(0, len(value), width)))


def iotlb_hash_bits(sets):
    """Return how many bits of the set index depend on the device: a line is in one of 2**bits sets.

    Few, because an invalidation of a page, which tells no device, visits all of them. More than
    none, because guests use the same addresses: without it their lines would all be in the same
    sets.
    """
    return min(3, (sets - 1).bit_length())


def leaf(address_width):
    """What the IOTLB keeps of a 4 KiB page."""
    return data.StructLayout({
        "ppn": address_width - 12,
        "w":   1,
        "r":   1,
        "x":   1,
    })


def superpage_leaf(address_width, levels):
    """What the superpage array keeps of a leaf."""
    return data.StructLayout({
        "ppn":  address_width - 12,  # zero below the size of the leaf
        "wide": levels,              # [n]: it covers IOVA[12+9n:21+9n]; [0] is always set
        "w":    1,
        "r":    1,
        "x":    1,
    })


def want():
    """What decides whether a page that is found may be used."""
    return data.StructLayout({
        "eligible": 1,  # untranslated, without process_id, IOVA not wider than any second stage
        "write":    1,
        "exec":     1,
    })


def permitted(want, leaf):
    """Return whether ``leaf`` grants what is wanted."""
    return Mux(want.write, leaf.w, Mux(want.exec, leaf.x, leaf.r))


def context_match(ways):
    """Context cache to `Resolver`."""
    return data.StructLayout({
        "hit":      ways,                             # at most one bit
        "guest":    ways,                             # it hits and has a second stage
        "contexts": data.ArrayLayout(Context, ways),
    })


def line_match(ways, context_ways, address_width):
    """IOTLB to `Resolver`."""
    return data.StructLayout({
        "address_equal": ways,                                  # the page is valid
        "granted":       ways,                                  # and it permits the access
        "gscid_equal":   data.ArrayLayout(context_ways, ways),  # [way][context way]
        "leaves":        data.ArrayLayout(leaf(address_width), ways),
    })


def superpage_match(entries, context_ways, address_width, levels):
    """Superpage array to `Resolver`."""
    return data.StructLayout({
        "address_equal": entries,
        "granted":       entries,
        "gscid_equal":   data.ArrayLayout(context_ways, entries),
        "leaves":        data.ArrayLayout(superpage_leaf(address_width, levels), entries),
    })
