"""Run a component under testbenches, or prove its properties, in one call."""

import os
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.sim import Simulator

from iovirt.yosys import run_yosys

from .streams import check_rules, streams_of

__all__ = ["CLOCK_PERIOD", "check_bounded", "simulate"]

#: Period of the ``sync`` clock, in seconds.
CLOCK_PERIOD = 4e-9


def simulate(dut, *testbenches, background=(), deadline=10_000):
    """Run ``testbenches`` against ``dut``; those in ``background`` end with the others.

    Fails if they are not done in ``deadline`` cycles, or if any stream of ``dut`` breaks the stream
    transfer rules. Writes a waveform to ``$IOVIRT_VCD`` if this environment variable is set.
    """
    async def watchdog(ctx):
        await ctx.delay(deadline * CLOCK_PERIOD)
        raise TimeoutError(f"Simulation did not finish in {deadline} cycles")

    sim = Simulator(dut)
    sim.add_clock(CLOCK_PERIOD)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    for testbench in (watchdog, *background, *(check_rules(*port) for port in streams_of(dut))):
        sim.add_testbench(testbench, background=True)
    if vcd_file := os.getenv("IOVIRT_VCD"):
        with sim.write_vcd(vcd_file):
            sim.run()
    else:
        sim.run()


def check_bounded(spec, *, free, depth):
    """Prove that no ``Assert`` in ``spec`` fails within ``depth`` cycles of reset.

    The ``free`` signals take all possible values. Needs only Yosys, whose own SAT solver is used.
    """
    script = (
        "read_rtlil spec.il; prep -flatten -top top; memory_map; opt -full; "
        "chformal -lower; async2sync; dffunmap; "
        f"sat -verify -prove-asserts -set-assumes -seq 1 -tempinduct-baseonly -maxsteps {depth}"
    )
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "spec.il").write_text(rtlil.convert(spec, ports=free))
        run_yosys(script, cwd=directory)
