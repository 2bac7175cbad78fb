"""The remap engine alone, with its registers and its table port."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .axi import Axi4Signature, AxiLiteSignature, TablePort
from .config import Config
from .csr import RegisterBank, register_map
from .remap.engine import EVENTS, VECTORS, RemapEngine
from .remap.layouts import remap_request, remap_result
from .top import connect_table

__all__ = ["RemapTop"]

#: 16 pages of registers.
CSR_ADDRESS_WIDTH = 16


class RemapTop(wiring.Component):
    """What IOVirt has of the remap engine, with the request stream as a port.

    For translation benchmarks, for test vectors that no TLP can express, and for whoever has a
    data path of his own. Registers of other blocks read 0.

    Parameters
    ----------
    config : :class:`Config`
        What to build.
    id_width : :class:`int`
        Width of the id of a request.
    capacity : :class:`int`
        Greatest number of requests accepted and not retired.

    Members
    -------
    request : ``In(stream.Signature(remap_request(id_width)))``
        Accesses to translate.
    result : ``Out(stream.Signature(remap_result(id_width, address_width)))``
        Answers.
    retire : ``In(...).array(2)``
        Each accepted request is retired once.
    table : ``Out(Axi4Signature(...))``
        Tables and queues.
    csr : ``In(AxiLiteSignature(...))``
        Registers.
    wsi : ``Out(4)``
        Interrupt wires.
    """

    def __init__(self, config, *, id_width=16, capacity=4096):
        if not isinstance(config, Config):
            raise TypeError(f"Configuration must be a Config, not {config!r}")
        self.config   = config
        self.id_width = id_width
        self.capacity = capacity
        address_width = config.remap.physical_address_bits
        self._map = register_map(config.replace(vf={"enable": False}, irq={"enable": False},
                                                pio={"enable": False}))
        self._engine = RemapEngine(id_width=id_width, remap=config.remap, capacity=capacity,
                                   table_width=config.table_width, register_map=self._map)
        self._table = TablePort(
            readers=2, writers=2, data_width=config.table_width, address_width=address_width,
            read_tag_width=self._engine.read_tag_width, write_tag_width=0,
            cache=config.dma.cache, prot=config.dma.prot, qos=config.dma.qos)
        super().__init__({
            "request": In(stream.Signature(remap_request(id_width))),
            "result":  Out(stream.Signature(remap_result(id_width, address_width))),
            "retire":  In(wiring.Signature({"valid": Out(1), "epoch": Out(1)})).array(2),
            "table":   Out(Axi4Signature(data_width=config.table_width,
                                         address_width=address_width,
                                         id_width=self._table.id_width)),
            "csr":     In(AxiLiteSignature(data_width=config.csr.data_width,
                                           address_width=CSR_ADDRESS_WIDTH)),
            "wsi":     Out(VECTORS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.remap     = remap = self._engine
        m.submodules.table     = table = self._table
        m.submodules.registers = bank  = RegisterBank(
            self._map, data_width=self.config.csr.data_width, address_width=CSR_ADDRESS_WIDTH)
        connect(m, flipped(self.request), remap.request)
        connect(m, remap.result, flipped(self.result))
        connect(m, flipped(self.csr), bank.bus)
        connect(m, table.bus, flipped(self.table))
        connect_table(m, remap, table)
        for n in range(2):
            connect(m, flipped(self.retire[n]), remap.retire[n])
        for name in remap.registers.signature.members:
            connect(m, getattr(bank, name), getattr(remap.registers, name))
        for name in EVENTS:
            m.d.comb += getattr(bank, name).count.increment.eq(getattr(remap.events, name))
        m.d.comb += [
            remap.prefetch_enable.eq(bank.features.prefetch.value),
            bank.status.ready.read.eq(remap.ready),
            bank.table_reads.count.increment.eq(table.bus.arvalid & table.bus.arready),
            self.wsi.eq(remap.wsi),
        ]
        return m
