"""Errors in the memory of the interrupt remap table, as the whole block deals with them."""

import random

from iovirt.config import IrqConfig
from iovirt_sim.clocked import AmaranthPorts, simulate_clocked
from iovirt_sim.interrupt_bench import InterruptBench
from iovirt_sim.interrupt_engine import EngineOnPort

IRQ = IrqConfig(entries=16, queues=2, record_slots=4, wires=1, tick_log2=0)
MESSAGES = 10
CODES = [0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x33, 0x18]
SPACE = 12


class EccBench(InterruptBench):
    """Flips bits of entries, and has each of them used."""

    def __init__(self, seed):
        super().__init__(AmaranthPorts(EngineOnPort(IRQ, table_width=256)), IRQ, table_width=256,
                         seed=seed, latency=(2, 4))
        self.table  = self.io.component.engine._front._table
        self.halves = [half.code_width for half in self.table._halves]
        self.errors = []
        self.denied = lambda *what: self.errors.append(what)

    def flip(self, index, *bits):
        memory = self.table.memory.messages if index >= IRQ.entries else self.table.memory.words
        mask = sum(1 << bit for bit in bits)
        self.io.poke(memory.data[index % IRQ.entries], lambda word: word ^ mask)
        yield

    def use(self, index):
        """Send an interrupt of an entry, whatever kind it is."""
        number = index - IRQ.entries
        if number < 0:
            yield from self.msi(index)
        elif number < len(CODES):
            # INTx: a change of the level.
            level = self.model.levels[number] if number < 4 else 0
            yield from self.signal(kind=2, data=CODES[number] + 4 * level)
        else:
            yield from self.notice(number - 8, number)
        for _ in range(SPACE):
            yield

    def all_entries(self):
        return range(IRQ.entries + MESSAGES)

    def prepare(self):
        for index in self.all_entries():
            yield from self.write_entry(index, queue=index & 1, cookie=self.random.getrandbits(32),
                                        guest=self.random.getrandbits(16))
        for queue in range(2):
            yield from self.start(queue, size_log2=9)

    def check_all(self):
        for _ in range(100):
            yield
        while self.check_next(0) or self.check_next(1):
            pass

    def simulate(self, testbench):
        simulate_clocked(self.io, [testbench], background=self.background(), deadline=20_000)


def test_any_wrong_bit_of_an_entry_is_corrected_and_counted():
    b = EccBench(1)
    width = sum(b.halves)

    def testbench():
        yield from b.prepare()
        for bit in range(width):
            yield from b.flip(5, bit)
            yield from b.use(5)
            assert b.pulses["corrected"] == bit + 1
        # It has been written back: nothing is wrong any more.
        yield from b.use(5)
        yield from b.check_all()

    b.simulate(testbench())
    assert b.pulses["corrected"] == width and b.pulses["uncorrectable"] == 0
    assert not b.errors and not b.model.outstanding()


def test_a_wrong_bit_in_any_entry_is_corrected_and_two_of_a_half_deny_it():
    b, rng = EccBench(2), random.Random(2)
    told = []

    def testbench():
        yield from b.prepare()
        for count, index in enumerate(b.all_entries()):
            yield from b.flip(index, rng.randrange(sum(b.halves)))
            yield from b.use(index)
            assert b.pulses["corrected"] == count + 1
        yield from b.check_all()
        assert not b.model.outstanding() and not b.errors
        told.append(dict(b.model.told))
        for index in b.all_entries():
            low, width = rng.choice([(0, b.halves[0]), (b.halves[0], b.halves[1])])
            yield from b.flip(index, *(low + bit for bit in rng.sample(range(width), 2)))
            yield from b.use(index)
        assert b.pulses["uncorrectable"] == IRQ.entries + MESSAGES
        for _ in range(100):
            yield

    b.simulate(testbench())
    # Notices of this design itself leave no error record.
    assert [(cause, address >> 3) for cause, _, _, address in b.errors] == [
        ("MSI_ECC", index) for index in range(IRQ.entries + len(CODES))]
    # Nothing was delivered by an entry that cannot be trusted.
    assert b.visible_of == told[0]
