"""What Verilator warns of in the generated Verilog that is not a defect."""

__all__ = ["WAIVERS", "waiver_file"]

#: (rule, what the message must be like or None, why it is no defect). Rules that find defects of a
#: design, such as UNOPTFLAT, LATCH, UNDRIVEN, MULTIDRIVEN or CASEINCOMPLETE, are not among them.
WAIVERS = [
    ("DECLFILENAME", None, "All modules of the design are in one file."),
    ("PROCASSINIT", None, "A register has a value at power-up, which FPGAs load, and one at reset; "
     "both are the same."),
    ("UNUSEDSIGNAL", None, "Blocks have complete interfaces, also where their neighbour needs only "
     "a part of it."),
    ("VARHIDDEN", None, "A memory has the name of the instance that it is the content of."),
    ("CMPCONST", "Comparison is constant due to limited range",
     "Comparisons with parameters are not pruned where a small configuration decides them."),
    ("UNSIGNED", "Comparison is constant due to unsigned arithmetic",
     "As above: the lower bound of a range is 0."),
    ("WIDTHEXPAND", None, "Operands are extended by the rules of Verilog, as the language in which "
     "iovirt is written means it; constants are written without leading zeros."),
    ("WIDTHTRUNC", "Logical operator * expects 1 bit*", "!x stands for x == 0."),
    ("WIDTHTRUNC", "Operator ASSIGNW expects * SHIFT* generates *",
     "One of several bits or fields is selected by a shift."),
]


def waiver_file(verilog_name):
    """Return the Verilator configuration for the lint of the file ``verilog_name``."""
    lines = ["`verilator_config",
             f"// For: verilator --lint-only -Wall {verilog_name.removesuffix('.v')}.vlt "
             f"{verilog_name}"]
    for rule, match, reason in WAIVERS:
        pattern = f' -match "{match}"' if match else ""
        lines += ["", f"// {reason}", f'lint_off -rule {rule} -file "*{verilog_name}"{pattern}']
    return "\n".join(lines) + "\n"
