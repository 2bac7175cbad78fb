"""Second part of the patcher: numbers are taken out of entries as they pass."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import Handler, Partial, TemplateWord
from .patch_intake import piece_beat
from .patch_layouts import Job, Taken, Token, fill_kind
from .patch_steps import PieceSteps
from .share_layouts import Kind

__all__ = ["PatchCapture"]

#: Which handler reads what an address of a kind points to.
HANDLERS = {Kind.RING: Handler.RING, Kind.PRP_LIST: Handler.PRP_LIST,
            Kind.TYPED_LIST: Handler.TYPED_LIST, Kind.TYPED_LIST_8: Handler.TYPED_LIST,
            Kind.RANGE_LIST: Handler.RANGE_LIST}


class PatchCapture(wiring.Component):
    """Take the numbers that decide from each entry, wherever it is in the beats.

    A step per clock: a beat of larger entries, or one entry of a beat that has several. Beats whose
    lanes are all treated alike take one step. ``token`` comes 1 clock after the last step of an
    entry that the piece has whole.

    Parameters
    ----------
    data_width : :class:`int`
        Width of the beats.

    Members
    -------
    i : ``In(stream.Signature(piece_beat(data_width)))``
        Beats.
    taps : ``In(TemplateWord)``, ``usable`` : ``In(1)``
        Template of the piece, and whether its parity is right.
    room, verdict_room, fetch_room : ``In(1)``
        There is room for a beat and a piece, for a verdict, and parameters can be fetched.
    beat : ``Out(1)``, ``piece`` : ``Out(1)``
        Pulses: the beat on ``i`` is done, and is the first of a piece with the job ``job``.
    job : ``Out(Job)``
        What is known of the piece.
    fetch : ``Out(1)``
        Pulse: fetch parameters for the piece on ``i``.
    reserve : ``Out(1)``
        Pulse: there will be a token in the next clock.
    token_valid : ``Out(1)``, ``token`` : ``Out(Token)``, ``taken`` : ``Out(Taken)``
        Entries.
    main : ``Out(TemplateWord)``
        The template of the entry; of it, what decides whether the alternative takes over.
    """

    def __init__(self, *, data_width):
        self.data_width = data_width
        super().__init__({
            "i":            In(stream.Signature(piece_beat(data_width))),
            "taps":         In(TemplateWord),
            "usable":       In(1),
            "room":         In(1),
            "verdict_room": In(1),
            "fetch_room":   In(1),
            "beat":         Out(1),
            "piece":        Out(1),
            "job":          Out(Job),
            "fetch":        Out(1),
            "reserve":      Out(1),
            "token_valid":  Out(1),
            "token":        Out(Token),
            "taken":        Out(Taken),
            "main":         Out(TemplateWord),
        })

    def elaborate(self, platform):
        m = Module()
        job, beat, taps = self.i.p.job, self.i.p, self.taps
        step, is_token, fresh = Signal(), Signal(), Signal(init=1)
        fits, handler = Signal(), Signal(Handler)
        steps = PieceSteps(m, job, lanes=self.data_width // 64, step=step, last=beat.last,
                           name="in")
        with m.Switch(job.kind):
            for kind, wanted in HANDLERS.items():
                with m.Case(kind):
                    m.d.comb += handler.eq(wanted)
        m.d.comb += [
            fits.eq(self.usable & taps.valid & (taps.entry_size == job.size)
                    & (taps.handler == handler)),
            is_token.eq(steps.ends & ~steps.torn & ~job.mode.whole),
            step.eq(self.i.valid & self.room
                    & (~is_token | (self.verdict_room & (~fresh | self.fetch_room)))),
            self.i.ready.eq(step & steps.done),
            self.beat.eq(step & steps.done),
            self.piece.eq(step & steps.done & beat.first),
            self.reserve.eq(step & is_token),
            self.fetch.eq(step & is_token & fresh),
            self.job.eq(job),
            self.job.mode.bar.eq(~taps.last_slot),
        ]
        with m.If(job.mode.pages & ~fits):
            m.d.comb += [self.job.mode.pages.eq(0), self.job.mode.poison.eq(1)]
        with m.If(step):
            m.d.sync += fresh.eq((fresh & ~is_token) | (beat.last & steps.done))
        m.d.sync += self.token_valid.eq(step & is_token)
        self._token(m, step, steps, fits)
        self._taken(m, step, steps)
        return m

    def _token(self, m, step, steps, fits):
        job, taps, token = self.i.p.job, self.taps, self.token
        first, last = Signal(10), Signal(10)
        number = steps.number.as_unsigned()
        m.d.comb += [
            first.eq(Cat(C(0, 1), steps.position)),
            last.eq(Cat(C(1, 1), (steps.position + steps.size - 1)[:9])),
        ]
        with m.If(step):
            m.d.sync += [
                token.template.eq(job.template),
                token.usable.eq(fits),
                token.void.eq(job.void),
                token.shift.eq(job.shift),
                token.ring.eq(job.kind == Kind.RING),
                token.size.eq(job.size),
                token.typed.eq(fill_kind(job.kind, Kind.TYPED_LIST, Kind.TYPED_LIST_8)),
                token.touched.eq((first <= job.last) & (last >= job.first)),
                # Of an entry that a cut divides, the data path gives both parts as they are in
                # the piece before the cut.
                token.whole.eq((first >= job.first) & (last <= job.last)),
                token.allow.eq(job.allow.bit_select(number[:6], 1) & ~number[6:].any()),
                token.widen.eq((taps.partial == Partial.WIDEN) & ~(taps.handler == Handler.RING)
                               | (taps.partial == Partial.WIDEN) & ~taps.once),
                token.k0.eq(taps.selectors[0].byte[2:6]),
                token.l0.eq(taps.addresses[0].length_dword[:4]),
                token.p.eq(taps.addresses[0].dword[1:4]),
                token.l1.eq(taps.addresses[2].length_dword[:4]),
                self.main.selectors[0].eq(taps.selectors[0]),
                self.main.alternative_enable.eq(taps.alternative_enable),
                self.main.alternative.eq(taps.alternative),
            ]

    def _taken(self, m, step, steps):
        lanes = self.data_width // 64
        bits  = (lanes - 1).bit_length()
        row, taps, taken = self.i.p.data, self.taps, self.taken

        def tap(name, number, where):
            """Find a lane of the entry: whether it is in the beat, and where."""
            at, here = Signal(signed(6), name=f"{name}_at"), Signal(name=f"{name}_here")
            m.d.comb += [
                at.eq(steps.offset + number),
                here.eq(step & (at >= 0) & (at < lanes)),
            ]
            with m.If(here):
                m.d.sync += where(at[:bits])

        def dword(name, number):
            value = getattr(taken, name)
            tap(name, number[1:4],
                lambda lane: value.eq(row.word_select(Cat(number[0], lane), 32)))

        # Of a length of a list, only that its upper half is 0 matters.
        halves = Cat(Cat(part[:16], part[16:].any()) for part in
                     (row[32 * n:32 * n + 32] for n in range(2 * lanes)))

        def half(name, number):
            value = getattr(taken, name)
            tap(name, number[1:4],
                lambda lane: value.eq(halves.word_select(Cat(number[0], lane), 17)))

        lows = Cat(row[64 * n:64 * n + 12] for n in range(lanes))
        dword("k0", taps.selectors[0].byte[2:6])
        dword("k1", taps.second)
        dword("l0", taps.addresses[0].length_dword)
        dword("v0", taps.values[0].dword)
        half("l1", taps.addresses[2].length_dword)
        half("l2", taps.addresses[3].length_dword)
        tap("p", taps.addresses[0].dword[1:4],
            lambda lane: taken.p.eq(lows.word_select(lane, 12)))
        tap("q", taps.addresses[1].dword[1:4],
            lambda lane: taken.q.eq(lows.word_select(lane, 12)))
        tap("v1", taps.values[1].dword[1:4],
            lambda lane: taken.v1.eq(row.word_select(lane, 64)))
