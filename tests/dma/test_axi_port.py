# amaranth: UnusedElaboratable=no

from amaranth.sim import Simulator

from iovirt.dma.axi_port import AxiPort
from iovirt.dma.layouts import read_entry, write_entry
from iovirt.dma.transactions import TransactionTable
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


def test_bursts_have_the_configured_attributes():
    dut = AxiPort(data_width=256, address_width=40, id_width=4, cache=14, prot=2, qos=3)

    async def testbench(ctx):
        for name, port in (("aw", dut.aw), ("ar", dut.ar)):
            ctx.set(port.payload, {"id": 9, "address": 0x12_3456_7800, "last_row": 7})
            ctx.set(port.valid, 1)
            pins = {key: ctx.get(getattr(dut.bus, name + key)) for key in (
                "id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos", "valid")}
            assert pins == {"id": 9, "addr": 0x12_3456_7800, "len": 7, "size": 5, "burst": 1,
                            "lock": 0, "cache": 14, "prot": 2, "qos": 3, "valid": 1}
            assert not ctx.get(port.ready)
            ctx.set(getattr(dut.bus, name + "ready"), 1)
            assert ctx.get(port.ready)

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()


def test_transaction_has_both_its_halves():
    dut = TransactionTable(write_entry(), read_entry(), slots=4)

    async def testbench(ctx):
        for slot in range(4):
            for name, port in (("entry", dut.entry), ("answer", dut.answer)):
                ctx.set(port.en, 1)
                ctx.set(port.slot, slot)
                ctx.set(port.data, {"rid": slot + 100 * (name == "answer")})
            await ctx.tick()
        ctx.set(dut.entry.en, 0)
        ctx.set(dut.answer.en, 0)
        await send(ctx, dut.i, [2, 0, 3, 1])

    async def consumer(ctx):
        got = [got for got, in await receive(ctx, dut.o, 4, gap=lambda: 2)]
        assert [(one.slot, one.entry.rid, one.answer.rid) for one in got] == [
            (slot, slot, slot + 100) for slot in (2, 0, 3, 1)]

    simulate(dut, testbench, consumer)
