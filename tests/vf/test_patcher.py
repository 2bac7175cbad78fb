"""The patcher against the interpreter of templates."""

import random

import pytest

from .patch_bench import OTHERS, RINGS, World, run
from .patch_random import random_read


@pytest.mark.parametrize("names", [RINGS, OTHERS], ids=["nvme", "others"])
@pytest.mark.parametrize("width", [64, 128, 256, 512])
def test_entries_come_out_as_the_interpreter_says(width, names):
    choice = random.Random(f"{width} {names}")
    world = World(names, offset_bits=choice.choice((32, 36, 40, 43)),
                  key_bits=choice.choice((0, 9)))
    run(world, [random_read(world, choice) for _ in range(24)], width, seed=width, busy=.8,
        free=.8)
