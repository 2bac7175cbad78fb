# amaranth: UnusedElaboratable=no

"""Interrupts on their whole way: receiver, data path, translation, and turns for completions."""

import random

import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.axi import Axi4Signature
from iovirt.config import preset
from iovirt.csr import register_map
from iovirt.dma import DmaEngine
from iovirt.dma.turns import PostedTurns
from iovirt.pcie.layouts import PostedSignal, RxTlpSignature, completion_beat
from iovirt.pcie.receiver import Receiver
from iovirt.remap.engine import RemapEngine
from iovirt.stream import StreamQueue
from iovirt_sim.axi import AxiMemory
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp
from iovirt_sim.tlp_streams import send_beats

A, B = 0x100, 0x201
WINDOW = 0xFEE0_0000
CONFIG = preset("tiny")


class Chain(wiring.Component):
    """The parts that an interrupt passes, connected as in the whole block."""

    def __init__(self):
        width, address_width = CONFIG.data_width, CONFIG.remap.physical_address_bits
        self.receiver = Receiver(data_width=width, pcie=CONFIG.pcie, signals=True)
        self.engine   = DmaEngine(data_width=width, address_width=address_width, pcie=CONFIG.pcie,
                                  dma=CONFIG.dma, signals=CONFIG.irq.signals)
        self.remap    = RemapEngine(
            id_width=self.engine.id_width, remap=CONFIG.remap, table_width=CONFIG.table_width,
            capacity=self.engine.capacity, register_map=register_map(CONFIG),
            retires=len(self.engine.retire))
        self.turns    = PostedTurns(capacity=self.engine.posted, signals=True,
                                    finishes=len(self.engine.finish))
        super().__init__({
            "rx":         In(RxTlpSignature(width)),
            "bus":        Out(Axi4Signature(data_width=width, address_width=address_width,
                                            id_width=self.engine.bus_id_width)),
            "signal":     Out(stream.Signature(PostedSignal)),
            "completion": Out(stream.Signature(completion_beat(width))),
            "done":       Out(12),
            "ready":      Out(1),
            "mode":       In(4),
            "settled":    In(1, init=1),
            "snapshot":   Out(1),
            "snapshot_done": In(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver, m.submodules.engine = receiver, engine = self.receiver, self.engine
        m.submodules.remap, m.submodules.turns = remap, turns = self.remap, self.turns
        m.submodules.requests = requests = StreamQueue(engine.request.payload.shape(), depth=2)
        connect(m, flipped(self.rx), receiver.rx)
        connect(m, receiver.write, engine.write)
        connect(m, receiver.read, engine.read)
        connect(m, receiver.completion, flipped(self.completion))
        connect(m, engine.request, requests.i)
        connect(m, engine.bus, flipped(self.bus))
        connect(m, engine.signal, flipped(self.signal))
        for n, port in enumerate(engine.retire):
            connect(m, port, remap.retire[n])
        for n, port in enumerate(engine.finish):
            connect(m, port, turns.finish[n])
        request, access = requests.o, remap.request.p.access
        m.d.comb += [
            remap.request.valid.eq(request.valid),
            request.ready.eq(remap.request.ready),
            *(access[name].eq(request.p[name])
              for name in ("device_id", "pv", "pid", "priv", "exec", "write", "at", "iova")),
            *(remap.request.p[name].eq(request.p[name]) for name in ("source", "bypass", "id")),
            engine.result.valid.eq(remap.result.valid),
            remap.result.ready.eq(engine.result.ready),
            *(engine.result.p[name].eq(remap.result.p[name])
              for name in ("ok", "ca", "ppn", "id", "epoch")),
            remap.registers.ddtp.iommu_mode.value.eq(self.mode),
            receiver.msi_enable_32.eq(1),
            receiver.msi_base_32.eq(WINDOW >> 16),
            receiver.turn.eq(turns.turn),
            turns.start.eq(receiver.posted),
            receiver.stamp.eq(turns.stamp),
            turns.stamped.eq(receiver.stamped),
            turns.settled.eq(self.settled),
            turns.snapshot_done.eq(self.snapshot_done),
            self.snapshot.eq(turns.snapshot),
            self.done.eq(turns.done),
            self.ready.eq(engine.ready & remap.ready),
            receiver.unsupported.ready.eq(1), receiver.message.ready.eq(1),
            receiver.error.ready.eq(1), engine.error.ready.eq(1), engine.deny.ready.eq(1),
            engine.completion.ready.eq(1),
        ]
        return m


def msi(rid, data=0):
    return Tlp.write(WINDOW + 0x128, data.to_bytes(4, "little"), rid=rid)


async def begin(ctx, dut, *, mode):
    ctx.set(dut.mode, mode)
    await ctx.tick().until(dut.ready)
    await ctx.tick().repeat(4)


def test_interrupt_is_offered_17_clocks_after_its_beat_even_if_translation_is_off():
    dut, clocks = Chain(), []

    async def testbench(ctx):
        await begin(ctx, dut, mode=0)
        ctx.set(dut.signal.ready, 1)
        for tlp in msi(A), Tlp(Kind.MSG, code=0x20, rid=A):
            await send_beats(ctx, dut.rx, tlp.beats(64))
            # The first clock here is the one after that of the transfer.
            for clock in range(1, 30):
                if ctx.get(dut.signal.valid):
                    clocks.append(clock)
                await ctx.tick()

    simulate(dut, testbench)
    assert clocks == [17, 17]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_passes_the_writes_before_it(seed):
    rng, dut = random.Random(seed), Chain()
    memory = AxiMemory(dut.bus, rng=rng, latency=lambda: rng.choice([3, 60, 200]))
    sent, signals, waiting, waits = [], [], [], []
    tlps = []
    for n in range(50):
        rid, kind = rng.choice([A, B]), rng.random()
        if kind < 0.45:
            tlps.append(Tlp.write(0x1000 * (rid & 3) + 0x8000 + 8 * n, bytes(8), rid=rid))
        elif kind < 0.75:
            tlps.append(rng.choice([msi(rid, n), Tlp(Kind.MSG, code=0x20, rid=rid)]))
        else:
            tlps.append(Tlp(Kind.CPLD, rid=rid, cid=rid, byte_count=4, payload=bytes(4)))

    def outstanding(count, *, rid=None):
        """Writes and signals among the first ``count`` packets that are not done."""
        posted = [tlp for tlp in tlps[:count] if rid in (None, tlp.rid)]
        done   = {burst.address for burst in memory.bursts if burst.done is not None}
        left   = [tlp for tlp in posted if tlp.kind == Kind.MWR and tlp.address < WINDOW
                  and tlp.address not in done]
        if rid is None:
            left += [tlp for tlp in posted
                     if tlp.kind == Kind.MSG or (tlp.kind == Kind.MWR and tlp.address >= WINDOW)
                     ][len(signals):]
        return left

    async def producer(ctx):
        await begin(ctx, dut, mode=1)
        for tlp in tlps:
            await send_beats(ctx, dut.rx, tlp.beats(64), gap=lambda: rng.choice([0, 0, 3]))
        while waiting or len(signals) < len(sent) or not memory.idle:
            await ctx.tick()

    async def interrupts(ctx):
        sent.extend(n for n, tlp in enumerate(tlps) if tlp.kind == Kind.MSG
                    or (tlp.kind == Kind.MWR and tlp.address >= WINDOW))
        left = list(sent)
        while True:
            ctx.set(dut.signal.ready, rng.random() < 0.5)
            _, _, taken, got = await ctx.tick().sample(dut.signal.valid & dut.signal.ready,
                                                       dut.signal.payload)
            if taken:
                index = next(n for n in left if tlps[n].rid == got.rid)
                left.remove(index)
                assert got.kind.value == 1 + (tlps[index].kind == Kind.MSG)
                assert not outstanding(index, rid=got.rid), "an interrupt passed a write"
                signals.append(index)

    async def completions(ctx):
        ctx.set(dut.completion.ready, 1)
        places = iter([n for n, tlp in enumerate(tlps) if tlp.kind == Kind.CPLD])
        while True:
            _, _, comes, got, done = await ctx.tick().sample(dut.completion.valid,
                                                             dut.completion.payload, dut.done)
            for entry in list(waiting):
                if not (done - entry[0]) >> 11 & 1:
                    assert not outstanding(entry[1]), "a completion passed a posted request"
                    waits.append(memory.cycle - entry[2])
                    waiting.remove(entry)
            if comes:
                waiting.append((got.stamp, next(places), memory.cycle))

    simulate(dut, producer, background=[memory.testbench, interrupts, completions])
    assert len(waits) > 5 and max(waits) > 60
