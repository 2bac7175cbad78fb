import itertools
import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.ram import Secded
from iovirt_sim.harness import simulate


class Channel(wiring.Component):
    """Encoder, bits that flip on the way, decoder."""

    def __init__(self, codec):
        self.codec = codec
        super().__init__({"i": In(codec.width), "flip": In(codec.code_width),
                          "o": Out(codec.width), "single": Out(1), "fatal": Out(1),
                          "code": Out(codec.code_width)})

    def elaborate(self, platform):
        m = Module()
        syndrome = Signal(self.codec.checks + 1)
        m.d.comb += [
            self.code.eq(self.codec.encode(self.i) ^ self.flip),
            syndrome.eq(self.codec.syndrome(self.code)),
        ]
        m.d.sync += [
            self.o.eq(self.codec.correct(self.code, syndrome)),
            self.single.eq(self.codec.is_single(syndrome)),
            self.fatal.eq(self.codec.is_fatal(syndrome)),
        ]
        return m


def test_wrong_parameters():
    with pytest.raises(ValueError,
                       match=r"^Width of data must be an integer of at least 1, not 0$"):
        Secded(width=0)


@pytest.mark.parametrize("width, code_width", [(1, 4), (4, 8), (8, 13), (32, 39), (64, 72)])
def test_code_words_are_as_short_as_can_be(width, code_width):
    assert Secded(width=width).code_width == code_width


@pytest.mark.parametrize("width", [1, 2, 4, 5, 8, 11, 12, 26, 64])
def test_every_single_error_is_corrected_and_every_double_error_detected(width):
    dut, rng = Channel(Secded(width=width)), random.Random(width)
    size = dut.codec.code_width

    async def testbench(ctx):
        await ctx.tick()
        for flips in (0, 1, 2):
            for bits in itertools.combinations(range(size), flips):
                value = rng.getrandbits(width)
                ctx.set(dut.i, value)
                ctx.set(dut.flip, sum(1 << bit for bit in bits))
                await ctx.tick()
                assert ctx.get(dut.single) == (flips == 1)
                assert ctx.get(dut.fatal) == (flips == 2)
                if flips < 2:
                    assert ctx.get(dut.o) == value

    simulate(dut, testbench)


@pytest.mark.parametrize("width", [3, 8, 64])
def test_the_word_of_zero_is_zero(width):
    dut = Channel(Secded(width=width))

    async def testbench(ctx):
        await ctx.tick()
        assert ctx.get(dut.code) == 0

    simulate(dut, testbench)
