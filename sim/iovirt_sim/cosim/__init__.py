"""The generated Verilog among models that are not ours: cocotb, cocotbext-pcie, cocotbext-axi.

:mod:`.runner` builds a model with Icarus Verilog and runs tests in it; the other modules are for
use inside such a test, and need cocotb.
"""
