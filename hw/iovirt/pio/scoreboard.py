"""What is known of each tag."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..pcie.layouts import STAMP_WIDTH, ErrorCause, completion_beat
from ..pcie.tlp import CompletionHeader
from .completion_check import CompletionDecode
from .issue import UNSENT
from .layouts import PioError
from .request_layouts import (
    TIME_WIDTH,
    allocation,
    store_beat,
    tag_operation,
    tag_progress,
    tag_result,
    unsent_tag,
)
from .tag_return import ended_tag, expired_tag, returned_ask
from .tag_step import TagStep

__all__ = ["Scoreboard"]


class Scoreboard(wiring.Component):
    """Check completions against the requests of their tags, and end requests.

    The entry of a request is written when it gets its tag, its progress only by the one pipeline
    that all operations go through: beats of completions, and looks at the age of one tag after
    another. So each memory has one writer. An entry whose lap differs from that of the progress is
    of a new request. An operation waits a clock if the one before it may change the same tag; the
    outcome of the one before that is passed on beside the memory.

    Latency is 2 clocks from ``completion`` to ``result`` and ``store``, 3 to ``error``; throughput
    is one beat per clock. A look takes a clock in which no completion comes, and at least
    one clock in ``look_every + 1``, so all tags are looked at within about ``look_every * depth``
    clocks. ``completion`` waits at most 3 clocks in a row: one in which a look waits for the
    operation before it, one for the look, and one for its outcome.

    Parameters
    ----------
    depth, data_width, owner_width, max_read_bytes : :class:`int`
        Number of tags, and shapes.
    look_every : :class:`int`
        See above, at least 2.

    Members
    -------
    allocate : ``In(allocation(...))``
        Requests.
    clear : ``In(1)``, ``clear_tag`` : ``In(range(depth))``
        See :class:`TagAllocator`.
    completion : ``In(stream.Signature(completion_beat(data_width)))``
    look : ``In(stream.Signature(range(depth)))``
        Tags to look at.
    returned : ``Out(returned_ask(depth))``
    requester_id, done, now, timeout_disable, down : ``In``
        See :class:`Requester` and :class:`TagStep`.
    unsent : ``In(unsent_tag(depth)).array(UNSENT)``
        See :class:`Issue`.
    store : ``Out(store_beat(...))``
    ended : ``Out(ended_tag(depth))``
    result : ``Out(stream.Signature(tag_result(...), always_ready=True))``
    expired : ``Out(expired_tag(depth))``
    error : ``Out(stream.Signature(PioError, always_ready=True))``
    """

    def __init__(self, *, depth, data_width, owner_width, max_read_bytes, look_every):
        if type(look_every) is not int or look_every < 2:
            raise ValueError(f"Distance of looks must be an integer of at least 2, "
                             f"not {look_every!r}")
        self.depth      = depth
        self.look_every = look_every
        shape = {"depth": depth, "data_width": data_width, "max_read_bytes": max_read_bytes}
        self._op = tag_operation(owner_width=owner_width, **shape)
        self._progress = tag_progress(max_read_bytes=max_read_bytes)
        self._step = TagStep(owner_width=owner_width, **shape)
        super().__init__({
            "allocate":        In(allocation(depth=depth, owner_width=owner_width,
                                             max_read_bytes=max_read_bytes)),
            "clear":           In(1),
            "clear_tag":       In(range(depth)),
            "completion":      In(stream.Signature(completion_beat(data_width))),
            "look":            In(stream.Signature(range(depth))),
            "returned":        Out(returned_ask(depth)),
            "requester_id":    In(16),
            "done":            In(STAMP_WIDTH),
            "now":             In(TIME_WIDTH),
            "unsent":          In(unsent_tag(depth)).array(UNSENT),
            "timeout_disable": In(1),
            "down":            In(1),
            "store":           Out(store_beat(**shape)),
            "ended":           Out(ended_tag(depth)),
            "result":          Out(stream.Signature(tag_result(owner_width=owner_width),
                                                    always_ready=True)),
            "expired":         Out(expired_tag(depth)),
            "error":           Out(stream.Signature(PioError, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decode = decode = CompletionDecode(tag_bits=exact_log2(self.depth))
        m.submodules.step   = step   = self._step
        m.submodules.entries = entries = Memory(
            shape=self.allocate.entry.shape(), depth=self.depth, init=[],
            attrs={"no_rw_check": 1})
        m.submodules.states = states = Memory(
            shape=self._progress, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        tag, at, takes, looks, busy = self._choose(m)

        # Stage 1: the memories answer.
        note, entry = entries.write_port(), entries.read_port()
        keep, state = states.write_port(), states.read_port()
        valid, look, known, passed = Signal(), Signal(), Signal(), Signal()
        beat, row = Signal.like(self.completion.p), Signal(8)
        newest = Signal(self._progress)
        m.d.comb += [
            entry.addr.eq(tag),
            state.addr.eq(tag),
            self.returned.tag.eq(tag),
            decode.hdr.eq(beat.hdr),
            decode.requester_id.eq(self.requester_id),
            busy.eq(look | (valid & beat.last)),
        ]
        m.d.sync += [
            valid.eq(takes),
            look.eq(looks),
            # An entry that is written now is that of a free tag.
            known.eq(~self.clear & ~(self.allocate.en & (self.allocate.tag == tag))),
            passed.eq(keep.en & (keep.addr == tag)),
            newest.eq(keep.data),
        ]
        with m.If(takes):
            m.d.sync += [beat.eq(self.completion.p),
                         row.eq(Mux(self.completion.p.first, 0, row + 1))]

        # Stage 2: all is known.
        op, header = step.op, CompletionHeader(beat.hdr)
        state_now = Mux(passed, newest, state.data)
        reached = self.done - beat.stamp
        m.d.sync += [
            op.beat.eq(valid),
            op.look.eq(look),
            op.tag.eq(at),
            op.known.eq(known),
            op.unsent.eq(Cat(unsent.valid & (unsent.tag == at) for unsent in self.unsent).any()),
            op.entry.eq(entry.data),
            op.progress.eq(state_now),
            op.returned.eq(self.returned.lap),
            op.facts.eq(decode.facts),
            op.completer.eq(header.cid),
            op.row.eq(row),
            op.passed.eq(~reached[STAMP_WIDTH - 1]),
        ]
        m.d.sync += [op[name].eq(beat[name])
                     for name in ("data", "strb", "stamp", "first", "last", "abort")]
        m.d.comb += [
            note.en.eq(self.allocate.en | self.clear),
            note.addr.eq(Mux(self.clear, self.clear_tag, self.allocate.tag)),
            note.data.eq(Mux(self.clear, 0, self.allocate.entry.as_value())),
            keep.en.eq(step.write | self.clear),
            keep.addr.eq(Mux(self.clear, self.clear_tag, op.tag)),
            keep.data.eq(Mux(self.clear, 0, step.progress.as_value())),
        ]
        self._report(m, step)
        return m

    def _choose(self, m):
        """Choose what to do next: a beat, unless a look was put off for too long."""
        idle, forced = Signal(range(self.look_every)), Signal()
        tag, takes, looks = Signal(range(self.depth)), Signal(), Signal()
        last, busy = Signal(range(self.depth)), Signal()
        header = CompletionHeader(self.completion.p.hdr)
        wanted = Cat(header.tag, header.dw0.tag_8, header.dw0.tag_9)[:len(tag)]
        m.d.comb += [
            forced.eq((idle == self.look_every - 1) & self.look.valid),
            self.completion.ready.eq(~forced & ~(busy & (wanted == last))),
            takes.eq(self.completion.valid & self.completion.ready),
            self.look.ready.eq((forced | ~self.completion.valid)
                               & ~(busy & (self.look.payload == last))),
            looks.eq(self.look.valid & self.look.ready),
            tag.eq(Mux(forced | ~self.completion.valid, self.look.payload, wanted)),
        ]
        m.d.sync += last.eq(tag)
        with m.If(looks):
            m.d.sync += idle.eq(0)
        with m.Elif(~forced & self.look.valid):
            m.d.sync += idle.eq(idle + 1)
        return tag, last, takes, looks, busy

    def _report(self, m, step):
        op, record = step.op, Signal(PioError)
        unknown = step.cause == ErrorCause.UNEXPECTED_COMPLETION
        m.d.comb += [
            step.now.eq(self.now),
            step.timeout_disable.eq(self.timeout_disable),
            step.down.eq(self.down),
            step.may_expire.eq(self.expired.room),
            self.ended.en.eq(step.end),
            self.ended.tag.eq(op.tag),
            self.ended.lap.eq(op.entry.lap),
            self.ended.quarantined.eq(step.quarantine),
            self.result.valid.eq(step.end),
            self.result.p.eq(step.result),
            self.expired.en.eq(step.expired),
            self.expired.tag.eq(op.tag),
            self.expired.lap.eq(op.entry.lap),
            self.error.p.eq(record),
            self.error.valid.eq(record.cause != ErrorCause.NONE),
        ]
        wiring.connect(m, step.store, wiring.flipped(self.store))
        m.d.sync += [
            record.cause.eq(step.cause),
            record.rid.eq(Mux(op.look, 0, op.completer)),
            record.tag.eq(Mux(op.look, op.tag, op.facts.tag)),
        ]
        for name in ("core", "guest", "address"):
            m.d.sync += record[name].eq(Mux(unknown, 0, op.entry[name]))
