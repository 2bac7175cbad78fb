"""The end of a walk: fills, fault record, answer."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream.credits import CreditQueue
from .layouts import Cause, FaultRecord, fill_page, line_fill, superpage_fill, walk_done
from .rules import check_physical
from .walk_state import walk_job

__all__ = ["WalkFinish"]


class WalkFinish(wiring.Component):
    """Send what a finished walk leaves, one walk at a time, then free it.

    A fault is recorded before it is answered, and a fill is done before what waits for it is told.
    A transfer a clock. Combinational paths run from ``pages`` to ``line_fill`` and back.

    Parameters
    ----------
    walks : :class:`int`
        Walks in flight; as many jobs can wait.
    slot_width, address_width : :class:`int`
        Widths of the number of a miss-file entry and of a physical address.

    Members
    -------
    job : ``In(stream.Signature(walk_job(...), always_ready=True))``
        Finished walks.
    pages : ``In(stream.Signature(fill_page(...)))``
        8 pages for each job with ``line``, in the order of the jobs.
    level : ``Out(range(walks + 1))``
        Jobs that are not done.
    done, fault, line_fill, superpage_fill : ``Out(stream.Signature(...))``
        As of the walker.
    release, walk : ``Out(1)``, ``Out(range(walks))``
        The walk is over.
    """

    def __init__(self, *, walks, slot_width, address_width):
        check_physical(address_width)
        self.walks         = walks
        self.slot_width    = slot_width
        self.address_width = address_width
        job = walk_job((walks - 1).bit_length(), slot_width, address_width)
        super().__init__({
            "job":            In(stream.Signature(job, always_ready=True)),
            "pages":          In(stream.Signature(fill_page(address_width))),
            "level":          Out(range(walks + 1)),
            "done":           Out(stream.Signature(walk_done(slot_width, address_width))),
            "fault":          Out(stream.Signature(FaultRecord)),
            "line_fill":      Out(stream.Signature(line_fill(address_width))),
            "superpage_fill": Out(stream.Signature(superpage_fill(address_width))),
            "release":        Out(1),
            "walk":           Out(range(walks)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.jobs = jobs = CreditQueue(self.job.p.shape(), depth=self.walks)
        wiring.connect(m, wiring.flipped(self.job), jobs.i)
        job, valid = jobs.o.p, jobs.o.valid

        # First what the others are waiting for, then the answer.
        answering, page = Signal(), Signal(3)
        first, sent, second = Signal(), Signal(), Signal()
        m.d.comb += [
            jobs.reserve.eq(self.job.valid),
            self.level.eq(jobs.level),
            first.eq(valid & ~answering),
            self.fault.valid.eq(first & job.record),
            self.superpage_fill.valid.eq(first & job.superpage),
            self.line_fill.valid.eq(first & job.line & self.pages.valid),
            self.pages.ready.eq(first & job.line & self.line_fill.ready),
            sent.eq((self.fault.valid & self.fault.ready)
                    | (self.superpage_fill.valid & self.superpage_fill.ready)
                    | (self.line_fill.valid & self.line_fill.ready & (page == 7))),
            second.eq(valid & (answering | ~(job.record | job.superpage | job.line))),
            self.done.valid.eq(second & ~job.prefetch),
            self.release.eq(second & (job.prefetch | self.done.ready)),
            jobs.o.ready.eq(self.release),
            self.walk.eq(job.walk),
        ]
        with m.If(sent):
            m.d.sync += answering.eq(1)
        with m.If(self.release):
            m.d.sync += answering.eq(0)
        with m.If(self.line_fill.valid & self.line_fill.ready):
            m.d.sync += page.eq(page + 1)

        self._describe(m, job, page)
        return m

    def _describe(self, m, job, page):
        access, cause, line, large = job.access, job.cause, self.line_fill.p, self.superpage_fill.p
        guest = ((cause == Cause.GUEST_FETCH) | (cause == Cause.GUEST_READ)
                 | (cause == Cause.GUEST_WRITE))
        # An ATS request that fails for lack of memory is a completer abort.
        aborts = Cat(cause == one for one in (
            Cause.FETCH_ACCESS, Cause.READ_ACCESS, Cause.WRITE_ACCESS, Cause.DDT_CORRUPT,
            Cause.TABLE_CORRUPT)).any()
        m.d.comb += [
            self.done.p.ok.eq(job.ok),
            self.done.p.ca.eq(aborts & (access.at == 1)),
            self.done.p.cause.eq(cause),
            self.done.p.ppn.eq(job.ppn),
            self.done.p.slot.eq(job.slot),
            self.fault.p.cause.eq(cause),
            self.fault.p.pv.eq(access.pv),
            self.fault.p.ttyp.eq(_transaction_type(access)),
            self.fault.p.device_id.eq(access.device_id),
            self.fault.p.iotval.eq(access.iova),
            self.fault.p.iotval2.eq(Mux(guest, Cat(C(0, 2), access.iova[2:]), 0)),
            line.gscid.eq(job.gscid),
            line.device_id.eq(access.device_id),
            line.line.eq(access.iova[15:]),
            line.napot.eq(job.napot),
            line.prefetch.eq(job.prefetch),
            line.page.eq(self.pages.p),
            line.last.eq(page == 7),
            large.gscid.eq(job.gscid),
            large.iova.eq(access.iova[12:]),
            large.level.eq(job.level),
            large.page.ppn.eq(job.ppn),
            large.page.valid.eq(1),
            Cat(large.page.r, large.page.w, large.page.x).eq(Cat(job.r, job.w, job.x)),
        ]
        # The answer is one page of the superpage.
        for level in range(1, 5):
            with m.If(job.level >= level):
                m.d.comb += large.page.ppn[9 * (level - 1):9 * level].eq(0)
        with m.If(access.pv):
            m.d.comb += [self.fault.p.pid.eq(access.pid), self.fault.p.priv.eq(access.priv)]


def _transaction_type(access):
    """TTYP of a fault record (RISC-V IOMMU 1.0, 3.2)."""
    kind = Mux(access.write, 3, Mux(access.exec & ((access.at == 0) | access.pv), 1, 2))
    return Mux(access.at == 0, kind, Mux(access.at == 1, 8, kind + 4))
