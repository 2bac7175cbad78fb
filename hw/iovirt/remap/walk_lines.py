"""Pages made of the line that a walk has read."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import TableError
from ..stream.credits import CreditQueue
from .layouts import fill_page
from .rules import PageRules, check_physical
from .spec import Pte
from .walk_state import line_job

__all__ = ["LineReader"]


class LineReader(wiring.Component):
    """Make the 8 pages of a line from what has been read, page 0 first.

    A page a clock, in clocks in which ``grant`` is set; the first one 5 clocks after its job. Up to
    8 pages wait. Neighbours that may not be cached, or whose beat was in error, are not valid.

    Parameters
    ----------
    walks : :class:`int`
        Walks in flight; as many jobs can wait.
    data_width : :class:`int`
        Width of a beat of the reads: 64, 128, 256 or 512.
    address_width : :class:`int`
        Width of a physical address.

    Members
    -------
    job : ``In(stream.Signature(line_job(...), always_ready=True))``
        Lines to read. At most one of each walk.
    grant : ``In(1)``
        The doubleword at ``peek`` is being read.
    peek : ``Out(...)``
        Doubleword ``word`` of ``walk``.
    word, error : ``In(64)``, ``In(TableError)``
        What was at ``peek`` in the clock before.
    pages : ``Out(stream.Signature(fill_page(...)))``
        8 pages a job.
    """

    def __init__(self, *, walks, data_width, address_width):
        check_physical(address_width)
        self.walks         = walks
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "job":   In(stream.Signature(line_job((walks - 1).bit_length()), always_ready=True)),
            "grant": In(1),
            "peek":  Out(data.StructLayout({"walk": range(walks), "word": 3})),
            "word":  In(64),
            "error": In(TableError),
            "pages": Out(stream.Signature(fill_page(address_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.jobs = jobs = CreditQueue(self.job.p.shape(), depth=self.walks)
        m.submodules.results = results = CreditQueue(fill_page(self.address_width), depth=8)
        m.submodules.rules = rules = PageRules(address_width=self.address_width)
        wiring.connect(m, results.o, wiring.flipped(self.pages))
        wiring.connect(m, wiring.flipped(self.job), jobs.i)

        job, page, read = jobs.o.p, Signal(3), Signal()
        m.d.comb += [
            jobs.reserve.eq(self.job.valid),
            read.eq(jobs.o.valid & results.free & self.grant),
            results.reserve.eq(read),
            jobs.o.ready.eq(read & (page == 7)),
            self.peek.walk.eq(job.walk),
            self.peek.word.eq(Mux(job.napot, job.word, page)),
        ]
        with m.If(read):
            m.d.sync += page.eq(page + 1)

        # The word comes a clock after `peek`. If the entry that was demanded had to be read alone,
        # the other lanes of its beat hold nothing.
        lane_bits = (self.data_width // 64 - 1).bit_length()
        arriving, napot, pte = Signal(2), Signal(2), Signal(Pte)
        kept, usable, first, number = Signal(), Signal(), Signal(4), Signal(4)
        m.d.sync += [
            arriving.eq(Cat(read, arriving)),
            napot.eq(Cat(job.napot, napot)),
            first.eq(Cat(page, job.half)),
            number.eq(first),
            kept.eq(~job.alone | job.napot | (page == job.word)
                    | ((page >> lane_bits) != (job.word >> lane_bits))),
            usable.eq(kept & (self.error == TableError.NONE)),
            pte.eq(self.word),
        ]
        m.d.comb += [
            rules.pte.eq(pte),
            rules.napot.eq(napot[1]),
            rules.page.eq(number),
            results.i.valid.eq(arriving[1]),
            results.i.p.eq(rules.o),
            results.i.p.valid.eq(rules.o.valid & usable),
        ]
        return m
