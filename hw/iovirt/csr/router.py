"""Accesses go to whoever serves their page."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .port import RegisterPortSignature

__all__ = ["PageRouter", "aligned_blocks", "check_pages"]


def check_pages(pages, address_width):
    """Raise ValueError if a page is served twice, or has no address of ``address_width`` bits."""
    known = [page for numbers in pages for page in numbers]
    for page in known:
        if not 0 <= page < 1 << (address_width - 12):
            raise ValueError(f"Page must be below {1 << (address_width - 12)}, because addresses "
                             f"have {address_width} bits, not {page!r}")
        if known.count(page) > 1:
            raise ValueError(f"Page {page} must be served by one port, not by several")


def aligned_blocks(pages):
    """Return ``(first page, log2 of pages)`` of the aligned blocks that ``pages`` consist of.

    A block is one comparison of upper bits; a window of n pages has at most 2 log2 n of them.
    """
    blocks, left = [], set(pages)
    while left:
        first, size = min(left), 0
        while first % (2 << size) == 0 and left.issuperset(range(first, first + (2 << size))):
            size += 1
        blocks.append((first, size))
        left.difference_update(range(first, first + (1 << size)))
    return blocks


class PageRouter(wiring.Component):
    """Hand each access to the port that serves its page; refuse accesses to other pages.

    A request takes one clock to be routed, a response none. The data of a refused read is 0.

    Parameters
    ----------
    pages : sequence of collections of :class:`int`
        Numbers of the pages that each of the ports ``o`` serves; no page twice.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    i : ``In(RegisterPortSignature(...))``
        Accesses.
    o : ``Out(RegisterPortSignature(...)).array(len(pages))``
        Their targets.
    """

    def __init__(self, *, pages, data_width, address_width):
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        check_pages(pages, address_width)
        self.blocks = [aligned_blocks(numbers) for numbers in pages]
        super().__init__({"i": In(port), "o": Out(port).array(len(pages))})

    def elaborate(self, platform):
        m = Module()
        request, response = self.i.request, self.i.response

        # Targets that know the access, one register each; all clear means refuse.
        chosen, routed = Signal(len(self.blocks)), Signal()
        page = request.p.address[12:]
        with m.If(request.valid & ~routed):
            m.d.sync += [
                routed.eq(1),
                chosen.eq(Cat(Cat(page[size:] == first >> size for first, size in blocks).any()
                              for blocks in self.blocks)),
            ]

        # The refusal is a target, too, with a state of its own.
        refuse, refused = Signal(), Signal()
        m.d.comb += refuse.eq(routed & ~chosen.any())
        data  = Const(0, len(response.p.data))
        error = valid = refused
        ready = refuse & ~refused
        for n, o in enumerate(self.o):
            mask = chosen[n]
            m.d.comb += [
                o.request.p.eq(request.p),
                o.request.valid.eq(request.valid & routed & mask),
                o.response.ready.eq(response.ready & mask),
            ]
            data  |= o.response.p.data & mask.replicate(len(data))
            error |= o.response.p.error & mask
            valid |= o.response.valid & mask
            ready |= o.request.ready & mask
        m.d.comb += [
            request.ready.eq(ready & routed),
            response.valid.eq(valid),
            response.p.data.eq(data),
            response.p.error.eq(error),
        ]
        with m.If(refuse & request.valid & ~refused):
            m.d.sync += refused.eq(1)
        with m.If(response.valid & response.ready):
            m.d.sync += [routed.eq(0), refused.eq(0)]
        return m
