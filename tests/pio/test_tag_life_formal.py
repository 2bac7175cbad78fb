"""Rule S6: each tag is given to one user at a time, and is free exactly once after each.

The life of a tag is proved in two halves. Steps of the scoreboard: from any state, a request ends
only while it waits and then waits no more, and its quarantine is over only once, after its client
has returned it. The way back: whatever clients and scoreboard do within that, no tag is given out
that is out, and every tag that is out is counted.
"""

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.pio.request_layouts import Phase
from iovirt.pio.tag_return import TagReturn
from iovirt.pio.tag_step import TagStep
from iovirt.pio.tags import TagAllocator
from iovirt_sim.harness import check_bounded


class StepSpec(Elaboratable):
    """What one operation may do, from any state."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        op, old, new = dut.op, dut.op.progress, dut.progress
        fresh = op.entry.lap != old.lap
        phase = Mux(fresh, Phase.WAITING.value, old.phase.as_value())
        after = new.phase.as_value()

        def implies(condition, *conclusions):
            m.d.comb += [Assert(~condition | conclusion) for conclusion in conclusions]

        m.d.comb += Assume(~(op.look & op.beat))
        implies(~op.known, ~dut.write, ~dut.end, ~dut.expired, ~dut.store.en)
        implies(~op.look & ~op.beat, ~dut.write, ~dut.end, ~dut.expired, ~dut.store.en)
        implies(dut.write, new.lap == op.entry.lap)
        implies(dut.end, phase == Phase.WAITING, dut.write, after != Phase.WAITING,
                (after == Phase.QUARANTINE) == dut.quarantine, after != Phase.OVER)
        implies(dut.quarantine, dut.end, op.look)
        implies(dut.expired, phase == Phase.OVER, op.returned == op.entry.lap, dut.may_expire,
                dut.write, after == Phase.ENDED, ~dut.end)
        implies(dut.write & (phase == Phase.WAITING) & (after != Phase.WAITING), dut.end)
        implies(dut.write & (phase == Phase.QUARANTINE), after[1])
        implies(dut.write & (phase == Phase.OVER), (after == Phase.OVER) | dut.expired)
        implies(phase == Phase.ENDED, ~dut.write, ~dut.store.en)
        implies(dut.store.en, phase == Phase.WAITING, ~dut.down)
        implies(dut.down & op.beat, ~dut.write)
        # Before its TLP is sent nothing is completed, and no quarantine is over.
        implies(op.unsent & op.beat, ~dut.write, ~dut.store.en)
        implies(op.unsent & dut.write & (phase == Phase.QUARANTINE), after == Phase.QUARANTINE)
        return m


@pytest.mark.formal
def test_request_ends_once_and_its_quarantine_is_over_once():
    dut = TagStep(depth=4, data_width=64, owner_width=1, max_read_bytes=64)
    check_bounded(StepSpec(dut), depth=3, free=[
        Value.cast(dut.op), dut.now, dut.timeout_disable, dut.down, dut.may_expire])


class LifeSpec(Elaboratable):
    """Clients and scoreboard that do what they may, in any order."""

    def __init__(self, tags, returns):
        self.tags, self.returns = tags, returns
        depth = tags.depth
        self.end, self.late = Signal(), Signal()
        self.ended, self.expired = Signal(range(depth)), Signal(range(depth))
        self.expires = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.tags, m.submodules.returns = tags, returns = self.tags, self.returns
        depth = tags.depth
        # What each tag is in: out, ended, by a time-out, returned by its client, and its lap.
        out, ended, timed, back, laps = (Signal(depth, name=name) for name in (
            "out", "ended", "timed", "back", "laps"))
        bit = lambda vector, tag: vector.bit_select(tag, 1)
        released = Signal(range(depth))
        m.d.comb += [
            returns.clear.eq(tags.clear),
            returns.clear_tag.eq(tags.clear_tag),
            tags.put.valid.eq(returns.put.valid),
            tags.put.p.eq(returns.put.p),
            returns.ended.en.eq(self.end),
            returns.ended.tag.eq(self.ended),
            returns.ended.lap.eq(bit(laps, self.ended)),
            returns.ended.quarantined.eq(self.late),
            returns.expired.en.eq(self.expires),
            returns.expired.tag.eq(self.expired),
            returns.expired.lap.eq(bit(laps, self.expired)),
            released.eq(returns.release[0].p.tag),
            Assume(~tags.take | bit(tags.permit, tags.holder.client)),
            Assume(~self.end | (bit(out, self.ended) & ~bit(ended, self.ended))),
            Assume(~returns.release[0].valid | (bit(out & ended & ~back, released))),
            Assume(~returns.release[1].valid),
            # The scoreboard asked in the clocks before.
            Assume(~self.expires | (bit(out & ended & timed & back, self.expired)
                                    & returns.expired.room)),
        ]
        with m.If(self.end):
            m.d.sync += [bit(ended, self.ended).eq(1), bit(timed, self.ended).eq(self.late)]
        with m.If(returns.release[0].valid & returns.release[0].ready):
            m.d.sync += bit(back, released).eq(1)
        with m.If(self.expires):
            m.d.sync += bit(timed, self.expired).eq(0)
        with m.If(returns.put.valid):
            m.d.sync += bit(out, returns.put.p.tag).eq(0)
        with m.If(tags.take):
            m.d.sync += [
                bit(out, tags.free.tag).eq(1),
                bit(ended, tags.free.tag).eq(0),
                bit(back, tags.free.tag).eq(0),
                bit(laps, tags.free.tag).eq(tags.free.lap),
            ]
        put = returns.put
        m.d.comb += [
            Assert(~tags.permit.any() | ~bit(out, tags.free.tag)),
            Assert(tags.used == sum(out)),
            # Freed only when out, ended and returned, with the next lap, and not in quarantine.
            Assert(~put.valid | (bit(out & ended & back & ~timed, put.p.tag)
                                 & (put.p.lap != bit(laps, put.p.tag)))),
        ]
        return m


@pytest.mark.formal
def test_no_tag_is_given_out_twice_and_each_is_freed_once():
    tags = TagAllocator(depth=4, reserve=1, core_width=1, guest_width=1)
    spec = LifeSpec(tags, TagReturn(depth=4))
    release = spec.returns.release[0]
    # A tag that goes out first can come back, in 12 clocks; test_tags has longer runs.
    check_bounded(spec, depth=12, free=[
        tags.take, spec.end, spec.late, spec.ended, spec.expires,
        spec.expired, release.valid, Value.cast(release.payload),
        spec.returns.release[1].valid])
