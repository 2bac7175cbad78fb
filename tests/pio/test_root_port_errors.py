# amaranth: UnusedElaboratable=no

import pytest

from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.root_port import RootPort
from iovirt_sim.harness import simulate

from .header_bench import read, tell_event, tell_message, write


def run(testbench):
    dut = RootPort()

    async def bench(ctx):
        ctx.set(dut.primary, 7)
        await write(ctx, dut.port, 0x3e, 2, 2)      # messages count
        await write(ctx, dut.port, 0x48, 0x291f, 2)  # all reports on
        await write(ctx, dut.port, 0x12c, 7)
        await testbench(ctx, dut)

    simulate(dut, bench)


@pytest.mark.parametrize("own, code, status, sources", [
    (ErrorCause.MALFORMED, 0x33, 0x5c, (0, 0x0123)),       # fatal both: message first
    (ErrorCause.PIO_TIMEOUT, 0x33, 0x7c, (0, 0x0123)),
    (ErrorCause.MALFORMED, 0x31, 0x6c, (0, 0x0123)),
    (ErrorCause.MALFORMED, 0x30, 0x55, (0x0123, 0x0700)),
    (ErrorCause.PIO_TIMEOUT, 0x30, 0x25, (0x0123, 0x0700)),
])
def test_message_and_own_error_of_one_clock_both_count(own, code, status, sources):
    async def testbench(ctx, dut):
        # An event takes one clock longer than a message.
        await tell_event(ctx, dut, own)
        await tell_message(ctx, dut, code, 0x0123)
        await ctx.tick().repeat(4)
        assert await read(ctx, dut.port, 0x130) == status
        assert await read(ctx, dut.port, 0x134) == sources[1] << 16 | sources[0]

    run(testbench)


def test_errors_in_consecutive_clocks_all_count():
    async def testbench(ctx, dut):
        for cause in (ErrorCause.PIO_TIMEOUT, ErrorCause.UNSUPPORTED, ErrorCause.POISONED_WRITE,
                      ErrorCause.BUS_RANGE, ErrorCause.PIO_ABORT):
            await tell_event(ctx, dut, cause)
        await ctx.tick().repeat(4)
        assert await read(ctx, dut.port, 0x104) == 1 << 12 | 1 << 14 | 1 << 20 | 1 << 21
        assert await read(ctx, dut.port, 0x118) == 14
        assert await read(ctx, dut.port, 0x1e, 2) == 1 << 15 | 1 << 12
        assert await read(ctx, dut.port, 0x130) == 0x2c

    run(testbench)


def test_error_that_meets_the_clearing_of_its_status_is_kept():
    async def testbench(ctx, dut):
        kept = 0
        for delay in range(8):
            await write(ctx, dut.port, 0x104, 0xffffffff)
            await tell_event(ctx, dut, ErrorCause.PIO_TIMEOUT)

            # The write clears in one of these clocks, and the second error comes in another.
            ctx.set(dut.port.request.p, {"write": 1, "register": 0x41, "be": 15, "data": 1 << 14})
            ctx.set(dut.port.request.valid, 1)
            ctx.set(dut.port.response.ready, 1)
            for clock in range(12):
                ctx.set(dut.event.valid, clock == delay)
                await ctx.tick()
                ctx.set(dut.port.request.valid, 0)
            ctx.set(dut.port.response.ready, 0)
            kept += await read(ctx, dut.port, 0x104) == 1 << 14
        # An error counts 1 clock after it came, and the write 3 clocks after it was taken.
        assert kept == 6

    run(testbench)


def test_third_power_management_event_is_dropped_and_the_second_follows_the_first():
    async def testbench(ctx, dut):
        await write(ctx, dut.port, 0x5c, 8, 2)
        for rid in (0x100, 0x200, 0x300):
            await tell_message(ctx, dut, 0x18, rid)
        await ctx.tick().repeat(4)
        for word, level in ((0x30100, 1), (0x10200, 1), (0x00200, 0)):
            assert await read(ctx, dut.port, 0x60) == word
            assert ctx.get(dut.interrupt) == level
            await write(ctx, dut.port, 0x60, 0x10000)
            await ctx.tick().repeat(4)

    run(testbench)


def test_interrupt_comes_four_clocks_after_a_message():
    async def testbench(ctx, dut):
        await tell_message(ctx, dut, 0x33, 0x100)
        clocks = 1
        while not ctx.get(dut.interrupt):
            await ctx.tick()
            clocks += 1
        assert clocks == 4
        await write(ctx, dut.port, 0x04, 0x400, 2)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.interrupt) == 0
        assert await read(ctx, dut.port, 0x06, 2) == 0x18

    run(testbench)


def test_link_that_was_asked_to_go_down_is_no_surprise():
    async def testbench(ctx, dut):
        for control, offset, status in ((0, 0x50, 1 << 5), (0x10, 0x50, 0), (0x42, 0x3e, 0)):
            ctx.set(dut.link_up, 1)
            await ctx.tick().repeat(3)
            await write(ctx, dut.port, offset, control, 1)
            ctx.set(dut.link_up, 0)
            await ctx.tick().repeat(5)
            assert await read(ctx, dut.port, 0x104) == status
            await write(ctx, dut.port, 0x104, 0xffffffff)
            await write(ctx, dut.port, 0x50, 0, 1)

    run(testbench)


def test_settings_survive_the_loss_of_the_link():
    async def testbench(ctx, dut):
        ctx.set(dut.link_up, 1)
        await write(ctx, dut.port, 0x18, 0x030201)
        ctx.set(dut.link_up, 0)
        await ctx.tick().repeat(5)
        assert await read(ctx, dut.port, 0x18) == 0x030201
        assert ctx.get(dut.subordinate) == 3

    run(testbench)


@pytest.mark.parametrize("enable, pulses", [(0, 0), (4, 1)])
def test_system_errors_are_those_that_root_control_names(enable, pulses):
    async def testbench(ctx, dut):
        await write(ctx, dut.port, 0x5c, enable, 2)
        await tell_message(ctx, dut, 0x33, 0x100)
        seen = 0
        for _ in range(5):
            seen += ctx.get(dut.system_error)
            await ctx.tick()
        assert seen == pulses

    run(testbench)


@pytest.mark.parametrize("reports, masked, status", [
    (0x9, 0, 0x01), (0x1, 0, 0x00), (0x8, 0, 0x00), (0x9, 1, 0x00)])
def test_advisory_error_is_reported_as_correctable_if_all_switches_are_on(reports, masked, status):
    async def testbench(ctx, dut):
        await write(ctx, dut.port, 0x48, reports, 1)
        await write(ctx, dut.port, 0x114, masked << 13)
        await tell_event(ctx, dut, ErrorCause.UNSUPPORTED, advisory=1)
        await ctx.tick().repeat(4)
        assert await read(ctx, dut.port, 0x130) == status
        assert await read(ctx, dut.port, 0x110) == 1 << 13
        assert await read(ctx, dut.port, 0x104) == (0 if masked else 1 << 20)
        assert await read(ctx, dut.port, 0x4a, 2) == 0x9

    run(testbench)
