"""Model of the register map: the SystemRDL source compiled and elaborated for a configuration."""

import enum
import functools
from dataclasses import dataclass, field
from pathlib import Path

from systemrdl import RDLCompiler
from systemrdl.node import RegNode
from systemrdl.rdltypes import OnWriteType

__all__ = ["PAGE_BYTES", "Field", "FieldKind", "Register", "RegisterMap", "RegisterMapError",
           "document_map", "load", "register_map"]

#: Registers come in pages, so that a hypervisor can map some into a guest.
PAGE_BYTES = 4096

_SOURCE = Path(__file__).parent / "regs" / "iovirt.rdl"


class RegisterMapError(ValueError):
    """The SystemRDL source asks for what the register bank cannot do."""


class FieldKind(enum.Enum):
    """How the bank builds a field."""

    CONSTANT = "constant"  # reads its reset value
    STORAGE  = "storage"   # software writes, hardware sees
    WIRE     = "wire"      # hardware drives what software reads
    STICKY   = "sticky"    # hardware sets, software clears by writing 1
    PULSE    = "pulse"     # software writes 1, hardware sees a pulse
    OUTSIDE  = "outside"   # the state belongs to another block
    COUNTER  = "counter"   # hardware increments, any write clears


@dataclass(frozen=True)
class Field:
    """Field of a register; ``legal_max`` is None if every value may be written."""

    name: str
    low: int
    width: int
    kind: FieldKind
    reset: int
    legal_max: int | None
    hw_clears: bool
    w1c: bool

    @property
    def writable(self):
        """Whether a write can have an effect."""
        return self.kind not in (FieldKind.CONSTANT, FieldKind.WIRE)


@dataclass(frozen=True)
class Register:
    """Register of 32 or 64 bits at byte ``address``."""

    name: str
    address: int
    width: int
    fields: tuple

    @property
    def page(self):
        """Number of its page."""
        return self.address // PAGE_BYTES

    def __getitem__(self, name):
        """Return the field ``name``."""
        return next(field for field in self.fields if field.name == name)


@dataclass(frozen=True)
class RegisterMap:
    """All registers, in order of address, and the SystemRDL node they come from.

    ``windows`` tells the pages of what is `external` there, as ``{name: (first page, pages)}``:
    blocks serve these themselves.
    """

    registers: tuple
    node: object
    windows: dict = field(default_factory=dict)

    def __getitem__(self, name):
        """Return the register ``name``."""
        return next(register for register in self.registers if register.name == name)

    @property
    def pages(self):
        """Numbers of the pages that hold registers."""
        return sorted({register.page for register in self.registers})

    @property
    def read_only_pages(self):
        """Numbers of the pages in which no field can be written."""
        return [page for page in self.pages
                if not any(field.writable for register in self.of_page(page)
                           for field in register.fields)]

    @property
    def counter_pages(self):
        """Numbers of the pages that hold counters."""
        return sorted({register.page for register in self.counters})

    @property
    def counters(self):
        """Registers that are counters."""
        return [register for register in self.registers
                if register.fields[0].kind is FieldKind.COUNTER]

    def of_page(self, page):
        """Return the registers of ``page``."""
        return [register for register in self.registers if register.page == page]


def _kind(node):
    """Tell the kind of a field from its SystemRDL properties."""
    get = lambda name: node.get_property(name, default=False)
    if get("outside"):
        return FieldKind.OUTSIDE
    if get("counter"):
        return FieldKind.COUNTER
    if get("singlepulse"):
        return FieldKind.PULSE
    if get("hwset") and node.get_property("onwrite") is OnWriteType.woclr:
        return FieldKind.STICKY
    if not node.is_sw_writable:
        return FieldKind.WIRE if node.is_hw_writable else FieldKind.CONSTANT
    if node.get_property("onwrite") is None and not node.is_hw_writable:
        return FieldKind.STORAGE
    raise RegisterMapError(f"Field {node.get_path()} must be of a kind that the register bank "
                           "knows: its mix of sw, hw and onwrite is not")


def _field(node):
    kind = _kind(node)
    legal_max = node.get_property("legal_max", default=None)
    if legal_max is not None and node.low // 8 != node.high // 8:
        raise RegisterMapError(f"Field {node.get_path()} with legal_max must be within one byte, "
                               f"not in bits {node.high}:{node.low}")
    if legal_max is not None and kind is not FieldKind.STORAGE:
        raise RegisterMapError(f"Field {node.get_path()} with legal_max must be storage, not "
                               f"{kind.value}")
    if not node.get_property("desc"):
        raise RegisterMapError(f"Field {node.get_path()} must have a desc")
    return Field(name=node.inst_name, low=node.low, width=node.width, kind=kind,
                 reset=node.get_property("reset") or 0, legal_max=legal_max,
                 hw_clears=bool(node.get_property("hw_clears", default=False)),
                 w1c=node.get_property("onwrite") is OnWriteType.woclr)


def _register(node):
    fields = tuple(map(_field, node.fields()))
    if node.absolute_address % (node.size) or node.size not in (4, 8):
        raise RegisterMapError(f"Register {node.get_path()} must be naturally aligned and of 4 or "
                               f"8 bytes, not of {node.size} bytes at {node.absolute_address:#x}")
    if len(fields) > 1 and any(field.kind is FieldKind.COUNTER for field in fields):
        raise RegisterMapError(f"Counter {node.get_path()} must be the only field of its register")
    return Register(name=node.get_path_segment(array_suffix="_{index:d}"),
                    address=node.absolute_address, width=node.size * 8, fields=fields)


def load(path, *, top=None, parameters=None):
    """Compile the SystemRDL file ``path`` and return its :class:`RegisterMap`.

    Raises
    ------
    RegisterMapError
        If the bank cannot build what the file describes. Errors of the language itself are
        ``systemrdl.RDLCompileError``, with file, line and column on the standard error stream.
    """
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    root = compiler.elaborate(top, parameters=parameters or {})
    blocks = list(root.top.children())
    inside = [node for node in root.top.children(unroll=True) if isinstance(node, RegNode)]
    nodes  = inside + [node for block in blocks if not block.external
                       for node in block.descendants(unroll=True) if isinstance(node, RegNode)]
    registers = tuple(sorted(map(_register, nodes), key=lambda register: register.address))
    names = [register.name for register in registers]
    for name in names:
        if names.count(name) > 1:
            raise RegisterMapError(f"Register names must be unique over all pages, not twice "
                                   f"{name!r}")
    found = RegisterMap(registers, root.top, _windows(block for block in blocks if block.external))
    for page in found.counter_pages:
        _check_counter_page(found.of_page(page))
    return found


def _windows(blocks):
    windows = {}
    for block in blocks:
        first, offset = divmod(block.raw_absolute_address, PAGE_BYTES)
        if offset:
            raise RegisterMapError(f"External {block.inst_name} must start at a page, not at "
                                   f"{block.raw_absolute_address:#x}")
        windows[block.inst_name] = first, -(-block.total_size // PAGE_BYTES)
    return windows


def _check_counter_page(registers):
    # The memory of the counters is indexed by address bits, from the start of the page.
    for index, register in enumerate(registers):
        if (register.fields[0].kind is not FieldKind.COUNTER or register.width != 64
                or register.address != register.page * PAGE_BYTES + 8 * index):
            raise RegisterMapError(f"Register {register.name} must be a 64-bit counter at offset "
                                   f"{8 * index:#x}, because its page holds counters")


def _parameters(config):
    remap, pcie, irq, pio, vf = config.remap, config.pcie, config.irq, config.pio, config.vf
    queues, entries = irq.enable * irq.queues, irq.enable * irq.entries
    return {
        "PAS":          remap.physical_address_bits,
        "SV48X4":       int("Sv48x4" in remap.second_stage),
        "SV57X4":       int("Sv57x4" in remap.second_stage),
        "DDT_LEVELS":   remap.ddt_levels,
        "CONFIG_HASH":  int(config.hash, 16),
        "DATA_WIDTH":   config.data_width,
        "TABLE_WIDTH":  config.table_width,
        "IOTLB_TAGS":   remap.iotlb_tags,
        "IOTLB_WAYS":   remap.iotlb_ways,
        "SUPERPAGES":   remap.superpages,
        "CONTEXTS":     remap.contexts,
        "CONTEXT_WAYS": remap.context_ways,
        "MISSES":       remap.misses,
        "WALKS":        remap.walks,
        "PREFETCH":     int(remap.prefetch),
        "NP_CREDITS":   pcie.np_credits,
        "MPS":          pcie.max_payload_bytes.bit_length() - 8,
        "RCB":          int(pcie.rcb_bytes == 128),
        "IRQ":          int(irq.enable),
        "IRT_ENTRIES":  entries,
        "IRT_PAGES":    irq.enable * -(-32 * (irq.entries + 16) // PAGE_BYTES),
        "QUEUES":       queues,
        "QUEUE_PAGES":  -(-64 * queues // PAGE_BYTES),
        "WIRES":        irq.enable * irq.wires,
        "TICK_LOG2":    irq.enable * irq.tick_log2,
        "PIO":          int(pio.enable),
        "TAGS":         pio.enable * pio.tags,
        "WINDOWS":      pio.enable * pio.windows,
        "GUESTS":       pio.enable * pio.guests,
        "CORES":        pio.enable << pio.core_id_bits,
        "MAX_READ":     pio.enable * pio.max_read_bytes,
        "CLOCK_MHZ":    pio.enable * pio.clock_mhz,
        "VF":           int(vf.enable),
        "VF_GUESTS":    vf.enable * vf.guests,
        "PAIRS":        vf.enable * vf.pairs,
        "FUNCTIONS":    vf.enable * vf.functions,
        "PARAMETERS":   vf.enable * vf.parameters,
        "HEADERS":      int(vf.enable and vf.headers),
        "VF_TICK_LOG2": vf.enable * vf.tick_log2,
    }


@functools.lru_cache(maxsize=16)
def register_map(config):
    """Return the :class:`RegisterMap` of the configuration ``config``."""
    return load(_SOURCE, top="iovirt", parameters=_parameters(config))


def document_map(config):
    """Return the same with one register of each array, because documents would list them all."""
    return load(_SOURCE, top="iovirt", parameters={**_parameters(config), "DOCUMENT": 1})
