"""What the reads of walks have returned."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import TableError, table_read_beat

__all__ = ["WalkBeats"]


class WalkBeats(wiring.Component):
    """Store read data by walk, at its place in 64 bytes, and tell when a read is complete.

    Beats of different walks may come in any order. ``completed`` follows the last beat by 1 clock.
    The doubleword asked for in one clock is there in the next. There are two users: ``look`` comes
    first, ``peek`` gets the clocks in which ``looking`` is not set. A read that replaces part of an
    earlier one leaves the rest as it was.

    Parameters
    ----------
    walks : :class:`int`
        Walks in flight, at least 2.
    data_width : :class:`int`
        Width of a beat: 64, 128, 256 or 512.

    Members
    -------
    beats : ``In(stream.Signature(table_read_beat(...), always_ready=True))``
        Data of the reads.
    issue, issue_walk, issue_word : ``In(1)``, ``In(range(walks))``, ``In(3)``
        A read of ``issue_walk`` is issued, that begins at this doubleword of 64 bytes.
    completed, walk : ``Out(1)``, ``Out(range(walks))``
        All beats of a walk's read are there.
    access, poison : ``Out(1)``
        With ``completed``: some beat had this error.
    looking : ``In(1)``
        ``look`` is used in this clock.
    look, peek : ``In(...)``
        Doubleword ``word`` of ``walk``.
    word : ``Out(64)``
        The doubleword that was asked for.
    error : ``Out(TableError)``
        Error of its beat.
    """

    def __init__(self, *, walks, data_width):
        if type(walks) is not int or walks < 2:
            raise ValueError(f"Number of walks must be an integer of at least 2, not {walks!r}")
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        self.walks      = walks
        self.data_width = data_width
        beat = table_read_beat(data_width=data_width, tag_width=(walks - 1).bit_length())
        place = data.StructLayout({"walk": range(walks), "word": 3})
        super().__init__({
            "beats":      In(stream.Signature(beat, always_ready=True)),
            "issue":      In(1),
            "issue_walk": In(range(walks)),
            "issue_word": In(3),
            "completed":  Out(1),
            "walk":       Out(range(walks)),
            "access":     Out(1),
            "poison":     Out(1),
            "looking":    In(1),
            "look":       In(place),
            "peek":       In(place),
            "word":       Out(64),
            "error":      Out(TableError),
        })

    def elaborate(self, platform):
        m = Module()
        lane_bits = (self.data_width // 64 - 1).bit_length()
        beat  = self.beats.p
        entry = data.StructLayout({"data": self.data_width, "error": TableError})
        # A walk is looked at only when its read is complete, so reads never meet writes.
        m.submodules.lines = lines = memory.Memory(
            shape=entry, depth=self.walks << 3 - lane_bits, init=[], attrs={"no_rw_check": 1})
        write, read = lines.write_port(), lines.read_port()

        # For each walk: where its next beat goes, and the errors so far.
        position = Array(Signal(3 - lane_bits, name=f"position_{n}") for n in range(self.walks))
        errors   = Array(Signal(2, name=f"errors_{n}") for n in range(self.walks))
        seen = Signal(2)
        m.d.comb += [
            seen.eq(errors[beat.tag] | beat.error.as_value()),
            write.en.eq(self.beats.valid),
            write.addr.eq(Cat(position[beat.tag], beat.tag)),
            write.data.data.eq(beat.data),
            write.data.error.eq(beat.error),
        ]
        m.d.sync += [
            self.completed.eq(self.beats.valid & beat.last),
            self.walk.eq(beat.tag),
            Cat(self.access, self.poison).eq(seen),
        ]
        with m.If(self.beats.valid):
            m.d.sync += [
                position[beat.tag].eq(position[beat.tag] + 1),
                errors[beat.tag].eq(seen),
            ]
        with m.If(self.issue):
            m.d.sync += [
                position[self.issue_walk].eq(self.issue_word >> lane_bits),
                errors[self.issue_walk].eq(0),
            ]

        place, lane = Signal.like(self.look), Signal(lane_bits)
        m.d.comb += [
            place.eq(Mux(self.looking, self.look, self.peek)),
            read.addr.eq(Cat(place.word[lane_bits:], place.walk)),
            self.word.eq(read.data.data.word_select(lane, 64)),
            self.error.eq(read.data.error),
        ]
        m.d.sync += lane.eq(place.word)
        return m
