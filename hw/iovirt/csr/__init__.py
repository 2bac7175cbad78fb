"""Registers: the SystemRDL source, the bank behind AXI4-Lite, and the documents made from it."""
