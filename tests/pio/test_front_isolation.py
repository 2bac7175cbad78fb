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


def test_answer_does_not_pass_direct_ones_that_the_core_has_not_taken_yet():
    gaps = iter([400])
    bench = Bench(make(), WHERE, b_gap=lambda: next(gaps, 0), delay=lambda _: 20)
    bench.write(*(full(2 + n, FAR + 8 * n) for n in range(6)), full(1, 0x9000_0000),
                Burst(1, ECAM, 1, 2, data=[(5, 0xF)]))
    bench.run(until=lambda: len(bench.responses) == 8, deadline=3000)
    assert [resp for _, id, resp in bench.responses if id == 1] == [SLVERR, OKAY]
