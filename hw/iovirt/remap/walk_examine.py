"""What a walk learns from a doubleword, and where it goes next."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import SecondStage
from .rules import ContextRules, SecondStageRules, check_modes, check_physical, outside
from .spec import DEVICE_INDEX, DirectoryEntry, GuestTranslation, Pte, TranslationControl
from .walk_state import Step, ddtp_layout, finding, walk_state

__all__ = ["WalkExamine"]


class WalkExamine(wiring.Component):
    """Examine a walk whose turn it is (RISC-V IOMMU 1.0, process to translate an IOVA).

    Combinational, about 6 levels of logic. Faults are told apart but not ordered; see ``finding``.

    Parameters
    ----------
    slot_width : :class:`int`
        Width of the number of a miss-file entry.
    address_width : :class:`int`
        Width of a physical address, 32 to 56.
    modes : tuple of :class:`str`
        Modes of the second stage.
    ddt_levels : :class:`int`
        Deepest device directory, 1 to 3; a deeper one counts as Off.

    Members
    -------
    ddtp : ``In(ddtp_layout())``
        Root of the device directory.
    state : ``In(walk_state(...))``
        The walk.
    word : ``In(64)``
        The doubleword that the walk looks at.
    access, poison : ``In(1)``
        The read of ``word`` failed; of a device context, that of any of its words.
    o : ``Out(finding(...))``
        The result.
    """

    def __init__(self, *, slot_width, address_width, modes, ddt_levels):
        check_physical(address_width)
        check_modes(modes)
        if type(ddt_levels) is not int or not 1 <= ddt_levels <= 3:
            raise ValueError(f"Levels of the directory must be 1, 2 or 3, not {ddt_levels!r}")
        self.slot_width    = slot_width
        self.address_width = address_width
        self.modes         = tuple(modes)
        self.ddt_levels    = ddt_levels
        super().__init__({
            "ddtp":   In(ddtp_layout()),
            "state":  In(walk_state(slot_width, address_width)),
            "word":   In(64),
            "access": In(1),
            "poison": In(1),
            "o":      Out(finding(slot_width, address_width)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.stage_rules = stage_rules = SecondStageRules(
            address_width=self.address_width, modes=self.modes)
        m.submodules.context_rules = context_rules = ContextRules(modes=self.modes)
        access, pte = self.state.access, Pte(self.word)
        m.d.comb += [
            stage_rules.pte.eq(self.word),
            stage_rules.level.eq(Mux(self.state.step == Step.TABLE, self.state.level, 0)),
            stage_rules.page.eq(access.iova[12:59]),
            stage_rules.exec.eq(access.exec),
            stage_rules.write.eq(access.write),
            context_rules.word.eq(self.word),
            context_rules.leaf.eq(self.state.step == Step.CONTEXT),
            context_rules.number.eq(self.state.word[:2]),
            self.o.state.eq(self.state),
            self.o.step.eq(self.state.step),
            self.o.napot.eq(pte.n),
            self.o.r.eq(pte.r),
            self.o.w.eq(pte.w & pte.d),
            self.o.x.eq(pte.x),
        ]
        self._directory(m, context_rules)
        self._second_stage(m, stage_rules)
        self._next_read(m)
        return m

    def _directory(self, m, rules):
        o, state, access = self.o, self.state, self.state.access
        entry = DirectoryEntry(self.word)
        with m.Switch(state.step):
            with m.Case(Step.DIRECTORY):
                m.d.comb += [
                    o.off.eq((self.ddtp.mode == 0) | (self.ddtp.mode > 1 + self.ddt_levels)),
                    o.beyond.eq(outside(self.ddtp.ppn, self.address_width)),
                    o.ppn.eq(self.ddtp.ppn),
                    o.state.level.eq(self.ddtp.mode - 2),
                    o.state.step.eq(Mux(self.ddtp.mode == 2, Step.CONTEXT, Step.DDT)),
                ]
                with m.If(self.ddtp.mode == 1):
                    m.d.comb += [
                        o.disallowed.eq(access.at != 0),
                        o.beyond.eq(access.iova[self.address_width:].any()),
                        o.end.eq(1),
                        o.ppn.eq(access.iova[12:]),
                    ]
                for levels in 1, 2:
                    with m.If(self.ddtp.mode == 1 + levels):
                        unused = access.device_id[DEVICE_INDEX[levels].start:]
                        m.d.comb += o.disallowed.eq(unused.any())
            with m.Case(Step.DDT):
                m.d.comb += [
                    o.beyond.eq(outside(entry.ppn, self.address_width)),
                    o.ppn.eq(entry.ppn),
                    o.state.level.eq(state.level - 1),
                    o.state.step.eq(Mux(state.level == 1, Step.CONTEXT, Step.DDT)),
                ]
            with m.Case(Step.CONTEXT):
                self._learn_context(m)
        with m.If((state.step == Step.DDT) | (state.step == Step.CONTEXT)):
            m.d.comb += [
                o.access.eq(self.access),
                o.poison.eq(self.poison & ~self.access),
                o.invalid.eq(rules.invalid),
                o.misconfigured.eq(rules.misconfigured),
            ]

    def _learn_context(self, m):
        o, state = self.o, self.state
        control, guest = TranslationControl(self.word), GuestTranslation(self.word)
        m.d.comb += o.state.word.eq(state.word + 1)
        with m.Switch(state.word[:2]):
            with m.Case(0):
                m.d.comb += [o.state.context.dtf.eq(control.dtf), o.state.pdtv.eq(control.pdtv)]
            with m.Case(1):
                m.d.comb += [
                    # Legal modes are 0, 8, 9 and 10.
                    o.state.context.mode.as_value().eq(Mux(guest.mode[3], guest.mode[:2] + 1, 0)),
                    o.state.context.gscid.eq(guest.gscid),
                    o.state.context.root.eq(guest.ppn),
                ]
            with m.Case(3):
                m.d.comb += o.state.step.eq(Step.START)

    def _second_stage(self, m, rules):
        o, state, access = self.o, self.state, self.state.access
        with m.Switch(state.step):
            with m.Case(Step.START):
                root_level = state.context.mode.as_value() + 1
                m.d.comb += [
                    # No ATS. A process_id needs a pdtp, though that can only be Bare.
                    o.disallowed.eq((access.at != 0) | (access.pv & ~state.pdtv)),
                    o.beyond.eq(outside(state.context.root, self.address_width)),
                    o.ppn.eq(state.context.root),
                    o.state.level.eq(root_level),
                    o.state.step.eq(Step.TABLE),
                ]
                with m.Switch(state.context.mode):
                    with m.Case(SecondStage.BARE):
                        m.d.comb += [
                            o.beyond.eq(access.iova[self.address_width:].any()),
                            o.end.eq(1),
                            o.ppn.eq(access.iova[12:]),
                        ]
                    for number in range(len(self.modes)):
                        with m.Case(SecondStage(number + 1)):
                            m.d.comb += o.guest.eq(access.iova[41 + 9 * number:].any())
            with m.Case(Step.TABLE, Step.LINE, Step.ALONE):
                m.d.comb += [
                    o.access.eq(self.access),
                    o.poison.eq(self.poison & ~self.access),
                    o.guest.eq(rules.fault),
                    o.beyond.eq(rules.beyond),
                    o.end.eq(rules.leaf),
                    o.ppn.eq(rules.ppn),
                ]
                with m.If(state.step == Step.TABLE):
                    m.d.comb += [
                        o.state.level.eq(state.level - 1),
                        o.state.step.eq(Mux(state.level == 1, Step.LINE, Step.TABLE)),
                    ]
                    with m.If(~rules.leaf):
                        m.d.comb += o.state.table.eq(rules.ppn)
                # A line in error goes on as the entry alone, in the same table.
                with m.If((state.step == Step.LINE) & (self.access | self.poison)):
                    m.d.comb += [
                        o.end.eq(0),
                        o.ppn.eq(state.table),
                        o.state.step.eq(Step.ALONE),
                    ]

    def _next_read(self, m):
        """Address within the table of what is read next, and which doubleword counts."""
        o, access = self.o, self.state.access
        ddi = [access.device_id[part] for part in DEVICE_INDEX]
        index = lambda level, bits=9: access.iova[12 + 9 * level:12 + 9 * level + bits]
        with m.Switch(o.state.step):
            with m.Case(Step.DDT):
                m.d.comb += o.offset.eq(Mux(o.state.level == 2, ddi[2], ddi[1]) << 3)
            with m.Case(Step.CONTEXT):
                m.d.comb += o.offset.eq(ddi[0] << 5)
            with m.Case(Step.TABLE):
                with m.Switch(o.state.level):
                    for level in range(1, 2 + len(self.modes)):
                        with m.Case(level):
                            root = ((self.state.step == Step.START) if level > 1 else C(0))
                            bits = Mux(root, index(level, 11), index(level))
                            m.d.comb += o.offset.eq(bits << 3)
            with m.Case(Step.LINE):
                m.d.comb += o.offset.eq(index(0)[3:] << 6)
            with m.Case(Step.ALONE):
                m.d.comb += o.offset.eq(index(0) << 3)
        # Turns of a device context count through its words by themselves.
        with m.If(o.state.step == Step.LINE):
            m.d.comb += o.state.word.eq(index(0)[:3])
        with m.Elif(self.state.step != Step.CONTEXT):
            m.d.comb += o.state.word.eq(o.offset[3:6])
