import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.remap.rules import PageRules, SecondStageRules
from iovirt_sim.harness import check_bounded


class PermissionSpec(Elaboratable):
    """No access is permitted without the bit that permits it, and what is kept of a neighbour
    permits exactly what asking for it would.
    """

    def __init__(self, modes):
        self.pte   = Signal(64)
        self.page  = Signal(47)
        self.level = Signal(3)
        self.kind  = Signal(2)
        self.stage = SecondStageRules(address_width=46, modes=modes)
        self.kept  = PageRules(address_width=46)

    def elaborate(self, platform):
        m = Module()
        m.submodules.stage = stage = self.stage
        m.submodules.kept = kept = self.kept
        write, exec_ = self.kind == 1, self.kind == 2
        m.d.comb += [
            stage.pte.eq(self.pte), stage.page.eq(self.page), stage.level.eq(self.level),
            stage.write.eq(write), stage.exec.eq(exec_), kept.pte.eq(self.pte),
            Assume(self.level <= 1 + len(stage.modes)),
        ]
        pte, granted = stage.pte, ~stage.fault & stage.leaf
        with m.If(granted):
            m.d.comb += [
                Assert(pte.v & pte.u & pte.a),
                Assert(~write | (pte.w & pte.r & pte.d)),
                Assert(~exec_ | pte.x),
                Assert(write | exec_ | pte.r),
                Assert(self.pte[54:63] == 0),
            ]
        with m.If(~stage.fault & ~stage.leaf):
            m.d.comb += Assert((self.level != 0) & ((self.pte & ~(0x320 | (1 << 54) - (1 << 10)))
                                                    == 1))
        permits = Mux(write, kept.o.w, Mux(exec_, kept.o.x, kept.o.r))
        with m.If((self.level == 0) & ~pte.n):
            m.d.comb += Assert((granted & ~stage.beyond) == (kept.o.valid & permits))
            with m.If(granted & ~stage.beyond):
                m.d.comb += Assert(stage.ppn == kept.o.ppn)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("count", [1, 3])
def test_no_permission_without_its_bit(count):
    spec = PermissionSpec(("Sv39x4", "Sv48x4", "Sv57x4")[:count])
    check_bounded(spec, free=[spec.pte, spec.page, spec.level, spec.kind], depth=2)
