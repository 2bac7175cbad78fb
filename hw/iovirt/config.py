"""Configuration of the block: frozen dataclasses, checked when made, and the presets."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

__all__ = ["PRESETS", "Config", "ConfigError", "CsrConfig", "DmaConfig", "IrqConfig",
           "PcieConfig", "PioConfig", "RemapConfig", "VfConfig", "preset"]


class ConfigError(ValueError):
    """A configuration value breaks a rule. Names the key, the rule and the value."""

    def __init__(self, key, rule, value):
        self.key, self.rule, self.value = key, rule, value
        super().__init__(f"{key} must be {rule}, not {value!r}")


def _power_of_two(key, value, low, high):
    if type(value) is not int or value & (value - 1) or not low <= value <= high:
        raise ConfigError(key, f"a power of two in {low}..{high}", value)


def _range(key, value, low, high):
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(key, f"an integer in {low}..{high}", value)


def _boolean(key, value):
    if type(value) is not bool:
        raise ConfigError(key, "true or false", value)


def _choice(key, value, choices):
    if value not in choices:
        raise ConfigError(key, "one of " + ", ".join(map(str, choices)), value)


SECOND_STAGE_MODES = ("Sv39x4", "Sv48x4", "Sv57x4")


@dataclass(frozen=True)
class RemapConfig:
    """DMA remap engine.

    Parameters
    ----------
    physical_address_bits : width of an SPA (capabilities.PAS).
    second_stage : modes of iohgatp; a wider one implies the narrower ones.
    ddt_levels : deepest device directory, 1 to 3.
    iotlb_tags, iotlb_ways : lines of 8 pages of 4 KiB, and their associativity.
    superpages : entries for leaves of 2 MiB and more.
    contexts, context_ways : device contexts cached, and their associativity.
    pointers : cached pointers to last-level tables, one per 2 MiB region in use.
    misses : requests that may wait for a walk.
    walks : walks in flight, prefetches included.
    prefetch : build the next-line prefetcher (it can still be switched off by register).
    """

    physical_address_bits: int = 46
    second_stage: tuple = ("Sv39x4", "Sv48x4")
    ddt_levels: int = 3
    iotlb_tags: int = 128
    iotlb_ways: int = 4
    superpages: int = 8
    contexts: int = 64
    context_ways: int = 4
    pointers: int = 64
    misses: int = 16
    walks: int = 8
    prefetch: bool = True

    def __post_init__(self):
        _range("remap.physical_address_bits", self.physical_address_bits, 32, 56)
        modes = tuple(self.second_stage)
        object.__setattr__(self, "second_stage", modes)
        if modes not in [SECOND_STAGE_MODES[:n] for n in (1, 2, 3)]:
            raise ConfigError("remap.second_stage",
                              "a prefix of " + ", ".join(SECOND_STAGE_MODES), list(modes))
        _range("remap.ddt_levels", self.ddt_levels, 1, 3)
        _power_of_two("remap.iotlb_tags", self.iotlb_tags, 8, 4096)
        _power_of_two("remap.iotlb_ways", self.iotlb_ways, 2, 16)
        if self.iotlb_tags < 4 * self.iotlb_ways:
            raise ConfigError("remap.iotlb_tags", f"at least 4 sets of remap.iotlb_ways = "
                              f"{self.iotlb_ways} ways", self.iotlb_tags)
        _range("remap.superpages", self.superpages, 1, 64)
        _power_of_two("remap.contexts", self.contexts, 4, 4096)
        _power_of_two("remap.context_ways", self.context_ways, 2, 16)
        if self.contexts < 2 * self.context_ways:
            raise ConfigError("remap.contexts", f"at least 2 sets of remap.context_ways = "
                              f"{self.context_ways} ways", self.contexts)
        _power_of_two("remap.pointers", self.pointers, 4, 4096)
        _range("remap.misses", self.misses, 4, 128)
        _range("remap.walks", self.walks, 2, 64)
        _boolean("remap.prefetch", self.prefetch)

    @property
    def gpa_bits(self):
        """Width of the widest guest physical address, in bits."""
        return 41 + 9 * (len(self.second_stage) - 1)


@dataclass(frozen=True)
class PcieConfig:
    """PCIe side.

    Parameters
    ----------
    max_payload_bytes : MPS, largest write accepted and completion sent.
    rcb_bytes : read completion boundary, 64 or 128.
    np_credits : non-posted requests buffered; the number the core advertises.
    """

    max_payload_bytes: int = 256
    rcb_bytes: int = 64
    np_credits: int = 32

    def __post_init__(self):
        _power_of_two("pcie.max_payload_bytes", self.max_payload_bytes, 128, 4096)
        _choice("pcie.rcb_bytes", self.rcb_bytes, (64, 128))
        _power_of_two("pcie.np_credits", self.np_credits, 4, 256)


@dataclass(frozen=True)
class DmaConfig:
    """DMA data path.

    Parameters
    ----------
    writes : posted writes buffered, each up to MPS.
    reads : read requests in flight.
    read_pieces : completion buffers, each up to MPS.
    write_ids : AXI IDs that writes are spread over by ordering source.
    fabric_ordered : writes of one ID become visible in issue order.
    order_scope : "rid" or "link": what counts as one ordering source.
    cache, prot, qos : AxCACHE, AxPROT and AxQOS of both memory ports.
    """

    writes: int = 16
    reads: int = 32
    read_pieces: int = 32
    write_ids: int = 8
    fabric_ordered: bool = True
    order_scope: str = "rid"
    cache: int = 0b1110
    prot: int = 0b010
    qos: int = 0

    def __post_init__(self):
        _power_of_two("dma.writes", self.writes, 4, 256)
        _power_of_two("dma.reads", self.reads, 4, 256)
        _power_of_two("dma.read_pieces", self.read_pieces, 4, 256)
        _power_of_two("dma.write_ids", self.write_ids, 1, 64)
        _boolean("dma.fabric_ordered", self.fabric_ordered)
        _choice("dma.order_scope", self.order_scope, ("rid", "link"))
        _range("dma.cache", self.cache, 0, 15)
        if self.cache & 1:
            raise ConfigError("dma.cache", "a non-bufferable AxCACHE (bit 0 clear), because a "
                              "write response must mean that the write is observable", self.cache)
        _range("dma.prot", self.prot, 0, 7)
        _range("dma.qos", self.qos, 0, 15)


@dataclass(frozen=True)
class IrqConfig:
    """Interrupts.

    Parameters
    ----------
    enable : build the interrupt block; without it nothing below counts, and nothing of it is there.
    entries : entries of the interrupt remap table.
    queues : event queues.
    record_slots : event records on their way to memory.
    wires : notification wires.
    signals : interrupts that may wait for earlier writes of their sources.
    tick_log2 : clocks per unit of hold-off time, as a power of two.
    """

    enable: bool = True
    entries: int = 2048
    queues: int = 64
    record_slots: int = 32
    wires: int = 4
    signals: int = 32
    tick_log2: int = 7

    def __post_init__(self):
        _boolean("irq.enable", self.enable)
        _power_of_two("irq.entries", self.entries, 16, 8192)
        _power_of_two("irq.queues", self.queues, 2, 256)
        _power_of_two("irq.record_slots", self.record_slots, 2, 64)
        _range("irq.wires", self.wires, 1, 32)
        _power_of_two("irq.signals", self.signals, 4, 64)
        _range("irq.tick_log2", self.tick_log2, 0, 16)


@dataclass(frozen=True)
class PioConfig:
    """Programmed I/O.

    Parameters
    ----------
    enable : build the block; without it nothing below counts, and nothing of it is there.
    data_width, address_width, id_width : of the AXI4 port `pio`.
    core_id_bits : high bits of an AXI ID that tell the core.
    tags : 32, 256, or 768 (10 bits).
    reads : pieces of reads of cores in flight, and of writes that wait behind a configuration
        write; must cover what all cores together can have outstanding, else one holds up others.
    max_read_bytes : largest read request; the data buffer of a tag.
    windows : windows onto device memory.
    guests : guests that have a quota of tags of their own.
    errors : records in the ring of errors.
    root_port : "builtin", or "core" to pass accesses to the port's own header to the PCIe core.
    vendor_id, device_id : of the built-in header. The defaults belong to nobody: use your own.
    clock_mhz : frequency of the clock, for time-outs.
    """

    enable: bool = True
    data_width: int = 64
    address_width: int = 48
    id_width: int = 6
    core_id_bits: int = 2
    tags: int = 256
    reads: int = 256
    max_read_bytes: int = 128
    windows: int = 4
    guests: int = 16
    errors: int = 16
    root_port: str = "builtin"
    vendor_id: int = 0xfff0
    device_id: int = 0x0001
    clock_mhz: int = 125

    def __post_init__(self):
        _boolean("pio.enable", self.enable)
        _choice("pio.data_width", self.data_width, (64, 128, 256, 512))
        _range("pio.address_width", self.address_width, 32, 64)
        _range("pio.id_width", self.id_width, 1, 16)
        _range("pio.core_id_bits", self.core_id_bits, 0, min(8, self.id_width))
        _choice("pio.tags", self.tags, (32, 256, 768))
        _power_of_two("pio.reads", self.reads, 4, 1024)
        _power_of_two("pio.max_read_bytes", self.max_read_bytes, 64, 512)
        _power_of_two("pio.windows", self.windows, 1, 16)
        _power_of_two("pio.guests", self.guests, 2, 256)
        _power_of_two("pio.errors", self.errors, 4, 256)
        _choice("pio.root_port", self.root_port, ("builtin", "core"))
        _range("pio.vendor_id", self.vendor_id, 1, 0xfffe)
        _range("pio.device_id", self.device_id, 0, 0xffff)
        _range("pio.clock_mhz", self.clock_mhz, 1, 4095)


@dataclass(frozen=True)
class VfConfig:
    """Sharing of devices that know nothing of virtualization.

    Parameters
    ----------
    enable : build the block, which needs interrupts and programmed I/O.
    guests : guests, the manager included as number 0.
    pairs : queue pairs of all guests.
    functions : device functions that are shared, or whose virtual functions are attributed.
    parameters : values of each guest that templates check against or insert.
    patches : pieces of rings and lists that are read at a time.
    headers : virtual configuration headers for guests.
    tick_log2 : clocks per unit of time of token buckets, as a power of two.
    """

    enable: bool = True
    guests: int = 64
    pairs: int = 256
    functions: int = 4
    parameters: int = 4
    patches: int = 8
    headers: bool = True
    tick_log2: int = 10

    def __post_init__(self):
        _boolean("vf.enable", self.enable)
        _power_of_two("vf.guests", self.guests, 4, 256)
        _power_of_two("vf.pairs", self.pairs, 4, 1024)
        _range("vf.functions", self.functions, 1, 4)
        _power_of_two("vf.parameters", self.parameters, 4, 16)
        _power_of_two("vf.patches", self.patches, 4, 32)
        _boolean("vf.headers", self.headers)
        _range("vf.tick_log2", self.tick_log2, 9, 20)
        if 1 << self.tick_log2 < 2 * self.guests:
            raise ConfigError("vf.tick_log2", f"at least log2 of twice vf.guests = {self.guests}",
                              self.tick_log2)


@dataclass(frozen=True)
class CsrConfig:
    """Register port.

    Parameters
    ----------
    data_width : width of the AXI4-Lite port `csr`, 32 or 64 bits.
    """

    data_width: int = 64

    def __post_init__(self):
        _choice("csr.data_width", self.data_width, (32, 64))


@dataclass(frozen=True)
class Config:
    """Everything that shapes the generated hardware."""

    name: str = "default"
    data_width: int = 256
    table_width: int = 128
    remap: RemapConfig = field(default_factory=RemapConfig)
    pcie: PcieConfig = field(default_factory=PcieConfig)
    dma: DmaConfig = field(default_factory=DmaConfig)
    irq: IrqConfig = field(default_factory=IrqConfig)
    pio: PioConfig = field(default_factory=PioConfig)
    vf: VfConfig = field(default_factory=VfConfig)
    csr: CsrConfig = field(default_factory=CsrConfig)

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.name.isascii()):
            raise ConfigError("name", "an identifier", self.name)
        _choice("data_width", self.data_width, (64, 128, 256, 512))
        _choice("table_width", self.table_width, (64, 128, 256, 512))
        most = 16 * self.data_width
        if self.pcie.max_payload_bytes > most:
            raise ConfigError("pcie.max_payload_bytes", f"at most {most} with data_width = "
                              f"{self.data_width}, because an AXI4 burst has 256 beats",
                              self.pcie.max_payload_bytes)
        if self.vf.enable:
            self._check_sharing()

    def _check_sharing(self):
        for name in ("irq", "pio"):
            if not getattr(self, name).enable:
                raise ConfigError("vf.enable", f"false while {name}.enable is false", True)
        if self.pcie.max_payload_bytes < 256:
            raise ConfigError("pcie.max_payload_bytes", "at least 256 with vf.enable, because "
                              "whole entries are read around a piece", self.pcie.max_payload_bytes)

    def replace(self, **changes):
        """Return a copy with ``changes``; a dict changes the fields of a section."""
        made = {key: dataclasses.replace(getattr(self, key), **value)
                if isinstance(value, dict) else value for key, value in changes.items()}
        return dataclasses.replace(self, **made)

    def to_dict(self):
        """Return the configuration as nested dicts of plain values."""
        return dataclasses.asdict(self)

    @property
    def hash(self):
        """First 12 hex digits of a digest of every value but the name."""
        values = {key: value for key, value in self.to_dict().items() if key != "name"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


PRESETS = {
    "tiny": Config(
        name="tiny", data_width=64, table_width=64,
        remap=RemapConfig(physical_address_bits=40, second_stage=("Sv39x4",), ddt_levels=2,
                          iotlb_tags=16, iotlb_ways=4, superpages=2, contexts=8, context_ways=4,
                          pointers=8, misses=12, walks=4),
        pcie=PcieConfig(np_credits=8),
        dma=DmaConfig(writes=8, reads=8, read_pieces=8, write_ids=4),
        irq=IrqConfig(entries=128, queues=8, record_slots=8, wires=2, signals=8),
        pio=PioConfig(address_width=40, tags=32, reads=16, max_read_bytes=64, windows=2, guests=4,
                      errors=4),
        vf=VfConfig(enable=False, guests=4, pairs=4, functions=1, patches=4, headers=False)),
    "default": Config(),
    "large": Config(
        name="large", data_width=512, table_width=256,
        remap=RemapConfig(physical_address_bits=56, second_stage=SECOND_STAGE_MODES,
                          iotlb_tags=512, iotlb_ways=8, superpages=16, contexts=256, context_ways=4,
                          pointers=256, misses=32, walks=16),
        pcie=PcieConfig(np_credits=64),
        dma=DmaConfig(writes=32, reads=64, read_pieces=64, write_ids=16),
        irq=IrqConfig(entries=2048, queues=128),
        pio=PioConfig(data_width=128, address_width=56, id_width=8, core_id_bits=4, tags=768,
                      reads=1024, windows=8, guests=64, errors=64),
        vf=VfConfig(guests=256, pairs=1024, patches=16)),
}


def preset(name):
    """Return the preset ``name``."""
    if name not in PRESETS:
        raise ConfigError("preset", "one of " + ", ".join(PRESETS), name)
    return PRESETS[name]
