"""The whole block."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .axi import Axi4Signature, AxiLiteSignature, TablePort
from .config import Config
from .csr import RegisterBank, register_map
from .dma import DmaEngine
from .pcie.completer import Completer
from .pcie.error_log import ErrorLog
from .pcie.layouts import ErrorCause, RxTlpSignature, TxTlpSignature
from .pcie.lost import PulseRecord
from .pcie.receiver import Receiver
from .pcie.transmitter import KINDS, Transmitter
from .pcie.unclaimed import Unclaimed
from .remap.engine import EVENTS, VECTORS, RemapEngine
from .stream import StreamQueue

__all__ = ["CSR_ADDRESS_WIDTH", "IOVirt", "connect_table"]

#: 16 pages of registers.
CSR_ADDRESS_WIDTH = 16


def connect_table(m, engine, table):
    """Connect the clients of the remap engine to the table port."""
    for n in range(2):
        connect(m, engine.read_request[n], table.read_request[n])
        connect(m, table.read_beats[n], engine.read_beats[n])
        connect(m, engine.write_request[n], table.write_request[n])
        connect(m, table.write_response[n], engine.write_response[n])


class IOVirt(wiring.Component):
    """I/O-virtualization layer between a PCIe root-port core and memory.

    ::

        rx --> Receiver --write, read--> DmaEngine <--> dma
                  |                       |  ^  '--> Transmitter --> tx
                  |                       v  |            ^
                  |                     RemapEngine       |
                  |                       |               |
                  '--unsupported----------|--> Completer -'
        csr <-> RegisterBank <------------'--> TablePort <--> table

    See docs/architecture.md for what each part guarantees, docs/interfaces.md for the ports and
    what the integrator has to provide. All ports belong to the clock domain ``sync``.

    Parameters
    ----------
    config : :class:`Config`
        What to build.

    Members
    -------
    rx : ``In(RxTlpSignature(data_width))``
        TLPs from devices, in link order.
    tx : ``Out(TxTlpSignature(data_width))``
        TLPs to devices.
    tx_fc_ph, tx_fc_pd, tx_fc_nph, tx_fc_npd, tx_fc_cplh, tx_fc_cpld : ``In``
        Credits available to ``tx``.
    np_release : ``Out(2)``
        Non-posted credits that the core may give back.
    dma : ``Out(Axi4Signature(...))``
        Data of devices.
    table : ``Out(Axi4Signature(...))``
        Tables and queues.
    csr : ``In(AxiLiteSignature(...))``
        Registers.
    wsi : ``Out(4)``
        Interrupt wires, level, active high.
    """

    def __init__(self, config):
        if not isinstance(config, Config):
            raise TypeError(f"Configuration must be a Config, not {config!r}")
        self.config = config
        address_width = config.remap.physical_address_bits
        self._dma = DmaEngine(data_width=config.data_width, address_width=address_width,
                              pcie=config.pcie, dma=config.dma)
        shape = self._dma.shape
        self._map = register_map(config)
        self._engine = RemapEngine(
            id_width=self._dma.id_width, remap=config.remap, table_width=config.table_width,
            capacity=shape.writes + shape.reads + shape.classes * shape.outstanding,
            register_map=self._map)
        self._table = TablePort(
            readers=2, writers=2, data_width=config.table_width, address_width=address_width,
            read_tag_width=self._engine.read_tag_width, write_tag_width=0,
            cache=config.dma.cache, prot=config.dma.prot, qos=config.dma.qos)
        self._transmitter = Transmitter(data_width=config.data_width, ports=2,
                                        max_payload_bytes=config.pcie.max_payload_bytes)
        self._credits = [name for pair in KINDS.values() for name in pair]
        super().__init__({
            "rx":         In(RxTlpSignature(config.data_width)),
            "tx":         Out(TxTlpSignature(config.data_width)),
            **{name: self._transmitter.signature.members[name] for name in self._credits},
            "np_release": Out(2),
            "dma":        Out(Axi4Signature(data_width=config.data_width,
                                            address_width=address_width,
                                            id_width=self._dma.bus_id_width)),
            "table":      Out(Axi4Signature(data_width=config.table_width,
                                            address_width=address_width,
                                            id_width=self._table.id_width)),
            "csr":        In(AxiLiteSignature(data_width=config.csr.data_width,
                                              address_width=CSR_ADDRESS_WIDTH)),
            "wsi":        Out(VECTORS),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.data_width
        m.submodules.receiver    = receiver    = Receiver(data_width=width, pcie=self.config.pcie)
        m.submodules.dma         = dma         = self._dma
        m.submodules.remap       = remap       = self._engine
        m.submodules.table       = table       = self._table
        m.submodules.completer   = completer   = Completer(data_width=width, ports=2)
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.unclaimed   = unclaimed   = Unclaimed(data_width=width)
        m.submodules.lost_faults = lost_faults = PulseRecord(cause=ErrorCause.FAULT_LOST)
        m.submodules.error_log   = error_log   = ErrorLog(ports=4)
        m.submodules.registers   = bank        = RegisterBank(
            self._map, data_width=self.config.csr.data_width, address_width=CSR_ADDRESS_WIDTH)

        connect(m, flipped(self.rx), receiver.rx)
        connect(m, receiver.write, dma.write)
        connect(m, receiver.read, dma.read)
        connect(m, receiver.unsupported, completer.request[0])
        connect(m, dma.deny, completer.request[1])
        connect(m, dma.completion, transmitter.i[0])
        connect(m, completer.o, transmitter.i[1])
        connect(m, transmitter.tx, flipped(self.tx))
        connect(m, dma.bus, flipped(self.dma))
        connect_table(m, remap, table)
        connect(m, table.bus, flipped(self.table))
        connect(m, flipped(self.csr), bank.bus)
        m.d.comb += [
            *(getattr(transmitter, name).eq(getattr(self, name)) for name in self._credits),
            self.np_release.eq(receiver.np_release),
            self.wsi.eq(remap.wsi),
        ]
        self._translation(m, dma, remap)

        connect(m, receiver.completion, unclaimed.completion)
        connect(m, receiver.message, unclaimed.message)
        for n, source in enumerate((receiver, dma, unclaimed, lost_faults)):
            connect(m, source.error, error_log.record[n])
        m.d.comb += lost_faults.event.eq(remap.events.faults_lost)

        self._control(m, bank, receiver, dma, remap, completer)
        self._errors(m, bank, error_log)
        self._counters(m, bank, receiver, remap, table)
        return m

    def _translation(self, m, dma, remap):
        # Until a virtual function is attributed, a device is its requester ID. The queue keeps the
        # choice among requests of the data path and that among sources of the lookup apart.
        m.submodules.requests = requests = StreamQueue(dma.request.payload.shape(), depth=2)
        connect(m, dma.request, requests.i)
        request, access = requests.o, remap.request.p.access
        m.d.comb += [
            remap.request.valid.eq(request.valid),
            request.ready.eq(remap.request.ready),
            *(access[name].eq(request.p[name])
              for name in ("device_id", "pv", "pid", "priv", "exec", "write", "at", "iova")),
            remap.request.p.source.eq(request.p.source),
            remap.request.p.id.eq(request.p.id),
            dma.result.valid.eq(remap.result.valid),
            remap.result.ready.eq(dma.result.ready),
            *(dma.result.p[name].eq(remap.result.p[name])
              for name in ("ok", "ca", "ppn", "id", "epoch")),
        ]
        for n in range(2):
            connect(m, dma.retire[n], remap.retire[n])

    def _control(self, m, bank, receiver, dma, remap, completer):
        for name in remap.registers.signature.members:
            connect(m, getattr(bank, name), getattr(remap.registers, name))
        port = bank.root_port
        m.d.comb += [
            remap.prefetch_enable.eq(bank.features.prefetch.value),
            bank.status.ready.read.eq(remap.ready & dma.ready),
            receiver.max_payload.eq(bank.device_control.mps.value),
            receiver.secondary.eq(port.secondary.value),
            receiver.subordinate.eq(port.subordinate.value),
            receiver.bus_range_enable.eq(port.check.value),
            dma.max_payload.eq(bank.device_control.mps.value),
            dma.completer_id.eq(port.completer_id.value),
            completer.rid.eq(port.completer_id.value),
        ]

    def _errors(self, m, bank, log):
        m.d.comb += [
            bank.error_status.valid.read.eq(log.first.cause != ErrorCause.NONE),
            log.clear.eq(bank.error_status.valid.data),
            bank.error_status.more.read.eq(log.more),
            bank.error_record.cause.read.eq(log.first.cause),
            bank.error_record.segment.read.eq(log.first.segment),
            bank.error_record.rid.read.eq(log.first.rid),
            bank.error_address.address.read.eq(log.first.address),
        ]
        for cause in ErrorCause:
            if cause is not ErrorCause.NONE:
                counter = getattr(bank, f"error_{cause.name.lower()}").count
                m.d.comb += counter.increment.eq(log.count_valid & (log.count == cause))

    def _counters(self, m, bank, receiver, remap, table):
        for name in EVENTS:
            m.d.comb += getattr(bank, name).count.increment.eq(getattr(remap.events, name))
        started = receiver.write.valid & receiver.write.ready & receiver.write.p.first
        m.d.comb += [
            bank.table_reads.count.increment.eq(table.bus.arvalid & table.bus.arready),
            bank.errors_lost.count.increment.eq(receiver.lost),
            bank.reads.count.increment.eq(receiver.read.valid & receiver.read.ready),
            bank.writes.count.increment.eq(started),
        ]
