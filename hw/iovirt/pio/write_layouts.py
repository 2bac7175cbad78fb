"""Payloads inside the path of writes."""

from amaranth.lib import data

from iovirt.axi import Resp

from .target import target
from .windows import PAGE_LOG2

__all__ = ["QUAD_LOG2", "write_end", "write_job", "write_source", "write_unit"]

#: Writes are gathered in units of 8 aligned bytes.
QUAD_LOG2 = 3


def write_source(*, id_width, pages=False):
    """What is known of the burst of a write."""
    return data.StructLayout({
        "id":     id_width,
        "target": target(pages=pages),
        "legal":  1,
    })


def write_unit(*, id_width, pages=False):
    """Up to 8 bytes of a write, aligned."""
    return data.StructLayout({
        "source":   write_source(id_width=id_width, pages=pages),
        "quad":     PAGE_LOG2 - QUAD_LOG2,  # of the page
        "data":     64,
        "be":       8,    # 0: only the end of a burst
        "ends":     1,    # the burst
        "register": 1,    # 1, 2 or 4 aligned bytes, and nothing else of the burst
    })


def write_job(*, id_width, pages=False):
    """A TLP of a write, an access to configuration space or to the pages of guests, or only the
    end of a burst.
    """
    return data.StructLayout({
        "source":    write_source(id_width=id_width, pages=pages),
        "tlp":       1,
        "config":    1,
        "ends":      1,    # the burst
        "register":  1,    # see write_unit
        "word":      PAGE_LOG2 - 2,  # first Dword of the page
        "length_dw": 11,
        "first_be":  4,
        "last_be":   4,
        "data":      32,   # for configuration space, and pages
        **({"page": 1} if pages else {}),
    })


def write_end(*, id_width):
    """The answer to a burst."""
    return data.StructLayout({"id": id_width, "resp": Resp})
