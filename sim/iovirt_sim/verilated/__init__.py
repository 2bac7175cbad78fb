"""verilated."""
