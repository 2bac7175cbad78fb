import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.irq.in_flight import InFlight
from iovirt.irq.layouts import VerdictKind
from iovirt.irq.operations import OperationKind
from iovirt.irq.pending import PendingSlots
from iovirt.irq.replay import ReplayList
from iovirt_sim.harness import check_bounded


class PendingSpec(Elaboratable):
    """What is pending of a source is delivered whole and once, and always has a token, whatever
    makes it wait.
    """

    def __init__(self):
        self.dut   = PendingSlots(entries=16, queues=1, queue_width=1, tag_width=1)
        self.dut._cleared = 1
        self.start = Signal()
        self.kind  = Signal(3)
        self.count = Signal(2)
        self.facts = Signal(4)
        self.waits = Signal(5)
        self.free  = [self.start, self.kind, self.count, self.facts, self.waits]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        # One operation of the source in 4 clocks.
        phase, first = Signal(2), Signal(init=1)
        m.d.sync += [phase.eq(phase + 1), first.eq(0)]
        issue = Signal()
        valid, suspend, admits, unread = self.facts
        operation = dut.i.operation
        m.d.comb += [
            issue.eq(self.start & (phase == 3)),
            dut.i_valid.eq(issue),
            operation.kind.eq(self.kind),
            operation.what.count.eq(Mux(self.kind == OperationKind.SPILL.value, self.count, 1)),
            operation.unread.eq(unread),
            operation.reach.eq(admits),
            dut.i.entry.valid.eq(valid),
            dut.i.entry.suspend.eq(suspend),
            Assume(self.kind <= OperationKind.READ.value),
            Assume((self.kind != OperationKind.SPILL.value) | (self.count != 0)),
            Cat(dut.waiting.blocked, dut.waiting.flying, dut.waiting.awake, dut.flight_free,
                dut.dropped).eq(self.waits),
        ]

        # A token that comes out is a replay, nothing else is.
        token, out = Signal(), Signal()
        m.d.comb += Assume(~issue | (self.kind != OperationKind.REPLAY.value) | (token & ~out))
        with m.If(issue & (self.kind == OperationKind.REPLAY.value)):
            m.d.sync += out.eq(1)
        with m.If(dut.replay):
            m.d.sync += [out.eq(0), token.eq(dut.push)]
        with m.Elif(dut.push):
            m.d.comb += Assert(~token)
            m.d.sync += token.eq(1)

        # The outcome of each operation.
        late  = [Signal(Cat(issue, self.kind, self.count, self.facts).shape(), name=f"late_{n}")
                 for n in range(3)]
        m.d.sync += [late[0].eq(Cat(issue, self.kind, self.count, self.facts)),
                     late[1].eq(late[0]), late[2].eq(late[1])]
        ends, kind, count, flags = late[2][0], late[2][1:4], late[2][4:6], late[2][6:]
        is_kind = lambda name: ends & (kind == OperationKind[name].value)
        arrived = is_kind("ARRIVE") & flags[0] & flags[2]
        waiting, after = Signal(6), Signal(6)
        m.d.comb += after.eq(waiting)
        with m.If(dut.send):
            m.d.comb += [
                Assert(ends & flags[0] & ~flags[1]),
                Assert(dut.event.merge_count == waiting + arrived),
                Assert(is_kind("ARRIVE") & (waiting == 0) | is_kind("REPLAY") & (waiting != 0)),
                after.eq(0),
            ]
        with m.Elif(arrived):
            m.d.comb += after.eq(waiting + 1)
        with m.Elif(is_kind("SPILL") & ~dut.dropped):
            m.d.comb += after.eq(waiting + count)
        with m.Elif(is_kind("COMMIT") & ~flags[0]):
            m.d.comb += after.eq(0)
        m.d.sync += waiting.eq(after)
        m.d.comb += [
            Assert(~dut.read | (dut.entry.pending == (waiting != 0))),
            Assert(dut.deny == (is_kind("ARRIVE") & ~arrived)),
            Assert((waiting == 0) | token),
            Assert(~dut.forward),
        ]
        return m


class InFlightSpec(Elaboratable):
    """Each event ends once: accepted, or as one operation that makes it pending; and its source is
    flying until then.
    """

    def __init__(self):
        self.dut  = InFlight(entries=16, queue_width=1, events=2)
        self.add  = Signal()
        self.kind = Signal(3)
        self.free = [self.add, self.dut.verdict.valid, self.kind,
                     self.dut.spill.ready, self.dut.hold]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        kind = dut.verdict.p.kind
        m.d.comb += kind.eq(self.kind)

        # Events of sources 0 and 1 in turn, each at most once in flight, and room for two.
        number, answered = Signal(4), Signal(4)
        taken = dut.verdict.valid & dut.verdict.ready
        waits = (kind != VerdictKind.ACCEPTED) & (kind != VerdictKind.DROPPED)
        m.d.comb += [
            dut.add.eq(self.add & dut.free),
            dut.event.index.eq(number[0]),
            dut.event.what.count.eq(number + 1),
            Assume(self.kind <= VerdictKind.OFF.value),
            Assume(~dut.verdict.valid | (number != answered)),
        ]
        m.d.sync += [number.eq(number + dut.add), answered.eq(answered + taken)]

        # An operation takes some clocks until the event is pending.
        started = dut.spill.valid & dut.spill.ready
        m.d.sync += [dut.spilt.eq(started), dut.spilt_tag.eq(dut.spill.p.tag)]
        expected, due = Signal(4), Signal()
        with m.If(taken & waits):
            m.d.comb += Assert(~due)
            m.d.sync += [due.eq(1), expected.eq(answered)]
        with m.If(started):
            m.d.comb += [
                Assert(due),
                Assert(dut.spill.p.index == expected[0]),
                Assert(dut.spill.p.what.count == expected + 1),
                Assert(dut.spill.p.tag == expected[0]),
            ]
            m.d.sync += due.eq(0)
        m.d.comb += [
            Assert(~dut.spill.valid | due),
            Assert(~(due | dut.spilt) | ~dut.settled),
            Assert(dut.last_enable == (taken & (kind == VerdictKind.ACCEPTED))),
            Assert(~dut.last_enable | (dut.last_index == answered[0])),
        ]

        # Ask for a source that has been added and has no verdict.
        asked = Signal(4)
        m.d.comb += dut.index.eq(answered[0])
        m.d.sync += asked.eq((number != answered) & ~taken)
        m.d.comb += Assert(~asked | dut.flying)
        return m


class ReplaySpec(Elaboratable):
    """Tokens come out once each, in order."""

    def __init__(self):
        self.dut  = ReplayList(entries=16, queues=1)
        self.free = [self.dut.push, self.dut.o.ready, self.dut.wake, self.dut.used]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        pushed, popped, used = Signal(5), Signal(5), Signal(5)
        m.d.comb += [
            dut.push_index.eq(pushed),
            Assume(~dut.used | (used != popped)),
            Assert(~dut.o.valid | (dut.o.p.index == popped)),
            Assert(~dut.o.valid | (popped != pushed)),
        ]
        m.d.sync += [
            pushed.eq(pushed + dut.push),
            popped.eq(popped + (dut.o.valid & dut.o.ready)),
            used.eq(used + dut.used),
        ]
        # Nothing stays in the list.
        idle = Signal(3)
        with m.If(dut.push | dut.o.valid | (popped == pushed)):
            m.d.sync += idle.eq(0)
        with m.Else():
            m.d.sync += idle.eq(idle + 1)
        m.d.comb += Assert(idle < 4)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("spec, depth", [(PendingSpec, 15), (InFlightSpec, 14), (ReplaySpec, 11)])
def test_nothing_is_lost_and_nothing_comes_twice(spec, depth):
    made = spec()
    check_bounded(made, free=made.free, depth=depth)
