"""Walk through the entries of a piece, beat by beat."""

from amaranth import *

__all__ = ["PieceSteps"]


class PieceSteps:
    """One step is one entry in one beat: an entry may need several beats, and a beat may have
    several entries or parts of them.

    Two stages of the patcher make the same steps of a piece. Lanes are those of 64 bits.

    Parameters
    ----------
    m : :class:`Module`
        Gets the logic.
    job : view of :class:`~iovirt.vf.patch_layouts.Job`
        The piece.
    lanes : :class:`int`
        Lanes of a beat.
    step : :class:`Value`
        The step is made in this clock.
    last : :class:`Value`
        The beat is the last one of the piece.

    Attributes
    ----------
    offset : first lane of the entry from the beat's first lane, signed.
    position : place of the entry in its page, in units of 8 bytes.
    number : of the entry, counted from the first of the read; signed.
    size : lanes of an entry.
    ends : the entry ends in this beat.
    done : nothing of the beat is left after this step.
    torn : the piece does not have all of the entry.
    inside : this is not the first step of a piece.
    """

    def __init__(self, m, job, *, lanes, step, last, name):
        self.offset   = Signal(signed(5), name=f"{name}_offset")
        self.position = Signal(9, name=f"{name}_position")
        self.number   = Signal(signed(11), name=f"{name}_number")
        self.size     = Signal(4, name=f"{name}_size")
        self.ends     = Signal(name=f"{name}_ends")
        self.done     = Signal(name=f"{name}_done")
        self.torn     = Signal(name=f"{name}_torn")
        self.inside   = Signal(name=f"{name}_inside")
        offset, position = Signal(signed(5)), Signal(9)
        number, head     = Signal(signed(11)), Signal()
        headless, end    = Signal(), Signal(signed(6))
        first_offset = job.offset.as_value().as_signed()
        m.d.comb += [
            self.size.eq(1 << job.size),
            self.offset.eq(Mux(self.inside, offset, first_offset)),
            self.position.eq(Mux(self.inside, position, job.position)),
            self.number.eq(Mux(self.inside, number, job.number.as_signed())),
            headless.eq(Mux(self.inside, head, first_offset < 0)),
            end.eq(self.offset + self.size),
            self.ends.eq((end <= lanes) | job.mode.whole),
            self.done.eq((end >= lanes) | job.mode.whole),
            self.torn.eq((headless | (last & ~self.ends)) & ~job.mode.whole),
        ]
        with m.If(step):
            m.d.sync += [
                self.inside.eq(~(last & self.done)),
                offset.eq(Mux(~self.done, end, Mux(self.ends, 0, self.offset - lanes))),
                position.eq(self.position + Mux(job.mode.whole, lanes,
                                                Mux(self.ends, self.size, 0))),
                number.eq(self.number + self.ends),
                head.eq(headless & ~self.ends),
            ]
