"""What one core does, and what registers do meanwhile, must not harm other accesses."""

from iovirt_sim.models.pio_front import Burst

from .front_bench import OKAY, SLVERR, Bench
from .test_front import ECAM, FAR, MEMORY, WHERE, full, make


def lengths(answers):
    """Return how many beats each burst has got, in the order of their ends."""
    ended, beats = [], 0
    for *_, last, _ in answers:
        beats += 1
        if last:
            ended.append(beats)
            beats = 0
    return ended


def test_read_gets_all_its_beats_when_its_window_is_blocked_half_way():
    bench = Bench(make(), WHERE, max_read=0, delay=lambda _: 2)

    async def block(ctx):
        while len(bench.requests) < 2:
            await ctx.tick()
        window = bench.dut.windows[0]
        ctx.set(window.blocked, 1)
        # The next burst finds it blocked.
        bench.read(Burst(1, MEMORY, 2, 3))

    bench.read(Burst(1, MEMORY, 64, 3), Burst(1, FAR, 1, 3))
    bench.run(until=lambda: len(lengths(bench.answers)) == 3, more=[block], deadline=2000)
    assert lengths(bench.answers) == [64, 1, 2]
    assert len(bench.requests) == 5


class SlowUnit(Bench):
    """A configuration unit that accepts no access for a long time."""

    async def _config(self, ctx):
        while self.clock < 900:
            await ctx.tick()
        await super()._config(ctx)


def test_waiting_reads_of_registers_hold_no_read_of_memory():
    bench = SlowUnit(make(reads=32), WHERE)
    bench.read(*(Burst(1, ECAM + 4 * n, 1, 2) for n in range(28)), Burst(2, MEMORY, 1, 3))
    bench.run(until=lambda: len(bench.answers) == 29)
    assert bench.answers[0][1] == 2 and bench.answers[0][0] < 500


def test_writes_behind_a_slow_configuration_write_hold_no_write_of_others():
    bench = Bench(make(reads=64), WHERE, delay=lambda _: 900)
    bench.write(Burst(1, ECAM, 1, 2, data=[(5, 0xF)]), *(full(1, FAR + 8 * n) for n in range(57)),
                *(full(2, MEMORY + 8 * n) for n in range(20)))
    bench.run(until=lambda: len(bench.responses) == 78)
    assert [id for _, id, _ in bench.responses] == [2] * 20 + [1] * 58
    assert bench.responses[19][0] < 600 and len(bench.tlps) == 77


def test_answer_does_not_pass_direct_ones_that_the_core_has_not_taken_yet():
    gaps = iter([400])
    bench = Bench(make(), WHERE, b_gap=lambda: next(gaps, 0), delay=lambda _: 20)
    bench.write(*(full(2 + n, FAR + 8 * n) for n in range(6)), full(1, 0x9000_0000),
                Burst(1, ECAM, 1, 2, data=[(5, 0xF)]))
    bench.run(until=lambda: len(bench.responses) == 8, deadline=3000)
    assert [resp for _, id, resp in bench.responses if id == 1] == [SLVERR, OKAY]
