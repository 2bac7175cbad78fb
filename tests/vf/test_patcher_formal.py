"""Proof of what keeps guests apart, for any verdict, template and memory."""

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import data

from iovirt.vf.lane_choice import choose_lane
from iovirt.vf.layouts import TemplateWord
from iovirt.vf.patch_lanes import PatchLanes
from iovirt.vf.patch_layouts import NOTHING_OFF, Job, Verdict
from iovirt_sim.harness import check_bounded

pytestmark = pytest.mark.formal


def lane_spec(*, broken):
    """One lane: chosen in a clock, written in the next."""
    m = Module()
    lanes = PatchLanes(data_width=64)
    item  = Signal(data.StructLayout({
        "lanes": data.ArrayLayout(data.StructLayout({"index": 3, "here": 1}), 1),
        "job": Job, "verdict": Verdict, "torn": 1, "position": 9, "done": 1, "last": 1}))
    template, ending = Signal(TemplateWord), Signal()
    old, r0, r1, safe = Signal(64), Signal(32), Signal(64), Signal(8)
    offset_bits, key_bits = Signal(6), Signal(5)
    steady = Signal(11)
    started = Signal(2)
    m.d.sync += [steady.eq(Cat(offset_bits, key_bits)), started.eq(Cat(C(1, 1), started))]
    m.d.comb += [
        lanes.settings.offset_bits.eq(offset_bits),
        lanes.settings.key_bits.eq(key_bits),
        Assume((offset_bits >= 32) & (offset_bits <= 43) & (key_bits <= 16)),
        Assume(offset_bits + key_bits <= 52),
    ]
    with m.If(started[0]):
        m.d.comb += Assume(steady == Cat(offset_bits, key_bits))
    tops, beyond = lanes._tops(m, C(1, 1), item)
    choice = choose_lane(m, C(1, 1), 0, item, template, beyond, NOTHING_OFF, ending=ending)
    value  = Signal(64)
    m.d.comb += value.eq(lanes._lane_value(choice, old, r0, r1, safe, tops))

    # Of the clock before: is there an address, whoever says so, that must not stay as it is?
    mode, verdict = item.job.mode, item.verdict
    hits = Cat(field.enable & (field.dword[1:4] == item.lanes[0].index)
               for field in template.addresses)
    address = Mux(mode.whole, mode.pages | mode.poison,
                  item.torn | verdict.poison | (hits.any() & ~(hits & verdict.leave).any()))
    was, owner = Signal(), Signal(24)
    mask = (1 << key_bits) - 1
    m.d.sync += [
        was.eq(address | (C(broken, 1) & mode.whole)),
        owner.eq(Cat(item.job.colour, item.job.key & mask)),
    ]
    # The safe opcode is nowhere near an address: the compiler sees to it.
    clear = ~choice.opcode[4:].any()
    with m.If(started[1] & was & clear):
        m.d.comb += Assert((value >> (offset_bits + 4)) == owner)
    free = [item.as_value(), template.as_value(), ending, old, r0, r1, safe, offset_bits, key_bits]
    return m, free


def test_no_address_leaves_without_the_key_and_colour_of_its_owner():
    spec, free = lane_spec(broken=False)
    check_bounded(spec, free=free, depth=4)


def test_the_proof_can_fail():
    spec, free = lane_spec(broken=True)
    with pytest.raises(Exception, match=r"(?i)assert|fail|sat"):
        check_bounded(spec, free=free, depth=4)
