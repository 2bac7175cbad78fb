"""The stepping pipeline of the walker."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import TableError, table_read_request
from ..stream.credits import CreditQueue
from .layouts import context_fill
from .pointers import pointer_key
from .walk_decide import WalkDecide
from .walk_examine import WalkExamine
from .walk_state import Step, ddtp_layout, finding, line_job, walk_job, walk_state

__all__ = ["WalkSteps"]


class WalkSteps(wiring.Component):
    """Give walks their turns, one per clock, in a pipeline of 5 stages that never stops.

    PICK chooses a walk: one whose read is complete, else one that asked for another turn, else a
    new one. FETCH reads its state, SELECT the doubleword it looks at, EXAMINE judges that, and ACT
    writes the state back and sends the walk to its next read or to its end. ACT has no place to
    wait: what takes its results has a place for each walk.

    A read is offered 6 clocks after its walk started, or after the last beat of the read before.

    Parameters
    ----------
    slot_width : :class:`int`
        Width of the number of a miss-file entry.
    remap : :class:`RemapConfig`
        Geometry.

    Members
    -------
    take, start, index : ``In(1)``, ``In(walk_state(...))``, ``In(range(walks))``
        A walk starts, with this state. Only while not ``acting``.
    first : ``In(stream.Signature(range(walks)))``
        Walks that have started.
    go : ``In(1)``
        Walks that asked for another turn get it.
    ddtp : ``In(ddtp_layout())``
        Root of the device directory.
    completed, walk, access, poison : ``In(...)``
        A read is complete, see :class:`WalkBeats`.
    looking, look, word, error : ``Out(1)``, ``Out(...)``, ``In(64)``, ``In(TableError)``
        The doubleword to look at, see :class:`WalkBeats`.
    look_pointer, hit, pointer : ``Out(...)``, ``In(1)``, ``In(address_width - 12)``
        The pointer wanted, see :class:`PointerCache`.
    point, point_key, point_table : ``Out(1)``, ``Out(...)``, ``Out(address_width - 12)``
        A pointer to keep.
    look_stale, stale : ``Out(range(walks))``, ``In(1)``
        Whether a walk is stale.
    acting, fresh : ``Out(1)``
        Walk ``actor`` is in ACT; and it is no longer stale.
    actor, known, device_id, gscid : ``Out(...)``
        While ``acting`` or ``take``: what is known of which walk, see :class:`WalkSlots`.
    issue : ``Out(1)``
        With ``acting``: a read is issued, its first doubleword is ``issue_word`` of 64 bytes.
    read : ``Out(stream.Signature(table_read_request(...)))``
        Reads.
    job, line : ``Out(stream.Signature(..., always_ready=True))``
        Finished walks, and lines to fill.
    context : ``Out(stream.Signature(context_fill(), always_ready=True))``
        Device contexts to keep.
    """

    def __init__(self, *, slot_width, remap):
        self.slot_width = slot_width
        self.remap      = remap
        self.tag_width  = (remap.walks - 1).bit_length()
        walks, address_width = range(remap.walks), remap.physical_address_bits
        self.state_layout = walk_state(slot_width, address_width)
        read = table_read_request(address_width=address_width, tag_width=self.tag_width)
        job  = walk_job(self.tag_width, slot_width, address_width)
        always = lambda layout: stream.Signature(layout, always_ready=True)
        super().__init__({
            "take":         In(1),
            "start":        In(self.state_layout),
            "index":        In(walks),
            "first":        In(stream.Signature(walks)),
            "go":           In(1),
            "ddtp":         In(ddtp_layout()),
            "completed":    In(1),
            "walk":         In(walks),
            "access":       In(1),
            "poison":       In(1),
            "looking":      Out(1),
            "look":         Out(data.StructLayout({"walk": walks, "word": 3})),
            "word":         In(64),
            "error":        In(TableError),
            "look_pointer": Out(pointer_key(remap.gpa_bits)),
            "hit":          In(1),
            "pointer":      In(address_width - 12),
            "point":        Out(1),
            "point_key":    Out(pointer_key(remap.gpa_bits)),
            "point_table":  Out(address_width - 12),
            "look_stale":   Out(walks),
            "stale":        In(1),
            "acting":       Out(1),
            "fresh":        Out(1),
            "actor":        Out(walks),
            "known":        Out(1),
            "device_id":    Out(24),
            "gscid":        Out(16),
            "issue":        Out(1),
            "issue_word":   Out(3),
            "read":         Out(stream.Signature(read)),
            "job":          Out(always(job)),
            "line":         Out(always(line_job(self.tag_width))),
            "context":      Out(always(context_fill())),
        })

    def elaborate(self, platform):
        m = Module()
        remap = self.remap
        address_width = remap.physical_address_bits
        m.submodules.again = again = CreditQueue(range(remap.walks), depth=remap.walks)
        m.submodules.examine = examine = WalkExamine(
            slot_width=self.slot_width, address_width=address_width, modes=remap.second_stage,
            ddt_levels=remap.ddt_levels)
        m.submodules.decide = decide = WalkDecide(
            walk_width=self.tag_width, slot_width=self.slot_width, address_width=address_width)
        # A walk is never read in the clock in which it is written: it has one turn at a time.
        m.submodules.states = states = memory.Memory(
            shape=self.state_layout, depth=remap.walks, init=[], attrs={"no_rw_check": 1})
        read, write = states.read_port(), states.write_port()

        picked = self._pick(m, read, again)
        examined = self._look(m, read, picked, examine)

        # EXAMINE, ACT
        acting, walk, stale = Signal(), Signal(range(remap.walks)), Signal()
        found = Signal(finding(self.slot_width, address_width))
        valid, walk_examined = examined
        m.d.comb += self.look_stale.eq(walk_examined)
        m.d.sync += [
            acting.eq(valid),
            walk.eq(walk_examined),
            found.eq(examine.o),
            stale.eq(self.stale),
        ]
        m.d.comb += [
            decide.walk.eq(walk),
            decide.found.eq(found),
            decide.stale.eq(stale),
            decide.hit.eq(self.hit),
            decide.pointer.eq(self.pointer),
            self.acting.eq(acting),
            self.fresh.eq(acting & (decide.restart | (found.step == Step.DIRECTORY))),
            again.i.valid.eq(acting & decide.again),
            again.i.p.eq(walk),
            again.reserve.eq(again.i.valid),
        ]

        # The state of a walk is written when it starts and in ACT.
        m.d.comb += [
            self.actor.eq(Mux(acting, walk, self.index)),
            write.addr.eq(self.actor),
            write.en.eq(acting | self.take),
            write.data.eq(Mux(acting, decide.state, self.start)),
            self.device_id.eq(write.data.access.device_id),
            self.gscid.eq(write.data.context.gscid),
            self.known.eq((write.data.step != Step.DIRECTORY) & (write.data.step != Step.DDT)
                          & (write.data.step != Step.CONTEXT)),
        ]
        self._send(m, decide, acting)
        return m

    def _pick(self, m, read, again):
        """PICK. Return what FETCH gets: valid, walk, errors of the read."""
        turn, valid = Signal(), Signal()
        walk, errors = Signal(range(self.remap.walks)), Signal(2)
        m.d.comb += [
            turn.eq(again.o.valid & self.go),
            again.o.ready.eq(self.go & ~self.completed),
            self.first.ready.eq(~self.completed & ~turn),
            read.addr.eq(Mux(self.completed, self.walk, Mux(turn, again.o.p, self.first.p))),
        ]
        m.d.sync += [
            valid.eq(self.completed | turn | self.first.valid),
            walk.eq(read.addr),
            errors.eq(Mux(self.completed, Cat(self.access, self.poison), 0)),
        ]
        return valid, walk, errors

    def _look(self, m, read, picked, examine):
        """FETCH and SELECT. Return what EXAMINE gets: valid, walk."""
        valid, walk, errors = picked
        key = self.look_pointer
        m.d.comb += [
            self.looking.eq(valid),
            self.look.walk.eq(walk),
            self.look.word.eq(read.data.word),
            key.gscid.eq(read.data.context.gscid),
            key.mode.eq(read.data.context.mode),
            key.region.eq(read.data.access.iova[21:]),
        ]
        selecting, selected, state = Signal(), Signal.like(walk), Signal(self.state_layout)
        all_errors, own_error = Signal(2), Signal(2)
        m.d.sync += [
            selecting.eq(valid),
            selected.eq(walk),
            state.eq(read.data),
            all_errors.eq(errors),
        ]
        m.d.comb += own_error.eq(self.error)

        # A device context is worth nothing if any part of it is in error.
        examining, examined, looked = Signal(), Signal.like(walk), Signal(self.state_layout)
        word, wrong = Signal(64), Signal(2)
        m.d.sync += [
            examining.eq(selecting),
            examined.eq(selected),
            looked.eq(state),
            word.eq(self.word),
            wrong.eq(Mux(state.step == Step.CONTEXT, all_errors, own_error)),
        ]
        m.d.comb += [
            examine.ddtp.eq(self.ddtp),
            examine.state.eq(looked),
            examine.word.eq(word),
            Cat(examine.access, examine.poison).eq(wrong),
        ]
        return examining, examined

    def _send(self, m, decide, acting):
        m.submodules.reads = reads = CreditQueue(self.read.p.shape(), depth=self.remap.walks)
        wiring.connect(m, reads.o, wiring.flipped(self.read))
        state, key = decide.state, self.point_key
        m.d.comb += [
            self.issue.eq(acting & decide.read),
            self.issue_word.eq(decide.request.address[3:6]),
            reads.i.valid.eq(self.issue),
            reads.i.p.eq(decide.request),
            reads.reserve.eq(self.issue),
            self.job.valid.eq(acting & decide.finish),
            self.job.p.eq(decide.job),
            self.line.valid.eq(self.job.valid & decide.job.line),
            self.line.p.eq(decide.line),
            self.context.valid.eq(acting & decide.learn),
            self.context.p.eq(decide.context),
            self.point.eq(acting & decide.point),
            key.gscid.eq(state.context.gscid),
            key.mode.eq(state.context.mode),
            key.region.eq(state.access.iova[21:]),
            self.point_table.eq(decide.found.ppn),
        ]
