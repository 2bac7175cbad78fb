"""First part of the patcher: what is known of a piece."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .patch_layouts import LISTS, Job, fill_kind
from .share_layouts import Kind, ReadContext, context_write, patch_beat

__all__ = ["PatchIntake", "piece_beat"]


def piece_beat(data_width):
    """A beat together with what is known of its piece."""
    return data.StructLayout({"data": data_width, "first": 1, "last": 1, "job": Job})


class PatchIntake(wiring.Component):
    """Look up the context of each piece, and find its first entry.

    Latency is 2 clocks, throughput a beat per clock, whatever the length of pieces.

    Parameters
    ----------
    data_width : :class:`int`
        Width of the beats: 64, 128, 256 or 512.
    reads : :class:`int`
        Reads of which there is a context, at least 2.

    Members
    -------
    i : ``In(stream.Signature(patch_beat(...)))``
        Beats. ``synth`` counts in the first one of a piece, and holds for all of it.
    context : ``In(context_write(reads))``
        Contexts of reads; not written while a beat of the read is accepted.
    o : ``Out(stream.Signature(piece_beat(data_width)))``
        The same beats; ``job`` is valid with all of them.
    coming : ``Out(1)``, ``place`` : ``Out(3)``
        The first beat of a piece will appear on ``o`` with the next clock, and has this template.
    """

    def __init__(self, *, data_width, reads):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(reads) is not int or reads < 2:
            raise ValueError(f"Number of reads must be an integer of at least 2, not {reads!r}")
        self.data_width = data_width
        self.reads      = reads
        super().__init__({
            "i": In(stream.Signature(patch_beat(data_width=data_width, reads=reads))),
            "context": In(context_write(reads)),
            "o":       Out(stream.Signature(piece_beat(data_width))),
            "coming":  Out(1),
            "place":   Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.contexts = contexts = memory.Memory(
            shape=Shape.cast(ReadContext).width, depth=self.reads, init=[],
            attrs={"no_rw_check": 1})
        write, read = contexts.write_port(), contexts.read_port()
        valid, beat, wait = Signal(), Signal.like(self.i.p), Signal()
        known, context = Signal(), Signal(ReadContext)
        ready = Signal()
        # Stages: the memory is read; its word is put down; the job is computed.
        m.d.comb += [
            ready.eq(~self.o.valid | self.o.ready),
            wait.eq(valid & ~(~known | ready)),
            self.i.ready.eq(~wait),
            write.en.eq(self.context.en),
            write.addr.eq(self.context.slot),
            write.data.eq(self.context.data),
            read.en.eq(self.i.ready),
            read.addr.eq(self.i.p.slot),
        ]
        with m.If(~wait):
            m.d.sync += [valid.eq(self.i.valid), beat.eq(self.i.p)]
        middle = Signal.like(self.i.p)
        with m.If(~known | ready):
            m.d.sync += [known.eq(valid), middle.eq(beat)]
            with m.If(valid & beat.first):
                m.d.sync += context.eq(read.data)
        m.d.comb += [
            self.coming.eq(known & middle.first & ready),
            self.place.eq(context.template),
        ]
        with m.If(ready):
            m.d.sync += [
                self.o.valid.eq(known),
                self.o.p.data.eq(middle.data),
                self.o.p.first.eq(middle.first),
                self.o.p.last.eq(middle.last),
            ]
            with m.If(known & middle.first):
                m.d.sync += self._job(m, self.o.p.job, context, middle)
        return m

    def _job(self, m, job, context, beat):
        place  = beat.base[1:]  # of the first lane, in units of 8 bytes
        offset, position, ahead = Signal(signed(5)), Signal(9), Signal(signed(11))
        pages, listed, void = Signal(), Signal(), Signal()
        empty = Signal()
        mask, first, number = Signal(3), Signal(9), Signal(signed(11))
        m.d.comb += [
            pages.eq(context.kind == Kind.PRP_LIST),
            listed.eq(fill_kind(context.kind, *LISTS)),
            void.eq(context.replace | beat.synth),
            # Of a ring that nothing is known of, each 8 bytes may be an address: zeros would be
            # one of the manager.
            empty.eq((void & listed) | (context.replace & context.blank)),
            position.eq(place + offset),
            mask.eq((1 << context.size_log2[:2]) - 1),
            # A piece may begin before the read does, by what fills the row of the bus.
            first.eq(Cat(context.first[1:4] & ~mask, context.first[4:])),
            ahead.eq(position - first),
            number.eq(ahead >> context.size_log2[:2]),
        ]
        with m.If(context.kind == Kind.TYPED_LIST_8):
            m.d.comb += offset.eq(Mux(place[0], 0, -1))
        with m.Else():
            m.d.comb += offset.eq(-(place[:3] & mask))
        same = ("kind", "colour", "key", "template", "shift", "first", "last", "allow")
        return [
            *(getattr(job, name).eq(getattr(context, name)) for name in same),
            job.size.eq(context.size_log2),
            job.mode.whole.eq(pages | empty),
            job.mode.pages.eq(pages & ~void),
            job.mode.poison.eq(empty),
            job.void.eq(void),
            job.offset.eq(offset),
            job.position.eq(position),
            job.number.eq(Mux(number[7:10] == number[10].replicate(3), number,
                              Mux(number[10], -128, 127))),
        ]
