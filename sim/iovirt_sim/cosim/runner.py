"""Build the Verilog with Icarus Verilog and run cocotb tests in it. Needs cocotb, not a simulator
of its own kind: everything here runs outside.
"""

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["Model"]

#: cocotb needs a precision that the half of a clock period is a multiple of.
TIMESCALE = ("1ns", "1ps")


class Model:
    """A compiled model.

    Parameters
    ----------
    verilog : text of the design.
    top : name of its top module.
    directory : where to build; made if it is missing.
    """

    def __init__(self, verilog, top, directory):
        self.top, self.directory = top, Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        source = self.directory / "design.v"
        source.write_text(verilog)
        # cocotb is an extra: without it, nothing but this may fail.
        from cocotb_tools.runner import get_runner

        self._runner = get_runner("icarus")
        self._runner.build(sources=[source], hdl_toplevel=top, build_dir=self.directory,
                           timescale=TIMESCALE, always=True, log_file=self.directory / "build.log")

    def run(self, module, test, *, directory, preset, seed=1):
        """Run one test of a Python module in the simulator; return whether it passed, and its log.

        ``module`` is a dotted name that this process could import; ``preset`` names the
        configuration for the test.
        """
        directory = Path(directory)
        log = directory / f"{test}.log"
        results = directory / f"{test}.xml"
        with contextlib.suppress(SystemExit):
            self._runner.test(
                test_module=module, hdl_toplevel=self.top, test_filter=rf"\.{test}$",
                test_dir=directory, results_xml=str(results), log_file=log, seed=seed,
                extra_env={"PYTHONPATH": os.pathsep.join(sys.path), "COCOTB_LOG_LEVEL": "WARNING",
                           "IOVIRT_PRESET": preset, "COCOTB_ANSI_OUTPUT": "0",
                           "PYTHONWARNINGS": "ignore::DeprecationWarning"})
        text = log.read_text()
        return results.exists() and "<failure" not in results.read_text(), text
