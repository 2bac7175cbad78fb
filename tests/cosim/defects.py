"""Defects for the Verilog of the block: a module around it that changes what passes a port."""

import re

__all__ = ["DEFECTIVE", "with_defect"]

#: Name of the module around the block.
DEFECTIVE = "defective"


def with_defect(verilog, top, port, expression):
    """Return the Verilog with ``expression`` between ``port`` and the block.

    ``{}`` in the expression is what the port would be without it.
    """
    body = verilog[verilog.index(f"module {top}("):]
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);$", body[:body.index("endmodule")],
                       re.MULTILINE)
    direction, width = next((found[0], found[1]) for found in ports if found[2] == port)
    right, changed = ("right", port) if direction == "output" else (port, "right")
    expression = expression.replace("{}", right)
    lines = [f"module {DEFECTIVE}(" + ", ".join(name for _, _, name in ports) + ");",
             *(f"  {way} {bits}{name};" for way, bits, name in ports),
             f"  wire {width}right;",
             f"  assign {changed} = {expression};",
             f"  {top} block (",
             ",\n".join(f"    .{name}({'right' if name == port else name})"
                        for _, _, name in ports),
             "  );", "endmodule", ""]
    return verilog + "\n".join(lines)
