"""Attack A22: errors in the memory of tables, which must deny and never lend what is another's."""

import pytest
from tests.vf.guest_bench import RUN, Registers, fast, lookup, until_ready

from iovirt.vf.guest_table import GuestTable
from iovirt_sim.drivers.sharing_words import GuestEntry
from iovirt_sim.harness import simulate

#: Device IDs of two guests, two bits apart; where these bits are in a stored entry.
MINE, THEIRS, AT = 0x4001, 0x4002, 16


def flipped(bits, *, weak):
    """Return (device ID, broken) of guest 1 after errors in its entry, and whether it is served."""
    dut = GuestTable(guests=4, freezers=1, data_width=64, address_width=16, weak=True)
    software, seen = Registers(dut), []

    async def testbench(ctx):
        ctx.set(dut.weaken.ecc, weak)
        await until_ready(ctx, dut)
        for guest, device_id in ((1, MINE), (2, THEIRS)):
            await software.set_entry(ctx, guest, GuestEntry(0x123, device_id, 0, guest, 1))
            await software.set_state(ctx, guest, RUN)
        row = dut.memory.entries.data[1]
        ctx.set(row, ctx.get(row) ^ sum(1 << AT + bit for bit in bits))
        (low, _), _, _, _, broken = await fast(ctx, dut, 1)
        answer = await lookup(ctx, dut.lookup[0], 1)
        seen.append((low >> 16 & 0xff_ffff, broken, answer.ok))

    simulate(dut, testbench)
    return seen[0]


def test_a22_table_errors_fail_closed():
    _, broken, served = flipped((0, 1), weak=False)
    assert broken and not served
    # Without the check, guest 1 has the memory of guest 2.
    assert flipped((0, 1), weak=True) == (THEIRS, 0, 1)


@pytest.mark.parametrize("weak", [False, True])
def test_a22_single_errors_are_corrected(weak):
    assert flipped((1,), weak=weak) == (MINE, 0, 1)
