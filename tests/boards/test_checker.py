import pytest
from boards.selftest.checker import Checker
from boards.selftest.image import SMALL, SMALL_IOVA, UNKNOWN, Access
from boards.selftest.pattern import pattern_of

from iovirt.pcie.tlp import CompletionHeader, Fmt, Type
from iovirt_sim.harness import simulate

ROUND = 5
#: A read of 11 bytes that ends in the third Dword, one that is refused, and a write.
READ   = Access(SMALL, SMALL_IOVA + 0x41, 11)
SCRIPT = (READ, Access(UNKNOWN, SMALL_IOVA, 4, expect="UR"),
          Access(SMALL, SMALL_IOVA, 4, write=True))


def completion(*, data=True, spoilt_byte=None, **changes):
    """Return the beats of the completion of `READ`, or of the refused read, with ``changes``."""
    fields = {"length": 3, "rid": SMALL, "tag": 0, "status": 0, "byte_count": 11,
              "lower_addr": 0x41} if data else {
              "length": 0, "rid": UNKNOWN, "tag": 1, "status": 1, "byte_count": 4, "lower_addr": 0}
    fields |= changes
    length = fields.pop("length")
    header = CompletionHeader.const({
        "dw0": {"fmt": (Fmt.DW3_DATA if data else Fmt.DW3).value, "type": Type.COMPLETION.value,
                "length": length}, **fields}).as_bits()
    words = [pattern_of(ROUND, READ.key + n) for n in range(length)] if data else []
    if spoilt_byte is not None:
        words[spoilt_byte // 4] ^= 1 << 8 * (spoilt_byte % 4)
    beats = [words[n:n + 2] for n in range(0, len(words), 2)] or [[]]
    return [{"hdr": header, "data": sum(word << 32 * n for n, word in enumerate(beat)),
             "strb": (1 << len(beat)) - 1, "first": n == 0, "last": n == len(beats) - 1}
            for n, beat in enumerate(beats)]


def check(*tlps):
    """Return (done, bad header, bad data) after the TLPs."""
    dut, result = Checker(SCRIPT), []

    async def bench(ctx):
        ctx.set(dut.round, ROUND)
        ctx.set(dut.run, 1)
        for beat in (beat for tlp in tlps for beat in tlp):
            for name, value in beat.items():
                ctx.set(getattr(dut.tlp, name), value)
            ctx.set(dut.tlp.valid, 1)
            while not ctx.get(dut.tlp.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(dut.tlp.valid, 0)
        await ctx.tick().repeat(8)
        result.extend(ctx.get(port) for port in (dut.done, dut.bad_header, dut.bad_data))

    simulate(dut, bench)
    return tuple(result)


def test_right_completions_are_accepted_in_any_order():
    assert check(completion(), completion(data=False)) == (1, 0, 0)
    assert check(completion(data=False), completion()) == (1, 0, 0)


def test_bytes_outside_of_the_read_may_be_anything():
    assert check(completion(spoilt_byte=0)) == (0, 0, 0)


@pytest.mark.parametrize("byte", [1, 3, 4, 7, 8, 11])
def test_each_wrong_byte_is_found(byte):
    assert check(completion(spoilt_byte=byte)) == (0, 0, 1)


@pytest.mark.parametrize("changes", [
    {"rid": SMALL + 1}, {"tag": 2}, {"tag": 3}, {"status": 1}, {"byte_count": 12},
    {"lower_addr": 0x42}, {"length": 2}, {"data": False, "status": 4},
    {"data": False, "byte_count": 8},
], ids=repr)
def test_each_wrong_field_is_found(changes):
    assert check(completion(**changes))[1] == 1


def test_second_completion_of_a_request_is_found():
    assert check(completion(), completion())[1] == 1


def test_other_round_has_other_data():
    stale = completion()
    for beat in stale:
        beat["data"] ^= pattern_of(ROUND ^ 1, 0) ^ pattern_of(ROUND, 0)
    assert check(stale) == (0, 0, 1)
