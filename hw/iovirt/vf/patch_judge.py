"""Third part of the patcher: the verdict on an entry."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .judge_addresses import judge_addresses, judge_lists
from .judge_values import judge_first, judge_second, replaced_values
from .layouts import Handler, LengthForm, TemplateWord
from .patch_layouts import NOTHING_OFF, Taken, Token, Verdict
from .share_layouts import Kind, Weaken

__all__ = ["PatchJudge"]


class PatchJudge(wiring.Component):
    """Find the class of an entry, and all that follows from it.

    Latency is 8 clocks, throughput 1 entry per clock. The readers of the template store are given a
    place, and have their part with the next clock.

    Parameters
    ----------
    weak : :class:`bool`
        Give it ``weaken``.

    Members
    -------
    token_valid : ``In(1)``, ``token`` : ``In(Token)``, ``taken`` : ``In(Taken)``
        An entry, and what was taken out of it.
    main : ``In(TemplateWord)``
        Its template; of it, what decides whether the alternative takes over.
    select_place, values_place, classes_place, addresses_place : ``Out(3)``
        To the template store.
    select, values, classes, addresses : ``In(TemplateWord)``
        From there.
    usable : ``In(8)``
        Templates with the right parity.
    map_en : ``Out(1)``, ``map_place`` : ``Out(3)``, ``opcode`` : ``Out(8)``
        Look up an opcode.
    opcode_class : ``In(2)``, ``map_good`` : ``In(1)``
        Its class, and whether the parity is right.
    value_is, base_is, limit_is : ``In(64)``; value_good, base_good, limit_good : ``In(1)``
        Parameters, as of :class:`ParameterStore` when its fetch starts together with the reading
        of the last lanes of the entry.
    verdict_valid : ``Out(1)``, ``verdict`` : ``Out(Verdict)``
        The verdict.
    """

    def __init__(self, *, weak=False):
        self.weak = weak
        readers = ("select", "values", "classes", "addresses")
        super().__init__({
            "token_valid":  In(1),
            "token":        In(Token),
            "taken":        In(Taken),
            "main":         In(TemplateWord),
            **{f"{name}_place": Out(3) for name in readers},
            **{name: In(TemplateWord) for name in readers},
            "usable":       In(8),
            "map_en":       Out(1),
            "map_place":    Out(3),
            "opcode":       Out(8),
            "opcode_class": In(2),
            "map_good":     In(1),
            **{f"{name}_is": In(64) for name in ("value", "base", "limit")},
            **{f"{name}_good": In(1) for name in ("value", "base", "limit")},
            "verdict_valid": Out(1),
            "verdict":      Out(Verdict),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        self._off = self.weaken if self.weak else NOTHING_OFF
        valid = Signal(8)
        m.d.sync += valid.eq(Cat(self.token_valid, valid))
        m.d.comb += self.verdict_valid.eq(valid[7])
        stage = self._alternative(m)
        stage = self._select(m, stage, valid[0])
        stage = self._class(m, stage)
        stage = self._sums(m, stage)
        stage = self._active(m, stage)
        stage = judge_lists(m, stage, self._later, self._off)
        self._verdict(m, stage)
        return m

    @staticmethod
    def _later(m, stage, *names, **values):
        """Registers for members of a stage that are looked at later, and for new values."""
        later = SimpleNamespace()
        for name in names:
            values[name] = getattr(stage, name)
        for name, value in values.items():
            register = Signal.like(value, name=name, reset_less=True)
            m.d.sync += register.eq(value)
            setattr(later, name, register)
        return later

    def _alternative(self, m):
        token, main, taken = self.token, self.main, self.taken
        first, place = main.selectors[0], Signal(3)
        byte = taken.k0.word_select(first.byte[:2], 8)
        other = (main.alternative_enable & first.enable & ~token.void
                 & ((byte & first.mask) != first.value))
        m.d.comb += [
            place.eq(Mux(other, main.alternative, token.template)),
            self.select_place.eq(place),
        ]
        return self._later(m, taken, "k0", "k1", "l0", "l1", "l2", "p", "q", "v0", "v1",
                           token=token, place=place)

    def _select(self, m, stage, valid):
        template, token = self.select, stage.token

        def byte_at(number):
            k0, l0, k1 = (word.word_select(number[:2], 8)
                          for word in (stage.k0, stage.l0, stage.k1))
            return Mux(number[2:6] == token.k0, k0, Mux(number[2:6] == token.l0, l0, k1))

        found = Signal(3)
        for n, selector in enumerate(template.selectors):
            byte = Signal(8, name=f"selector_{n}")
            m.d.comb += [
                byte.eq(byte_at(selector.byte)),
                found[n].eq(selector.enable & ((byte & selector.mask) == selector.value)),
            ]
        m.d.comb += [
            self.map_en.eq(valid & template.opcode_enable),
            self.map_place.eq(stage.place),
            self.opcode.eq(byte_at(template.opcode_byte)),
            self.values_place.eq(stage.place),
        ]
        field, length = template.addresses[0], Signal(33)
        raw = Signal(32)
        with m.Switch(field.length_form):
            with m.Case(LengthForm.LOW16):
                m.d.comb += raw.eq(stage.l0[:16])
            with m.Case(LengthForm.HIGH16):
                m.d.comb += raw.eq(stage.l0[16:])
            with m.Case(LengthForm.LOW20):
                m.d.comb += raw.eq(stage.l0[:20])
            with m.Default():
                m.d.comb += raw.eq(stage.l0)
        m.d.comb += length.eq(raw + field.zero_based)
        # An alternative that is of other entries would leave lanes of this one as they are.
        alike  = ((template.entry_size == token.size)
                  & (~token.ring | (template.handler == Handler.RING)))
        usable = (token.usable & template.valid & alike
                  & self.usable.bit_select(stage.place, 1))
        return self._later(m, stage, "token", "place", "l1", "l2", "p", "q", "v0", "v1",
                           found=found, mapped=template.opcode_enable, length=length,
                           usable=usable,
                           shift=Mux(field.queue_shift, token.shift, field.shift))

    def _class(self, m, stage):
        """Have the opcode's class; shift the length; judge the first value."""
        moved, over = stage.length[:28], stage.length[28:].any()
        for bit in reversed(range(4)):
            by = 1 << bit
            shifted = Signal(28, name=f"shifted_{by}")
            beyond  = Signal(name=f"beyond_{by}")
            m.d.comb += [
                shifted.eq(Mux(stage.shift[bit], moved << by, moved)),
                beyond.eq(over | (stage.shift[bit] & moved[28 - by:].any())),
            ]
            moved, over = shifted, beyond
        m.d.comb += self.classes_place.eq(stage.place)
        first  = judge_first(m, self.values.values[0], stage.v0, self.value_is, self.value_good,
                             self._off)
        second = judge_second(m, self.values.values[1], stage.v1)
        return self._later(m, stage, "token", "place", "l1", "l2", "p", "q", "v1", "found",
                           "length", "usable",
                           opcode=Mux(stage.mapped, self.opcode_class, 0),
                           unmapped=stage.mapped & ~self.map_good,
                           moved=moved, over=over, **first, **second)

    def _sums(self, m, stage):
        number = Signal(3)
        m.d.comb += [
            number.eq(self.classes.classes.as_value().word_select(
                Cat(stage.found, stage.opcode), 3)),
            self.addresses_place.eq(stage.place),
        ]
        sure = Signal(3)
        m.d.comb += sure.eq(Mux(stage.unmapped, 0, number))
        if self.weak:
            with m.If((self._off.opcode & (number == 0))
                      | (self._off.typed_type & stage.token.typed)):
                m.d.comb += sure.eq(1)
        sums = Signal(64)
        end  = Signal(65)
        m.d.comb += [
            sums.eq(stage.x + self.base_is),
            end.eq(stage.x + stage.length),
        ]
        if self.weak:
            with m.If(self._off.range65):
                m.d.comb += end[64].eq(0)
        return self._later(m, stage, "token", "place", "l1", "l2", "p", "q", "v1", "usable",
                           "moved", "over",
                           "r0", "v0_bad", "v0_classes", "v0_pattern", "v1_classes", "v1_units",
                           "v1_width", "ranges", "forces", "shifts",
                           number=sure, sums=sums, end=end,
                           base_bad=stage.shifts & ~self.base_good)

    def _active(self, m, stage):
        active = judge_addresses(m, self.addresses, stage, self._off)
        of_class = lambda classes: Cat(C(0, 1), classes).bit_select(stage.number, 1)
        v0_on, v1_on, written = Signal(), Signal(), Signal()
        m.d.comb += [
            v0_on.eq(of_class(stage.v0_classes)),
            v1_on.eq(of_class(stage.v1_classes)),
            written.eq(v1_on & stage.shifts & ~(self._off.nsid & stage.forces)),
        ]
        r1 = []
        for unit, source in enumerate(((0, 0, 0), (0, 1, 1), (0, 0, 2), (0, 1, 3))):
            part = lambda n: stage.sums[16 * n:16 * n + 16]
            new  = Mux(stage.v1_width[0], part(source[0]),
                       Mux(stage.v1_width[1], part(source[1]), part(source[2])))
            r1.append(Mux(stage.v1_units[unit] & written, new, stage.v1[16 * unit:16 * unit + 16]))
        outside = Signal()
        m.d.comb += outside.eq((stage.end > self.limit_is) | ~self.limit_good)
        bad = ((stage.number == 0) | (v0_on & stage.v0_bad)
               | (v1_on & (stage.base_bad | (stage.ranges & outside & ~self._off.range))))
        return self._later(m, stage, "token", "place", "usable", "r0", "v0_pattern", "v1_units",
                           "v1_width", "forces", "q", "moved", "over", r1=Cat(r1),
                           r0_on=v0_on, bad=bad | active.pop("long"), **active)

    def _verdict(self, m, stage):
        out, token = self.verdict, stage.token
        bad, fits = Signal(), Signal()
        part = Mux(token.ring, token.widen, token.typed & token.widen & ~stage.makes_list)
        limit   = Mux(self._off.chaining, 1024, Cat(stage.last_slot, C(512 // 2, 9)))
        prp_bad = stage.prp & (stage.over | (~stage.prp_unused & ~stage.prp_page
                                             & (stage.total > limit)))
        m.d.comb += [
            fits.eq((token.allow | ~token.ring)
                    & (token.whole | part | (self._off.halves & ~token.ring))),
            bad.eq(stage.bad | stage.list_bad | prp_bad | ~fits | token.void
                   | ~token.touched),
        ]
        poison = ~stage.usable
        unused = stage.prp & stage.prp_unused
        own    = stage.own & ~Cat(C(0, 1), unused, C(0, 2))
        listed = stage.listed | Cat(C(0, 1), stage.prp & ~stage.prp_page)
        r0, r1 = replaced_values(stage)
        m.d.sync += [
            out.bad.eq(bad),
            out.poison.eq(poison),
            out.keep.eq(~token.void),
            out.report.eq((bad | poison) & token.touched & ~token.void),
            out.template.eq(stage.place),
            out.own.eq(Mux(bad, 0, own)),
            out.leave.eq(Mux(bad, 0, stage.leave)),
            out.listed.eq(listed),
            out.kind.eq(Mux(stage.prp, Kind.PRP_LIST, stage.kind)),
            out.page.eq(stage.prp & stage.prp_page),
            out.first.eq(bad | stage.r0_on),
            out.r0.eq(Mux(bad, r0, stage.r0)),
            out.r1.eq(Mux(bad, r1, stage.r1)),
            out.charge.eq(~bad & ~poison & token.ring & stage.charge),
            out.bytes.eq(stage.bytes),
        ]
