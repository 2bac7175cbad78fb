import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.remap.command_fetch import CommandFetch
from iovirt_sim.harness import check_bounded


class CommandFetchSpec(Elaboratable):
    """No command at or behind the tail is read, and the commands of the ring come once each and in
    order, from the head on after a flush.
    """

    def __init__(self, dut):
        self.dut   = dut
        self.taken = Signal()      # the consumer takes a command
        self.stop  = Signal()      # it begins to flush
        self.go    = Signal()      # it lets commands be fetched
        self.step  = Signal(2)     # the tail moves so far
        self.error = Signal(2)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        commands, request, beats = dut.commands, dut.read_request, dut.read_beats
        mask = Signal(2)
        ring = Signal(5)
        m.d.sync += ring.eq(dut.log2sz_1)
        first = Signal(init=1)
        m.d.sync += first.eq(0)
        m.d.comb += [
            mask.eq(Cat(1, dut.log2sz_1[0])),
            Assume((dut.log2sz_1 < 2) & (first | (dut.log2sz_1 == ring))),
            dut.ppn.eq(0x5),
        ]

        # The consumer throws away what it takes during a flush, which ends when nothing is left.
        head, tail, expect = Signal(2), Signal(2), Signal(2)
        flush, take = Signal(), Signal()
        m.d.comb += [
            dut.head.eq(head),
            dut.tail.eq(tail),
            dut.run.eq(self.go & ~flush & ~first),
            commands.ready.eq(self.taken | flush),
            take.eq(commands.valid & commands.ready),
            Assume(self.step <= ((head - tail - 1) & mask)),
        ]
        m.d.sync += tail.eq((tail + self.step) & mask)
        with m.If(self.stop):
            m.d.sync += flush.eq(1)
        with m.Elif(dut.empty):
            m.d.sync += flush.eq(0)
        with m.If(take & ~flush):
            m.d.sync += head.eq((head + 1) & mask)
        with m.If(~dut.run & dut.empty):
            m.d.sync += expect.eq(head)
        with m.Elif(take):
            m.d.sync += expect.eq((expect + 1) & mask)

        # The memory holds, in each command, its index.
        left, index = Signal(3), Signal(2)
        count = Mux(request.p.size_log2 == 6, 4, Mux(request.p.size_log2 == 5, 2, 1))
        start = request.p.address[4:6]
        m.d.comb += [
            Assume(~beats.valid | (left != 0)),
            beats.p.last.eq(left == 1),
            beats.p.data.eq(index),
            Value.cast(beats.p.error).eq(self.error),
            Assume(self.error != 3),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += [left.eq(count), index.eq(start)]
        with m.Elif(beats.valid):
            m.d.sync += [left.eq(left - 1), index.eq(index + 1)]

        with m.If(request.valid):
            held = (tail - head) & mask
            m.d.comb += [
                Assert(request.p.address[6:] == 0x5000 >> 6),
                Assert(((start - head) & mask) + count <= held),
                Assert((start & (count - 1)) == 0),
            ]
        with m.If(commands.valid & ~commands.p.failed):
            m.d.comb += Assert(commands.p.command[:2] == expect)
        with m.If(commands.valid & ~flush):
            m.d.comb += [Assert(expect == head), Assert(head != tail)]
        return m


@pytest.mark.formal
def test_reads_only_what_the_tail_has_passed():
    dut  = CommandFetch(address_width=40, data_width=128, tag_width=0)
    spec = CommandFetchSpec(dut)
    free = [dut.log2sz_1, dut.read_request.ready, dut.read_beats.valid, spec.taken, spec.stop,
            spec.go, spec.step, spec.error]
    check_bounded(spec, free=free, depth=14)
