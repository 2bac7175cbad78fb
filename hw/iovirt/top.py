"""The whole block."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .axi import Axi4Signature, AxiLiteSignature, TablePort
from .config import Config, ConfigError
from .csr import RegisterBank, register_map
from .dma import DmaEngine
from .irq.engine import InterruptEngine
from .pcie.completer import Completer
from .pcie.error_log import ErrorLog
from .pcie.layouts import ErrorCause, RxTlpSignature, TxTlpSignature
from .pcie.lost import PulseRecord
from .pcie.receiver import Receiver
from .pcie.transmitter import KINDS, Transmitter
from .pcie.unclaimed import Unclaimed
from .pio.engine import PioEngine
from .remap.engine import VECTORS, RemapEngine
from .top_interrupts import connect_interrupts
from .top_pio import connect_pio
from .top_registers import connect_control, connect_counters, connect_errors
from .top_sharing import connect_sharing
from .top_translation import connect_translation
from .vf.engine import SharingEngine
from .vf.share_layouts import Weaken

__all__ = ["IOVirt", "connect_table", "csr_address_width"]


def csr_address_width(config):
    """Return the width of register addresses: 16 pages, 512 with the pages of interrupts, and 1024
    with those of sharing.
    """
    return 22 if config.vf.enable else 21 if config.irq.enable else 16


def connect_table(m, engine, table, *, first_writer=0):
    """Connect the clients of ``engine`` to the table port."""
    for n in range(len(getattr(engine, "read_request", ()))):
        connect(m, engine.read_request[n], table.read_request[n])
        connect(m, table.read_beats[n], engine.read_beats[n])
    for n in range(len(engine.write_request)):
        connect(m, engine.write_request[n], table.write_request[first_writer + n])
        connect(m, table.write_response[first_writer + n], engine.write_response[n])


class IOVirt(wiring.Component):
    """I/O-virtualization layer between a PCIe root-port core and memory.

    ::

        rx --> Receiver --write, read--> DmaEngine <--> dma
                  |                       |  ^  |'--> Transmitter --> tx
                  |                       v  |  |          ^
                  |                     RemapEngine        |
                  |                       |     |          |
                  '--unsupported----------|-----|--> Completer
                                          |     |
                                          |     '--signal--> InterruptEngine --> irq_wires
                                          v                        |
        csr <-> RegisterBank           TablePort <-----------------'
                                          '--> table
        pio <-> PioEngine --posted, non_posted--> Transmitter
                  | '--completion-- Receiver          ^
                  '--pages--> SharingEngine --posted--'
                                '--> between DmaEngine and RemapEngine, and on data of reads

    See docs/architecture.md for what each part guarantees, docs/interfaces.md for the ports and
    what the integrator has to provide. All ports belong to the clock domain ``sync``.

    Parameters
    ----------
    config : :class:`Config`
        What to build.
    weak : :class:`bool`
        There is a port ``weaken`` that switches defences of sharing off, for tests of them alone.

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
    link_up : ``In(1)``
        The link is up.
    dma : ``Out(Axi4Signature(...))``
        Data of devices.
    table : ``Out(Axi4Signature(...))``
        Tables, queues, interrupts.
    csr : ``In(AxiLiteSignature(...))``
        Registers.
    wsi : ``Out(4)``
        Interrupt wires of the IOMMU, level, active high.
    irq_wires : ``Out(irq.wires)``
        Wires of event queues, level, active high. Only with the interrupt block.
    pio : ``In(Axi4Signature(...))``
        Accesses of cores to devices. Only with programmed I/O, like all that follow.
    port_interrupt : ``Out(1)``
        INTA of the port itself, level, active high.
    secondary_reset, link_disable : ``Out(1)``
        What software asks of the link.
    link_speed : ``In(4)``, link_width : ``In(6)``
        As in the Link Status register. These five only with the built-in header.
    cfg_mgmt : ``Out(CfgMgmtSignature())``
        To the PCIe core that has the header. Only then.
    """

    def __init__(self, config, *, weak=False):
        if not isinstance(config, Config):
            raise TypeError(f"Configuration must be a Config, not {config!r}")
        if weak and not config.vf.enable:
            raise ConfigError("vf.enable", "true to weaken its defences", False)
        self.config = config
        self.weak   = weak
        irq, vf, width = config.irq, config.vf, config.data_width
        address_width, csr_width = config.remap.physical_address_bits, csr_address_width(config)
        self._dma = DmaEngine(data_width=width, address_width=address_width, pcie=config.pcie,
                              dma=config.dma, signals=irq.signals if irq.enable else 0,
                              patches=vf.patches if vf.enable else 0)
        self._map = register_map(config)
        self._engine = RemapEngine(
            id_width=self._dma.id_width, remap=config.remap, table_width=config.table_width,
            capacity=self._dma.capacity, register_map=self._map,
            retires=len(self._dma.retire))
        tags = [0, 0]
        if irq.enable:
            self._interrupts = InterruptEngine(
                irq, address_width=address_width, table_width=config.table_width,
                register_data_width=config.csr.data_width, register_address_width=csr_width,
                notices=3 if vf.enable else 2)
            tags += 3 * [self._interrupts.write_tag_width]
        self._table = TablePort(
            readers=2, writers=len(tags), data_width=config.table_width,
            address_width=address_width, read_tag_width=self._engine.read_tag_width,
            write_tag_width=tags, cache=config.dma.cache, prot=config.dma.prot, qos=config.dma.qos)
        kinds = ["completion", "completion"]
        if config.pio.enable:
            self._pio = PioEngine(data_width=width, pio=config.pio, pcie=config.pcie,
                                  pages=vf.enable)
            kinds += ["posted", "non_posted"]
        if vf.enable:
            self._sharing = SharingEngine(
                vf=vf, data_width=width, id_width=self._dma.id_width, reads=config.dma.reads,
                writes=config.dma.writes, register_data_width=config.csr.data_width,
                register_address_width=csr_width, link_order=config.dma.order_scope == "link",
                weak=weak)
            kinds.append("posted")
        self._transmitter = Transmitter(data_width=width, ports=len(kinds), kinds=kinds,
                                        max_payload_bytes=config.pcie.max_payload_bytes)
        self._credits = [name for pair in KINDS.values() for name in pair]
        super().__init__({
            "rx":         In(RxTlpSignature(width)),
            "tx":         Out(TxTlpSignature(width)),
            **{name: self._transmitter.signature.members[name] for name in self._credits},
            "np_release": Out(2),
            "link_up":    In(1),
            "dma":        Out(Axi4Signature(data_width=width, address_width=address_width,
                                            id_width=self._dma.bus_id_width)),
            "table":      Out(Axi4Signature(data_width=config.table_width,
                                            address_width=address_width,
                                            id_width=self._table.id_width)),
            "csr":        In(AxiLiteSignature(data_width=config.csr.data_width,
                                              address_width=csr_width)),
            "wsi":        Out(VECTORS),
            **({"irq_wires": Out(irq.wires)} if irq.enable else {}),
            **(self._pio_members() if config.pio.enable else {}),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def _pio_members(self):
        members = self._pio.signature.members
        if self._pio.builtin:
            return {"pio": members["bus"], "port_interrupt": Out(1), "secondary_reset": Out(1),
                    "link_disable": Out(1), "link_speed": In(4), "link_width": In(6)}
        return {"pio": members["bus"], "cfg_mgmt": members["cfg_mgmt"]}

    def elaborate(self, platform):
        m = Module()
        width, irq = self.config.data_width, self.config.irq.enable
        m.submodules.receiver    = receiver    = Receiver(data_width=width, pcie=self.config.pcie,
                                                          signals=irq)
        m.submodules.dma         = dma         = self._dma
        m.submodules.remap       = remap       = self._engine
        m.submodules.table       = table       = self._table
        m.submodules.completer   = completer   = Completer(data_width=width, ports=2)
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.unclaimed   = unclaimed   = Unclaimed(data_width=width)
        m.submodules.lost_faults = lost_faults = PulseRecord(cause=ErrorCause.FAULT_LOST)
        m.submodules.registers   = bank        = RegisterBank(
            self._map, data_width=self.config.csr.data_width,
            address_width=csr_address_width(self.config), windows=self._map.windows)
        errors = [receiver.error, dma.error, unclaimed.error, lost_faults.error]
        lost   = [receiver.lost]
        ready  = []

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
        connect(m, receiver.message, unclaimed.message)
        m.d.comb += [
            *(getattr(transmitter, name).eq(getattr(self, name)) for name in self._credits),
            transmitter.link_up.eq(self.link_up),
            self.np_release.eq(receiver.np_release),
            self.wsi.eq(remap.wsi),
            lost_faults.event.eq(remap.events.faults_lost),
        ]
        connect_translation(m, dma, remap, self._sharing if self.config.vf.enable else None)
        if irq:
            m.submodules.interrupts = interrupts = self._interrupts
            ready.append(connect_interrupts(m, self, interrupts, receiver=receiver, dma=dma,
                                            remap=remap, bank=bank))
            connect_table(m, interrupts, table, first_writer=2)
            errors.append(interrupts.error)
            lost.append(interrupts.lost)

        if not self.config.pio.enable:
            connect(m, receiver.completion, unclaimed.completion)
        else:
            m.submodules.pio = pio = self._pio
            connect(m, pio.posted, transmitter.i[2])
            connect(m, pio.non_posted, transmitter.i[3])
            errors.append(pio.error)
            lost.append(pio.lost)
            ready.append(pio.ready)

        if self.config.vf.enable:
            m.submodules.sharing = sharing = self._sharing
            connect_sharing(m, sharing, dma=dma, pio=self._pio, interrupts=self._interrupts,
                            bank=bank)
            connect(m, sharing.posted, transmitter.i[4])
            errors.append(sharing.error)
            lost.append(sharing.lost)
            ready.append(sharing.ready)
            if self.weak:
                m.d.comb += sharing.weaken.eq(self.weaken)

        m.submodules.error_log = error_log = ErrorLog(ports=len(errors))
        for source, port in zip(errors, error_log.record, strict=True):
            connect(m, source, port)
        connect_control(m, bank, receiver=receiver, dma=dma, remap=remap, completer=completer,
                        ready=ready, port=self._pio.port if self.config.pio.enable else None)
        if self.config.pio.enable:
            connect_pio(m, self, pio, receiver=receiver, dma=dma, bank=bank, log=error_log,
                        interrupts=self._interrupts if irq else None)
        connect_errors(m, bank, error_log)
        connect_counters(m, bank, receiver=receiver, remap=remap, table=table)
        m.d.comb += bank.errors_lost.count.increment.eq(Cat(lost).any())
        return m
