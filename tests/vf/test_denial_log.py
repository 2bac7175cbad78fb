import random

import pytest

from iovirt.pcie.layouts import ErrorCause
from iovirt.vf.denial_log import DenialLog
from iovirt.vf.share_layouts import DenialCause, GuestCounter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


def run(sources, *, stall=0, seed=0):
    """Feed denials to the ports; return the error records and the counts."""
    dut, errors, counts = DenialLog(ports=len(sources)), [], []
    wanted = [denial for source in sources for denial in source]
    records = sum(d["cause"] != DenialCause.NONE for d in wanted)
    counted = sum(d["cause"] not in (DenialCause.NONE, DenialCause.ODD) for d in wanted)

    def gaps(name, most):
        rng = random.Random(f"{seed} {name}")
        return lambda: rng.randrange(most)

    def source(port, denials):
        async def testbench(ctx):
            await send(ctx, dut.i[port], denials, gap=gaps(port, 3))
        return testbench

    def sink(port, seen, number):
        async def testbench(ctx):
            seen.extend(transfer for transfer, in
                     await receive(ctx, port, number, gap=gaps(number, 1 + stall)))
        return testbench

    simulate(dut, *(source(n, denials) for n, denials in enumerate(sources)),
             sink(dut.error, errors, records), sink(dut.count, counts, counted))
    return errors, counts


def denial(cause, *, colour=3, device_id=0x010203, address=0x1234):
    return {"cause": cause, "colour": colour, "device_id": device_id, "address": address}


@pytest.mark.parametrize("cause, error, counter", [
    ("KEY", "SHARE_KEY", "DENIED"), ("ADDRESS", "SHARE_ADDRESS", "DENIED"),
    ("ENTRY", "SHARE_ENTRY", "REPLACED"), ("DOORBELL", "SHARE_DOORBELL", "DROPPED"),
    ("ODD", "SHARE_COMPLETION", None), ("TABLE", "SHARE_TABLE", "DENIED")])
def test_each_cause_has_its_record_and_its_statistic(cause, error, counter):
    errors, counts = run([[denial(DenialCause[cause])]])
    (record,) = errors
    assert record.cause == ErrorCause[error]
    assert (record.segment, record.rid, record.address) == (1, 0x0203, 0x1234)
    assert [(c.colour, c.counter, c.amount) for c in counts] \
        == ([(3, GuestCounter[counter], 1)] if counter else [])


def test_nothing_is_recorded_of_no_denial():
    errors, counts = run([[denial(DenialCause.NONE), denial(DenialCause.KEY)]])
    assert (len(errors), len(counts)) == (1, 1)


@pytest.mark.parametrize("stall", [0, 1, 6])
def test_all_denials_of_all_sources_are_recorded(stall):
    rng = random.Random(stall)
    sources = [[denial(rng.choice(list(DenialCause)), colour=rng.randrange(256),
                       address=(port << 32) + n) for n in range(40)] for port in range(3)]
    errors, counts = run(sources, stall=stall, seed=stall)
    for port, denials in enumerate(sources):
        assert [record.address for record in errors if record.address >> 32 == port] \
            == [d["address"] for d in denials if d["cause"] != DenialCause.NONE]
    assert len(counts) == sum(d["cause"] not in (DenialCause.NONE, DenialCause.ODD)
                              for denials in sources for d in denials)
