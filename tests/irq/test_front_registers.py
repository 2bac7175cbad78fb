import random

import pytest

from iovirt.irq.checks import SourceCheck
from iovirt.irq.forward import MsiForwarder
from iovirt.irq.in_flight import InFlight
from iovirt.irq.table_window import TableWindow
from iovirt.irq.waits import QueueWaits
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

from .entries import entry_word, random_entry
from .front_bench import ENTRIES, Bench


@pytest.mark.parametrize("make, message", [
    (lambda: SourceCheck(queues=0), r"^Number of queues must be an integer in 1\.\.256, not 0$"),
    (lambda: QueueWaits(queues=257), r"^Number of queues must be an integer in 1\.\.256, not 257$"),
    (lambda: MsiForwarder(address_width=57, tag_width=1),
     r"^Address width must be an integer in 13\.\.56, not 57$"),
    (lambda: InFlight(entries=16, queue_width=1, events=3),
     r"^Number of events must be a power of two in 2\.\.64, not 3$"),
    (lambda: TableWindow(entries=2048, data_width=64, address_width=16),
     r"^Address width must cover 131072 bytes, because there are 2048 entries, not be 16$"),
])
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("data_width", [32, 64])
def test_entries_read_as_they_were_written(data_width):
    rng   = random.Random(data_width)
    bench = Bench(rng, data_width=data_width)

    async def testbench(ctx):
        words = {}
        for index in rng.sample(range(ENTRIES + 16), 10):
            words[index] = random_entry(rng)
            await bench.write_entry(ctx, index, **words[index])
        for index, fields in words.items():
            assert await bench.read_entry(ctx, index) == entry_word(**fields)

    bench.run(testbench)


def test_an_entry_changes_with_its_last_word_and_only_then():
    bench = Bench(random.Random(1))
    ones  = (1 << 64) - 1

    async def testbench(ctx):
        await bench.write_entry(ctx, 4, cookie=7, rid=9)
        before = await bench.read_entry(ctx, 4)
        for word in range(3):
            await bench.access(ctx, 32 * 4 + 8 * word, write=ones)
            assert await bench.read_entry(ctx, 4) == before
        # A byte of a word, and the last word.
        await bench.access(ctx, 32 * 4 + 8, write=0, strobe=0b10)
        await bench.access(ctx, 32 * 4 + 24, write=5)
        fields = {"valid": 1, "delivery": 3, "suspend": 1, "urgent": 1, "merge": 1, "multi": 1,
                  "priority": 3, "rid": 0xffff, "rid_mask": 0xffff, "segment": 0xff,
                  "cookie": 0xffff_00ff, "guest": 0xffff, "queue": 0xff, "address": (1 << 54) - 1,
                  "data": 5}
        assert await bench.read_entry(ctx, 4) == entry_word(**fields)

    bench.run(testbench)


def test_an_entry_written_in_halves_of_64_bit_words_changes_with_the_last_half():
    bench = Bench(random.Random(1))
    rng   = random.Random(2)

    async def testbench(ctx):
        await bench.write_entry(ctx, 4, cookie=7)
        before = await bench.read_entry(ctx, 4)
        fields = random_entry(rng)
        for low in range(0, 256, 32):
            assert await bench.read_entry(ctx, 4) == before
            part = entry_word(**fields) >> low & 0xffff_ffff
            await bench.access(ctx, 32 * 4 + low // 64 * 8, write=part << low % 64,
                               strobe=15 << low % 64 // 8)
        assert await bench.read_entry(ctx, 4) == entry_word(**fields)

    bench.run(testbench)


def test_words_of_another_entry_are_forgotten_so_a_lone_last_word_invalidates():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 4)
        for word in range(3):
            await bench.access(ctx, 32 * 5 + 8 * word, write=1)
        await bench.access(ctx, 32 * 4 + 24, write=1)
        assert await bench.read_entry(ctx, 4) == entry_word(data=1)
        assert await bench.read_entry(ctx, 5) == 0

    bench.run(testbench)


def test_accesses_beyond_the_tables_answer_an_error():
    dut = TableWindow(entries=32, data_width=64, address_width=12)
    requests = [{"address": 32 * index + 24, "write": write, "data": 1, "strobe": 255}
                for index in (48, 50, 63) for write in (0, 1)]

    async def sender(ctx):
        await send(ctx, dut.port.request, requests)

    async def receiver(ctx):
        for answer, in await receive(ctx, dut.port.response, len(requests)):
            assert (answer.data, answer.error) == (0, 1)
        assert not ctx.get(dut.write.valid)

    simulate(dut, sender, receiver)
