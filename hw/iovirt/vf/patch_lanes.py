"""Last part of the patcher: verdicts are written into the beats."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamQueue
from .lane_choice import OFFSET, OFFSET_MAX, choose_lane
from .layouts import TemplateWord
from .patch_layouts import NOTHING_OFF, Job, Verdict
from .patch_steps import PieceSteps
from .share_layouts import AddressSettings, Charge, Denial, DenialCause, Weaken, patched_beat

__all__ = ["PatchLanes", "piece_data"]


def piece_data(data_width):
    """A beat that waits for the verdicts on its entries."""
    return data.StructLayout({"data": data_width, "last": 1})


class PatchLanes(wiring.Component):
    """Write what was found for each entry into its lanes, as they pass.

    Every lane of a beat is written in one of its steps; a lane of an entry that the piece has only
    a part of becomes poison. Latency is 3 clocks, throughput 1 step per clock.

    Parameters
    ----------
    data_width : :class:`int`
        Width of the beats.
    weak : :class:`bool`
        Give it ``weaken``.

    Members
    -------
    beats : ``In(stream.Signature(piece_data(data_width)))``
        Beats; with the first one of a piece or before it:
    jobs : ``In(stream.Signature(Job))``
        What is known of the piece.
    verdicts : ``In(stream.Signature(Verdict))``
        Of each entry that the piece has whole.
    lane_en : ``Out(1)``, ``lane_place`` : ``Out(3)``, ``lane`` : ``In(TemplateWord)``
        To the template store and from it.
    usable : ``In(8)``
        Templates with the right parity; entries of others become poison.
    settings : ``In(AddressSettings)``
        Layout of addresses.
    o : ``Out(stream.Signature(patched_beat(data_width)))``
        Beats with everything in place.
    charge : ``Out(stream.Signature(Charge))``
        Bytes that good entries move.
    denial : ``Out(stream.Signature(Denial))``, ``lost`` : ``Out(1)``
        Replaced entries. One that comes while another waits is only counted: a pulse of ``lost``.
    """

    def __init__(self, *, data_width, weak=False):
        self.data_width = data_width
        self.weak       = weak
        super().__init__({
            "beats":      In(stream.Signature(piece_data(data_width))),
            "jobs":       In(stream.Signature(Job)),
            "verdicts":   In(stream.Signature(Verdict)),
            "lane_en":    Out(1),
            "lane_place": Out(3),
            "lane":       In(TemplateWord),
            "usable":     In(8),
            "settings":   In(AddressSettings),
            "o":          Out(stream.Signature(patched_beat(data_width))),
            "charge":     Out(stream.Signature(Charge)),
            "denial":     Out(stream.Signature(Denial)),
            "lost":       Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        self._lanes = self.data_width // 64
        self._off = self.weaken if self.weak else NOTHING_OFF
        job, verdict = self.jobs.p, self.verdicts.p
        step, run, judged = Signal(), Signal(), Signal()
        m.submodules.charges = charges = StreamQueue(Charge, depth=2)
        wiring.connect(m, charges.o, wiring.flipped(self.charge))
        steps = PieceSteps(m, job, lanes=self._lanes, step=step, last=self.beats.p.last,
                           name="out")
        m.d.comb += [
            judged.eq(~job.mode.whole & ~steps.torn),
            run.eq(~self.o.valid | self.o.ready),
            step.eq(run & self.beats.valid & self.jobs.valid & (~judged | self.verdicts.valid)
                    & ~(judged & verdict.charge & ~charges.i.ready)),
            self.beats.ready.eq(step & steps.done),
            self.jobs.ready.eq(step & steps.done & self.beats.p.last),
            self.verdicts.ready.eq(step & judged & steps.ends),
            self.lane_en.eq(run),
            self.lane_place.eq(verdict.template),
        ]
        self._report(m, step & judged & steps.ends, steps, charges.i)

        # The step is put down; its lanes are chosen; they are written.
        busy = Signal()
        now = data.StructLayout({
            "lanes": data.ArrayLayout(data.StructLayout({"index": 3, "here": 1}), self._lanes),
            "job": Job, "verdict": Verdict, "torn": 1, "position": 9, "done": 1, "last": 1})
        item, row = Signal(now, reset_less=True), Signal(self.data_width, reset_less=True)
        with m.If(run):
            m.d.sync += [
                busy.eq(step),
                row.eq(self.beats.p.data),
                item.job.eq(job),
                item.verdict.eq(verdict),
                item.verdict.poison.eq(verdict.poison
                                       | ~self.usable.bit_select(verdict.template, 1)),
                item.torn.eq(steps.torn),
                item.position.eq(steps.position),
                item.done.eq(steps.done),
                item.last.eq(self.beats.p.last),
            ]
            for n in range(self._lanes):
                place = Signal(signed(6), name=f"place_{n}")
                m.d.comb += place.eq(n - steps.offset)
                m.d.sync += [
                    item.lanes[n].index.eq(place[:3]),
                    item.lanes[n].here.eq(((place >= 0) & (place < steps.size)) | job.mode.whole),
                ]
        self._write(m, run, busy, item, row)
        return m

    def _report(self, m, leaves, steps, charge):
        job, verdict = self.jobs.p, self.verdicts.p
        m.d.comb += [
            charge.valid.eq(leaves & verdict.charge),
            charge.p.colour.eq(job.colour),
            charge.p.bytes.eq(verdict.bytes),
        ]
        m.d.sync += self.lost.eq(leaves & verdict.report & self.denial.valid)
        with m.If(self.denial.ready):
            m.d.sync += self.denial.valid.eq(0)
        with m.If(leaves & verdict.report & ~self.denial.valid):
            m.d.sync += [
                self.denial.valid.eq(1),
                self.denial.p.cause.eq(DenialCause.ENTRY),
                self.denial.p.colour.eq(job.colour),
                self.denial.p.address.eq(Cat(C(0, 3), steps.position)),
            ]

    def _write(self, m, run, busy, item, row):
        """Choose for each lane, then write."""
        full, last = Signal(), Signal()
        old = Signal(self.data_width, reset_less=True)
        r0, r1 = (Signal.like(item.verdict[name], name=name, reset_less=True)
                  for name in ("r0", "r1"))
        safe = Signal(8, reset_less=True)
        tops, beyond = self._tops(m, run, item)
        with m.If(run):
            m.d.sync += [
                full.eq(busy),
                old.eq(row),
                r0.eq(item.verdict.r0),
                r1.eq(item.verdict.r1),
                safe.eq(self.lane.safe_opcode),
                last.eq(item.last),
            ]
        done = Signal()
        with m.If(run):
            m.d.sync += [
                done.eq(item.done),
                self.o.valid.eq(full & done),
                self.o.p.last.eq(last),
            ]
        bits = (self._lanes - 1).bit_length()
        for n in range(self._lanes):
            ending = item.position[bits:].all() if n == self._lanes - 1 else C(0, 1)
            choice = choose_lane(m, run, n, item, self.lane, beyond, self._off,
                                 ending=ending)
            value  = self._lane_value(choice, old[64 * n:64 * n + 64], r0, r1, safe, tops)
            with m.If(run & full & choice.here):
                m.d.sync += self.o.p.data[64 * n:64 * n + 64].eq(value)

    def _tops(self, m, run, item):
        """Compute the upper halves of addresses: data, poison, list; and which bits are theirs."""
        # Settings do not change while there are beats.
        settings = self.settings
        mask, shift, beyond = Signal(16), Signal(4), Signal(64 - OFFSET)
        m.d.sync += [
            mask.eq((1 << settings.key_bits) - 1),
            shift.eq(settings.offset_bits - OFFSET),
            beyond.eq(Cat(bit >= settings.offset_bits if bit < OFFSET_MAX else C(1, 1)
                          for bit in range(OFFSET, 64))),
        ]
        key  = item.job.key & mask
        base = Signal(64 - OFFSET)
        m.d.comb += base.eq(Cat(C(0, 4), item.job.colour, key) << shift)
        tops = []
        kinds = {"data": C(0, 4), "poison": C(15, 4),
                 "list": Cat(C(0, 1), item.verdict.kind)}
        for name, kind in kinds.items():
            top = Signal(64 - OFFSET, name=f"top_{name}", reset_less=True)
            with m.If(run):
                m.d.sync += top.eq(base | (kind << shift))
            tops.append(top)
        return tops, beyond

    def _lane_value(self, choice, old, r0, r1, safe, tops):
        """Return a lane: a source for each bit, and what is added to what is taken from it."""
        bits = []
        for bit in range(64):
            source = Cat(choice.low[bit // 8] & ~choice.cut[bit], choice.high[bit // 8])
            taken  = Mux(source[1], Mux(source[0], r1[bit], r0[bit % 32]), source[0] & old[bit])
            added  = choice.opcode[bit // 8] & safe[bit % 8]
            if bit >= OFFSET:
                top = [each[bit - OFFSET] for each in tops]
                added = added | Mux(choice.top[1], Mux(choice.top[0], top[2], top[1]),
                                    choice.top[0] & top[0])
            bits.append(taken | added)
        return Cat(bits)
