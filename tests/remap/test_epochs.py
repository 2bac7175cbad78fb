# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth.back import verilog

from iovirt.remap.epochs import Epochs
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("changes, message", [
    ({"capacity": 0},       r"^Capacity must be an integer of at least 1, not 0$"),
    ({"retire_ports": "2"}, r"^Number of retire ports must be an integer of at least 1, not '2'$"),
])
def test_wrong_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        Epochs(**{"capacity": 4, **changes})


def test_an_idle_fence_takes_two_clocks():
    dut = Epochs(capacity=4)

    async def testbench(ctx):
        ctx.set(dut.drain.valid, 1)
        assert not ctx.get(dut.drain.ready)
        await ctx.tick()
        assert ctx.get(dut.drain.ready)

    simulate(dut, testbench)


@pytest.mark.parametrize("capacity, retire_ports", [(1, 1), (3, 2), (40, 2), (40, 3)])
def test_a_fence_waits_for_all_earlier_requests_and_for_no_later_one(capacity, retire_ports):
    rng = random.Random(capacity)
    dut = Epochs(capacity=capacity, retire_ports=retire_ports)
    fences = []

    async def testbench(ctx):
        in_flight, earlier, clock_empty = [], None, 0
        for clock in range(2000):
            accept = len(in_flight) < capacity and rng.random() < 0.8
            ctx.set(dut.accept, accept)
            if earlier is None and rng.random() < 0.1:
                ctx.set(dut.drain.valid, 1)
                earlier = "starts"
            # Retire any request, however old, a clock after it was accepted or later.
            for port in dut.retire:
                retires = bool(in_flight) and rng.random() < 0.4
                ctx.set(port.valid, retires)
                if retires:
                    request = in_flight.pop(rng.randrange(min(len(in_flight), 8)))
                    ctx.set(port.epoch, request[1])
            if accept:
                in_flight.append((clock, ctx.get(dut.epoch)))
            if earlier == "starts":
                earlier, clock_empty = clock, None
            if earlier is not None:
                pending = any(at <= earlier for at, _ in in_flight)
                ready = ctx.get(dut.drain.ready)
                if pending:
                    assert not ready
                elif clock_empty is None:
                    clock_empty = clock
                if ready:
                    fences.append(clock - clock_empty)
            await ctx.tick()
            if earlier is not None and ready:
                ctx.set(dut.drain.valid, 0)
                earlier = None

    simulate(dut, testbench)
    assert len(fences) > 50 and max(fences) <= 1


def test_exports_verilog():
    assert "module epochs(" in verilog.convert(Epochs(capacity=32), name="epochs")
