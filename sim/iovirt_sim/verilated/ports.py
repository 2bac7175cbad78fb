"""The C++ header through which the bench sees the ports and payloads of a design."""

import re

from amaranth.hdl import ShapeCastable
from amaranth.lib import data

from iovirt.export import ports_of

__all__ = ["describe", "write_header"]

AXI4 = {"aw": "id addr len size burst lock cache prot qos valid ready",
        "w": "data strb last valid ready", "b": "id resp valid ready",
        "ar": "id addr len size burst lock cache prot qos valid ready",
        "r": "id data resp last valid ready"}
AXI_LITE = {"aw": "addr prot valid ready", "w": "data strb valid ready", "b": "resp valid ready",
            "ar": "addr prot valid ready", "r": "data resp valid ready"}
TLP = "data strb hdr prefix prefix_valid segment first last nullify valid ready"


def _bus(channels):
    return [channel + signal for channel, signals in channels.items() for signal in signals.split()]


#: Group of ports: C++ class, macro that says it is there, signals, signal that has the data width.
GROUPS = {
    "table": ("TablePort", "IOVIRT_HAS_TABLE", _bus(AXI4), "rdata"),
    "dma": ("DmaPort", "IOVIRT_HAS_DMA", _bus(AXI4), "rdata"),
    "pio": ("PioPort", "IOVIRT_HAS_PIO", [*_bus(AXI4), "ruser"], "rdata"),
    "csr": ("CsrPort", "IOVIRT_HAS_CSR", _bus(AXI_LITE), "rdata"),
    "rx": ("RxPort", "IOVIRT_HAS_RX", TLP.split(), "data"),
    "tx": ("TxPort", "IOVIRT_HAS_TX", TLP.split(), "data"),
}


def describe(component):
    """Return what the bench must know of a component, as plain values: ports and payload fields."""
    payloads = {}
    for name in ("request", "result"):
        if name in component.signature.members:
            payloads[name] = _fields(getattr(component, name).payload.shape())
    return {"ports": ports_of(component), "payloads": payloads}


def _fields(layout, prefix="", offset=0):
    """Return ``{name: [offset, width]}`` of the leaves of a layout."""
    fields = {}
    for key, field in data.Layout.cast(layout).__iter__():
        name, at = f"{prefix}{key}", offset + field.offset
        if isinstance(field.shape, ShapeCastable) and _is_struct(field.shape):
            fields |= _fields(field.shape, f"{name}__", at)
        else:
            fields[name] = [at, field.width]
    return fields


def _is_struct(shape):
    try:
        return isinstance(data.Layout.cast(shape), data.StructLayout)
    except TypeError:
        return False


def write_header(description):
    """Return the text of ``ports.h``."""
    widths = {port["name"]: port["width"] for port in description["ports"]}
    lines = ["// Generated: the ports of the design.", "#pragma once", '#include "Vmodel.h"',
             '#include "common.h"', "using Model = Vmodel;"]
    for group, (name, macro, signals, measure) in GROUPS.items():
        if f"{group}__valid" in widths or f"{group}__rvalid" in widths:
            lines += _port_class(group, name, macro, signals, measure, widths)
    for payload, fields in description["payloads"].items():
        lines.append(f"namespace {payload}_payload {{")
        lines += [f"constexpr Field {field}{{{offset}, {width}}};"
                  for field, (offset, width) in fields.items()]
        lines.append("}")
    for macro, port in (("REQUEST", "request__valid"), ("RETIRE", "retire__0__valid"),
                        ("FC", "tx_fc_ph"), ("NP_RELEASE", "np_release"),
                        ("LINK_UP", "link_up"), ("IRQ_WIRES", "irq_wires"),
                        ("PIO_RUSER", "pio__ruser"), ("WEAKEN", "weaken")):
        if port in widths:
            lines.append(f"#define IOVIRT_HAS_{macro} 1")
    return "\n".join(lines) + "\n"


def _port_class(group, name, macro, signals, measure, widths):
    lines = [f"#define {macro} 1", f"struct {name} {{", "    Model& model;",
             f"    static constexpr unsigned data_bytes = {widths[f'{group}__{measure}'] // 8};"]
    for signal in signals:
        port = f"{group}__{signal}"
        if port in widths:
            lines.append(f"    auto& {signal}() {{ return model.{_cpp(port)}; }}")
    return [*lines, "};"]


def _cpp(port):
    """Verilator's C++ name of a port."""
    return re.sub("__", "___05F", port)
