import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.irq.moderation import Moderation
from iovirt.irq.queue_layouts import SlotOpKind, TailOpKind, tail_state
from iovirt.irq.queue_state import QueueState
from iovirt.irq.slots import SlotReserver
from iovirt_sim.harness import check_bounded


class QueueStateSpec(Elaboratable):
    """Each operation meets what the one before it on its queue has left; here, they are added."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        now = dut.now
        sums = Array(Signal(4, name=f"sum_{n}") for n in range(dut.queues))
        m.d.comb += dut.update.eq(now.state + now.op)
        with m.If(now.valid):
            m.d.comb += Assert(now.state == sums[now.queue])
            with m.If(~dut.hold):
                m.d.sync += sums[now.queue].eq(sums[now.queue] + now.op)
        return m


@pytest.mark.formal
def test_operations_meet_the_state_that_the_last_has_left():
    dut = QueueState(4, 4, queues=2)
    check_bounded(QueueStateSpec(dut), depth=12, free=[
        dut.i.valid, Value.cast(dut.i.payload), dut.hold])


class SlotsSpec(Elaboratable):
    """Never more records than slots, at consecutive counts, and only while the queue runs.

    Queue 0 is started once with a ring of two; software frees no more than was accepted.
    """

    def __init__(self, dut):
        self.dut        = dut
        self.queue      = Signal()
        self.last_valid = Signal()
        self.last       = Signal(2)
        self.kind       = Signal(SlotOpKind)
        self.amount     = Signal(3)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        op, record = dut.op, dut.record
        # The rest of events and operations is 0.
        m.d.comb += [
            dut.event.p.queue.eq(self.queue),
            dut.event.p.last_valid.eq(self.last_valid),
            dut.event.p.last.eq(Cat(self.last, self.last[1].replicate(30))),
            op.p.op.kind.eq(self.kind),
            op.p.op.amount.eq(self.amount),
            op.p.op.size_log2.eq(1),
            op.p.op.reserved.eq(0xFFFF_FFFF),
        ]
        started = Signal()
        used, next_count = Signal(4), Signal(32)
        m.d.comb += [
            Assume((op.p.op.kind == SlotOpKind.START) == ~started),
            Assume(started | (op.p.op.amount == 0)),
            Assume((op.p.op.kind != SlotOpKind.FREE) | (op.p.op.amount <= used)),
            Assume(~op.valid | (op.p.op.kind != SlotOpKind.STOP)),
        ]
        put, freed = Signal(), Signal(4)
        m.d.comb += put.eq(record.valid & record.ready)
        with m.If(op.valid & op.ready):
            m.d.sync += started.eq(1)
            with m.If(op.p.op.kind == SlotOpKind.FREE):
                m.d.comb += freed.eq(op.p.op.amount)
        m.d.sync += used.eq(used + put - freed)
        with m.If(put):
            m.d.sync += next_count.eq(next_count + 1)
        with m.If(record.valid):
            m.d.comb += [
                Assert(started & (record.p.queue == 0)),
                Assert(used < 2),
                Assert(record.p.record[160:192] == (next_count + 0xFFFF_FFFF)[:32]),
                Assert(record.p.record[255] == next_count[1] ^ next_count[0]),
            ]
        return m


@pytest.mark.formal
def test_there_are_never_more_records_than_slots():
    dut = SlotReserver(queues=2, address_width=32, tag_width=1)
    spec = SlotsSpec(dut)
    check_bounded(spec, depth=12, free=[
        dut.event.valid, spec.queue, spec.last_valid, spec.last, dut.op.valid,
        Value.cast(spec.kind), spec.amount, dut.record.ready, dut.verdict.ready, dut.room.ready])


class ModerationSpec(Elaboratable):
    """One queue: no notification without an unread record behind the armed index, none lost."""

    def __init__(self, dut, *, once):
        self.dut  = dut
        self.once = once
        self.op   = Signal.like(dut.op)
        self.kind = Signal(TailOpKind)
        self.flag    = Signal()
        self.urgent  = Signal()
        self.holdoff = Signal()
        self.value = Signal(5)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        op, state, new = self.op, Signal(tail_state), Signal(tail_state)
        m.d.comb += [dut.op.eq(op), dut.state.eq(state), new.eq(dut.next)]
        m.d.sync += state.eq(new)

        # What is outside of the component, and what its user may do.
        tail, arm, started = Signal(32), Signal(32), Signal()
        kind = op.kind
        m.d.comb += [
            kind.eq(self.kind),
            op.flag.eq(self.flag),
            op.urgent.eq(self.urgent),
            op.holdoff.eq(self.holdoff),
            op.size_log2.eq(2),
            op.once.eq(self.once),
            # Near 0, from both sides, and far away.
            op.value.eq(Cat(self.value[:3], C(0, 17), self.value[3], self.value[4].replicate(11))),
        ]
        record = Signal()
        m.d.comb += [
            record.eq((kind == TailOpKind.COMPLETE) & ~op.flag),
            Assume((kind != TailOpKind.NOTIFIED) | state.notifying),
            Assume((kind != TailOpKind.PRESET) | ~state.run),
            Assume(started == ((kind != TailOpKind.PRESET) & (kind != TailOpKind.READ))),
        ]
        with m.Switch(kind):
            with m.Case(TailOpKind.COMPLETE):
                m.d.comb += new.tail.eq(state.tail + record)
            with m.Case(TailOpKind.PRESET):
                m.d.comb += new.tail.eq(op.value)
                m.d.sync += [arm.eq(op.value), started.eq(1)]
            with m.Case(TailOpKind.START):
                m.d.comb += new.run.eq(1)
            with m.Case(TailOpKind.STOP):
                m.d.comb += new.run.eq(0)
            with m.Case(TailOpKind.MASK):
                m.d.comb += new.mask.eq(op.flag)
            with m.Case(TailOpKind.ARM):
                m.d.sync += arm.eq(op.value)
        m.d.comb += tail.eq(new.tail)

        # 1. The arm rule.
        behind, inside, armed = Signal(32), Signal(), Signal(32)
        m.d.comb += [armed.eq(Mux(kind == TailOpKind.ARM, op.value, arm))]
        m.d.comb += [behind.eq(tail - armed), inside.eq((behind >= 1) & (behind <= 4))]
        with m.If(dut.fire):
            m.d.comb += Assert(inside & state.run & ~state.mask & ~state.notifying)

        # 2. After two sweeps, or a record that was the last thing to happen, nothing is owed.
        owed, sweeps = Signal(), Signal(2)
        able = new.run & ~new.mask & ~new.notifying & new.plain
        m.d.sync += sweeps.eq(Mux(kind == TailOpKind.SWEEP, Mux(sweeps == 3, 3, sweeps + 1), 0))
        causes = ((kind == TailOpKind.ARM) | (kind == TailOpKind.START)
                  | ((kind == TailOpKind.NOTIFIED) & op.flag))
        with m.If(dut.fire):
            m.d.sync += owed.eq(0)
        with m.Elif(causes):
            m.d.sync += owed.eq(inside)
        with m.Elif(record):
            m.d.sync += owed.eq(inside & (~state.fired | owed | (not self.once)))
        with m.If(owed & inside & able & (sweeps >= 1)):
            m.d.comb += Assert(kind != TailOpKind.SWEEP)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("once", [0, 1])
def test_notification_follows_the_arm_rule_and_none_is_lost(once):
    spec = ModerationSpec(Moderation(), once=once)
    check_bounded(spec, depth=8, free=[
        Value.cast(spec.kind), spec.flag, spec.urgent, spec.holdoff, spec.value, spec.dut.now])
