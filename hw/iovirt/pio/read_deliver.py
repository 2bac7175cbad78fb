"""Data of reads, to the core."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue

from .answer_order import token
from .layouts import TAG_WIDTH, FinishStatus, Policy
from .read_beats import ReadBeats, read_beat
from .read_data import fetch_port
from .read_layouts import read_record, read_result, released, row_width, tag_depth

__all__ = ["ReadDelivery"]


class ReadDelivery(wiring.Component):
    """Turn finished pieces of reads into beats of the core's port.

    A beat has the bytes that were asked for and zeros elsewhere; if the piece failed it has what
    the policy of the window says:

    ============ ============= ============== ==================
    policy       no data       poisoned data  OK
    ============ ============= ============== ==================
    ``ONES``     ones          ones           data
    ``ERROR``    ones, SLVERR  ones, SLVERR   data
    ``POISON``   ones, poison  data, poison   data
    ============ ============= ============== ==================

    A piece that goes while nothing else does has its first beat on ``o`` 2 clocks later if its data
    was looked at early, else 3 clocks later. Throughput is 1 row or 1 beat per clock, whichever is
    narrower, also from one piece to the next. ``go`` never waits.

    Parameters
    ----------
    data_width : :class:`int`
        Of the TLP streams, that is, of a row.
    bus_width, id_width : :class:`int`
        Of the AXI port.
    max_read_bytes, slots, tags : :class:`int`
        Largest piece, number of pieces, and of tags in use at once.

    Members
    -------
    go : ``In(stream.Signature(token(...), always_ready=True))``
        Pieces whose turn it is.
    record, result, early : see :class:`ReadSplitter` and :class:`ReadEnds`
    fetch : ``Out(fetch_port(...))``
        Asks for data of tags.
    release : ``Out(stream.Signature(released()))``
        Tags whose data is no longer needed.
    put : ``Out(...)``
        Slots that are free again.
    o : ``Out(stream.Signature(read_beat(...)))``
    """

    def __init__(self, *, data_width, bus_width, id_width, max_read_bytes, slots, tags):
        self.data_width     = data_width
        self.bus_width      = bus_width
        self.id_width       = id_width
        self.max_read_bytes = max_read_bytes
        self.slots          = slots
        self._rows   = row_width(data_width=data_width, max_read_bytes=max_read_bytes)
        self._record = read_record(id_width=id_width, max_read_bytes=max_read_bytes)
        self._token  = token(slots=slots)
        number = range(slots)
        super().__init__({
            "go":      In(stream.Signature(self._token, always_ready=True)),
            "record":  In(wiring.Signature({
                "en": Out(1), "slot": Out(number), "record": Out(self._record)})),
            "result":  In(wiring.Signature({
                "en": Out(1), "slot": Out(number), "result": Out(read_result())})),
            "early":   In(wiring.Signature({
                "en": Out(1), "slot": Out(number), "tag": Out(TAG_WIDTH),
                "row": Out(self._rows)})),
            "fetch":   Out(fetch_port(depth=tag_depth(tags), data_width=data_width,
                                      max_read_bytes=max_read_bytes)),
            "release": Out(stream.Signature(released())),
            "put":     Out(wiring.Signature({"en": Out(1), "token": Out(self._token)})),
            "o":       Out(stream.Signature(read_beat(data_width=bus_width, id_width=id_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.beats = self._beats = beats = ReadBeats(
            data_width=self.data_width, bus_width=self.bus_width, id_width=self.id_width)
        m.submodules.releases = self._releases = StreamQueue(released(), depth=2)
        wiring.connect(m, beats.o, wiring.flipped(self.o))
        wiring.connect(m, self._releases.o, wiring.flipped(self.release))
        m.d.comb += beats.row.eq(self.fetch.data)
        self._elaborate_piece(m)
        self._elaborate_steps(m)
        return m

    def _elaborate_piece(self, m):
        # The queue has room for all slots. A piece that finds it empty passes by.
        m.submodules.waiting = waiting = StreamQueue(self._token, depth=self.slots)
        self._valid, self._done, self._now = Signal(), Signal(), Signal(self._token)
        loads, passes, comes = Signal(), Signal(), Signal(self._token)
        m.d.comb += [
            loads.eq(~self._valid | self._done),
            passes.eq(waiting.level == 0),
            comes.eq(Mux(passes, self.go.payload, waiting.o.payload)),
            waiting.i.valid.eq(self.go.valid & ~(passes & loads)),
            waiting.i.payload.eq(self.go.payload),
            waiting.o.ready.eq(loads),
        ]
        with m.If(loads):
            m.d.sync += [
                self._valid.eq(waiting.o.valid | (passes & self.go.valid)),
                self._now.eq(comes),
            ]
        # An early look was of use if that very piece comes now.
        self._looked = Signal()
        m.d.sync += self._looked.eq(~self._valid & self.early.en
                                    & (self.early.slot == comes.slot))

        def keep(name, port, shape, value):
            m.submodules[name] = memory = Memory(shape=shape, depth=self.slots, init=[])
            write = memory.write_port()
            read  = memory.read_port(transparent_for=(write,))
            m.d.comb += [
                write.en.eq(port.en),
                write.addr.eq(port.slot),
                write.data.eq(value),
                read.en.eq(loads),
                read.addr.eq(comes.slot),
            ]
            return read.data

        self._of_piece = keep("records", self.record, self._record, self.record.record)
        self._of_end   = keep("results", self.result, read_result(), self.result.result)

    def _elaborate_steps(self, m):
        # A step is a row or a beat, whichever is narrower. Beats after the first are aligned.
        record, result = self._of_piece, self._of_end
        bytes_log2  = exact_log2(min(self.data_width, self.bus_width) // 8)
        offset_bits = len(record.offset)
        started, at, left = Signal(), Signal(offset_bits), Signal(8)
        offset, beats = Signal(offset_bits), Signal(8)
        within, following = Signal(bytes_log2), Signal(offset_bits + 1)
        step, ends, full = Signal(), Signal(), Signal()
        m.d.comb += [
            offset.eq(Mux(started, at, record.offset)),
            beats.eq(Mux(started, left, record.beats)),
            within.eq(record.within),
            following.eq((offset | within) + 1),
            # Without data a beat needs no rows; without wide beats it needs one.
            full.eq((offset[bytes_log2:6] | ~record.within[bytes_log2:]).all()),
            ends.eq(~result.tagged | full | (self.bus_width <= self.data_width)),
            step.eq(self._valid & self._beats.free & self._releases.i.ready),
            self._done.eq(step & ends & (beats == 0)),
            self._releases.i.valid.eq(self._done & result.tagged),
            self._releases.i.payload.tag.eq(result.value),
        ]
        m.d.sync += [self.put.en.eq(self._done), self.put.token.eq(self._now)]
        with m.If(step):
            m.d.sync += [started.eq(~self._done), at.eq(following), left.eq(beats - ends)]
        row_log2 = exact_log2(self.data_width // 8)
        m.d.comb += [
            self.fetch.en.eq(self._valid | self.early.en),
            self.fetch.tag.eq(Mux(self._valid, result.value, self.early.tag)),
            self.fetch.row.eq(Mux(self._valid, offset[row_log2:row_log2 + self._rows],
                                  self.early.row)),
        ]
        self._elaborate_step(m, step, offset, within, ends, beats == 0)

    def _elaborate_step(self, m, en, offset, within, ends, last):
        record, result, step = self._of_piece, self._of_end, self._beats.step.step
        inside = Signal()  # a beat that has begun
        with m.If(en):
            m.d.sync += inside.eq(~ends)
        ok, ep = (result.status == status for status in (FinishStatus.OK, FinishStatus.POISONED))
        policy = record.policy
        m.d.comb += [
            self._beats.step.en.eq(en),
            self._beats.step.looked.eq(self._looked),
            step.id.eq(record.id),
            step.at.eq(offset),
            step.within.eq(within),
            step.first.eq(~inside),
            step.ends.eq(ends),
            step.last.eq(record.last & last),
            step.tagged.eq(result.tagged),
            step.word.eq(result.value),
            step.data.eq((ok | (ep & (policy == Policy.POISON))) & ~record.illegal),
            step.slverr.eq(record.illegal | (~ok & (policy == Policy.ERROR))),
            step.poison.eq(~record.illegal & ~ok & (policy == Policy.POISON)),
        ]
