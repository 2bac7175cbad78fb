"""Writing of event records to memory."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..axi import TableError, table_write_request, table_write_response
from ..stream import StreamQueue
from .queue_layouts import completion, record_write

__all__ = ["RecordWriter"]


class _Part(enum.Enum, shape=2):
    """Which part of a record a write is; also the low bits of its tag."""

    LOW   = 0  # bytes 0 to 15
    MID   = 1  # bytes 16 to 23, of a 64-bit port
    FINAL = 2  # the rest


class RecordWriter(wiring.Component):
    """Write records, many at a time, and report them in order.

    The phase bit of a record is in its final write, which is one beat of the port and is issued
    after everything else of the record has been answered, that is, is observable. The writes are

    * 64-bit port: bytes 0 to 15 and 16 to 23, then 24 to 31;
    * 128-bit port: bytes 0 to 15, then 16 to 31;
    * wider: bytes 0 to 31.

    A write that fails is issued once more; if it fails again, the record is reported as failed.
    ``done`` reports every record, in the order of ``record`` and so in order for each
    queue, when its final write has been answered.

    A record is not taken while another one waits to be issued for the first time: those waiting
    are better kept where they can still be overtaken.

    Latency is 2 clocks from ``record`` to ``request`` and 2 from the last ``response`` to
    ``done``; throughput is 1 request per clock, so 1 record per 3 clocks for a 64-bit, per 2 for
    a 128-bit port and per clock for wider ones, as long as ``slots`` cover the latency of memory.
    Responses are always taken. There is no combinational path between the streams.

    Parameters
    ----------
    queue_width : :class:`int`
        Width of queue numbers.
    address_width, data_width : :class:`int`
        Of the table port: 64, 128, 256 or 512 bits.
    slots : :class:`int`
        Records under way, a power of two of at least 2.

    Members
    -------
    record : ``In(stream.Signature(record_write(...)))``
        Records.
    done : ``Out(stream.Signature(completion(...)))``
        What became of them.
    request, response : ``Out(...)``, ``In(...)``
        Client of the table port; tags have ``tag_width`` bits.
    """

    def __init__(self, *, queue_width, address_width, data_width, slots):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(slots) is not int or slots < 2 or slots & (slots - 1):
            raise ValueError(f"Number of slots must be a power of two of at least 2, not {slots!r}")
        self.queue_width   = queue_width
        self.address_width = address_width
        self.data_width    = data_width
        self.slots         = slots
        self.slot_width    = (slots - 1).bit_length()
        self.tag_width     = self.slot_width + 2
        #: Parts issued at first.
        self.first = {64: (_Part.LOW, _Part.MID), 128: (_Part.LOW,)}.get(
            data_width, (_Part.FINAL,))
        whose = data.StructLayout({"queue": queue_width, "urgent": 1})
        self._order = StreamQueue(whose, depth=slots)
        request  = table_write_request(address_width=address_width, tag_width=self.tag_width)
        response = table_write_response(tag_width=self.tag_width)
        super().__init__({
            "record":   In(stream.Signature(record_write(queue_width, address_width))),
            "done":     Out(stream.Signature(completion(queue_width))),
            "request":  Out(stream.Signature(request)),
            "response": In(stream.Signature(response)),
        })

    def elaborate(self, platform):
        m = Module()
        job = data.StructLayout({"part": _Part, "slot": self.slot_width})
        # A slot has at most one job per part of it that was issued and has failed, or its final.
        m.submodules.again = again = StreamQueue(job, depth=self.slots * len(self.first))
        m.submodules.jobs  = jobs  = StreamQueue(job, depth=2)
        fresh, waiting, start = Signal(job), Signal(), Signal()

        # What has been begun goes before what is new.
        m.d.comb += [
            jobs.i.valid.eq(again.o.valid | waiting),
            jobs.i.p.eq(Mux(again.o.valid, again.o.p, fresh)),
            again.o.ready.eq(jobs.i.ready),
            start.eq(jobs.i.ready & ~again.o.valid & waiting),
        ]
        newest, take = Signal(self.slot_width), Signal()
        finished, failed = Signal(self.slots), Signal(self.slots)
        self._take(m, fresh, waiting, start, newest, take)
        self._judge(m, again.i, newest, take, finished, failed)
        self._report(m, take, finished, failed)
        self._issue(m, jobs.o, newest, take)
        return m

    def _take(self, m, fresh, waiting, start, newest, take):
        """Give a record the next slot; ``fresh`` is the job to issue for it."""
        number, leave = Signal(range(max(2, len(self.first)))), Signal()
        with m.Switch(number):
            for n, part in enumerate(self.first):
                with m.Case(n):
                    m.d.comb += fresh.part.eq(part)
        m.d.comb += leave.eq(start & (number == len(self.first) - 1))
        with m.If(start):
            m.d.sync += number.eq(Mux(leave, 0, number + 1))
        with m.If(leave):
            m.d.sync += waiting.eq(0)
        with m.If(take):
            m.d.sync += [waiting.eq(1), fresh.slot.eq(newest), newest.eq(newest + 1)]
        m.d.comb += [
            self.record.ready.eq((~waiting | leave) & self._order.i.ready),
            take.eq(self.record.valid & self.record.ready),
        ]

    def _judge(self, m, again, newest, take, finished, failed):
        """Decide what follows a response, one clock after it."""
        answer, valid = Signal.like(self.response.p), Signal()
        m.d.comb += self.response.ready.eq(1)
        m.d.sync += [valid.eq(self.response.valid), answer.eq(self.response.p)]
        job = Signal.like(again.p)
        m.d.comb += [Value.cast(job).eq(answer.tag), again.p.eq(job)]

        # Parts that were issued twice, and slots with one of their two first parts settled.
        tried = {part: Signal(self.slots, name=f"tried_{part.name.lower()}")
                 for part in dict.fromkeys((*self.first, _Part.FINAL))}
        half = Signal(self.slots)
        error, settled, first, broken = Signal(), Signal(), Signal(), Signal()
        place = C(1, self.slots) << job.slot
        with m.Switch(job.part):
            for part, vector in tried.items():
                with m.Case(part):
                    m.d.comb += settled.eq(~error | vector.bit_select(job.slot, 1))
                    with m.If(valid & ~settled):
                        m.d.sync += vector.eq(vector | place)
        m.d.comb += [
            error.eq(answer.error != TableError.NONE),
            first.eq(job.part != _Part.FINAL),
            broken.eq(error | failed.bit_select(job.slot, 1)),
        ]
        with m.If(valid & settled):
            m.d.sync += failed.eq(failed | Mux(error, place, 0))
            with m.If(first & (len(self.first) == 2) & ~half.bit_select(job.slot, 1)):
                m.d.sync += half.eq(half | place)
            with m.Elif(first & ~broken):
                m.d.comb += [again.valid.eq(1), again.p.part.eq(_Part.FINAL)]
            with m.Else():
                m.d.sync += finished.eq(finished | place)
        with m.Elif(valid):
            m.d.comb += again.valid.eq(1)
        with m.If(take):
            for vector in (*tried.values(), half, finished, failed):
                m.d.sync += vector.bit_select(newest, 1).eq(0)

    def _report(self, m, take, finished, failed):
        """Slots are freed in the order in which they were taken."""
        m.submodules.order = order = self._order
        oldest = Signal(self.slot_width)
        m.d.comb += [
            order.i.valid.eq(take),
            order.i.p.queue.eq(self.record.p.queue),
            order.i.p.urgent.eq(self.record.p.urgent),
            self.done.valid.eq(order.o.valid & finished.bit_select(oldest, 1)),
            self.done.p.queue.eq(order.o.p.queue),
            self.done.p.urgent.eq(order.o.p.urgent),
            self.done.p.failed.eq(failed.bit_select(oldest, 1)),
            order.o.ready.eq(self.done.ready & finished.bit_select(oldest, 1)),
        ]
        with m.If(self.done.valid & self.done.ready):
            m.d.sync += oldest.eq(oldest + 1)

    def _issue(self, m, job, newest, take):
        stored = data.StructLayout({"address": self.address_width, "record": 256})
        m.submodules.records = records = Memory(
            shape=self.address_width + 256, depth=self.slots, init=[], attrs={"no_rw_check": 1})
        write, read = records.write_port(), records.read_port()
        advance, now, kept = Signal(), Signal.like(job.p), data.View(stored, read.data)
        m.d.comb += [
            write.en.eq(take),
            write.addr.eq(newest),
            write.data.eq(Cat(self.record.p.address, self.record.p.record)),
            advance.eq(~self.request.valid | self.request.ready),
            job.ready.eq(advance),
            read.en.eq(advance),
            read.addr.eq(job.p.slot),
            self.request.p.tag.eq(now),
        ]
        with m.If(advance):
            m.d.sync += [self.request.valid.eq(job.valid), now.eq(job.p)]

        # (first byte, log2 of the number of bytes) of each part.
        parts = {64:  {_Part.LOW: (0, 4), _Part.MID: (16, 3), _Part.FINAL: (24, 3)},
                 128: {_Part.LOW: (0, 4), _Part.FINAL: (16, 4)}}
        with m.Switch(now.part):
            for part, (byte, size_log2) in parts.get(
                    self.data_width, {_Part.FINAL: (0, 5)}).items():
                with m.Case(part):
                    m.d.comb += [
                        self.request.p.address.eq(kept.address | byte),
                        self.request.p.size_log2.eq(size_log2),
                        self.request.p.data.eq(kept.record[8 * byte:8 * (byte + (1 << size_log2))]),
                    ]
