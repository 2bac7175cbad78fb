"""What the interrupt block as a whole promises about time."""

import pytest

from iovirt_sim.bench.interrupts import GOALS, measure_latency, measure_rate, measure_storm
from iovirt_sim.interrupt_engine import IRQ, open_engine


@pytest.fixture(scope="module", params=[64, 256])
def engine(request):
    with open_engine(IRQ, table_width=request.param) as io:
        yield io, request.param


@pytest.mark.parametrize("queues", [1, 8])
def test_records_come_as_fast_as_the_table_port_can_take_them(engine, queues):
    io, width = engine
    # One clock in 32 is kept for sweeps, which matters if records take one.
    assert measure_rate(io, width, records=800, queues=queues) <= GOALS[width] * 1.04


def test_latency_beyond_that_of_memory_is_what_is_stated(engine):
    io, width = engine
    record, notice = measure_latency(io, width, count=40)
    assert record <= (23 if width >= 256 else 34) and notice <= 13


def test_a_storm_into_one_queue_does_not_delay_others(engine):
    io, width = engine
    calm, storm = (measure_storm(io, width, storm=storm, clocks=6000)[1]
                   for storm in (False, True))
    assert storm <= 1.05 * calm
