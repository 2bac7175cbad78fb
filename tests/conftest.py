"""Shared set-up of the tests."""

from iovirt.yosys import find_yosys

# Amaranth writes Verilog through Yosys and must know where it is.
find_yosys()
