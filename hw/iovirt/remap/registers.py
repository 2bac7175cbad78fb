"""What the registers of the architecture mean to the parts of the remap engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..csr.file import register_members
from ..stream import StreamArbiter
from .rings import ring_mask

__all__ = ["ModeDrain", "RemapRegistersSignature", "RingIndex", "connect_registers"]


class RemapRegistersSignature(wiring.Signature):
    """Registers of page 0, seen from the bank: ``<register>.<field>`` as in ``RegisterBank``.

    Parameters
    ----------
    register_map : :class:`RegisterMap`
        The map of the bank.
    """

    def __init__(self, register_map):
        super().__init__(register_members(register_map.of_page(0)))


class RingIndex(wiring.Component):
    """Index of a ring that software owns: cqt and fqh.

    Bits at and above the size of the ring cannot be written, and are cleared when the ring becomes
    smaller (RISC-V IOMMU 1.0, cqb and cqt). A write shows after 1 clock.

    Parameters
    ----------
    width : :class:`int`
        Of the index, 1 to 32 bits.

    Members
    -------
    data, mask : ``In(width)``
        Bits written as 1, and all bits written, in this clock.
    log2sz_1 : ``In(5)``
        LOG2SZ-1 of the ring.
    value : ``Out(width)``
        The index.
    """

    def __init__(self, *, width):
        if not isinstance(width, int) or not 1 <= width <= 32:
            raise ValueError(f"Width must be an integer in 1..32, not {width!r}")
        self.width = width
        super().__init__({
            "data":     In(width),
            "mask":     In(width),
            "log2sz_1": In(5),
            "value":    Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        written = (self.value & ~self.mask) | (self.data & self.mask)
        m.d.sync += self.value.eq(written & ring_mask(self.log2sz_1)[:self.width])
        return m


class ModeDrain(wiring.Component):
    """Hold ddtp.busy after a change of the mode until what the old mode permitted is done.

    So when software has set Off and seen busy fall, no DMA that was translated before is under way
    (RISC-V IOMMU 1.0, ddtp). ``busy`` rises 1 clock after the mode changed.

    Members
    -------
    mode : ``In(4)``
        ddtp.iommu_mode.
    busy : ``Out(1)``
        ddtp.busy.
    drain : ``Out(stream.Signature(0))``
        Transfers when all DMA accepted before it was offered is done.
    """

    mode:  In(4)
    busy:  Out(1)
    drain: Out(stream.Signature(0))

    def elaborate(self, platform):
        m = Module()
        known, again = Signal.like(self.mode), Signal()
        changed = Signal()
        m.d.comb += [
            changed.eq(self.mode != known),
            self.busy.eq(self.drain.valid | again),
        ]

        # A change during a drain asks for another one, whose epoch starts after the change.
        m.d.sync += known.eq(self.mode)
        with m.If(changed & self.drain.valid):
            m.d.sync += again.eq(1)
        with m.If(~self.drain.valid):
            m.d.sync += [self.drain.valid.eq(changed | again), again.eq(0)]
        with m.Elif(self.drain.ready):
            m.d.sync += self.drain.valid.eq(0)
        return m


def connect_registers(m, registers, *, commands, faults, debug, interrupts, epochs):
    """Connect page 0 of the register bank to the parts of the engine.

    Adds the submodules ``cqt``, ``fqh``, ``mode_drain`` and ``drains``. Connects ``drain`` of
    ``commands``, and ``drain`` of ``epochs`` by way of an arbiter. The user takes ddtp from
    ``registers.ddtp.iommu_mode.value`` and ``registers.ddtp.ppn.value``.

    Parameters
    ----------
    m : :class:`Module`
        Module of the engine.
    registers
        Interface of :class:`RemapRegistersSignature`, or the bank itself.
    commands, faults, debug, interrupts, epochs
        :class:`CommandQueue`, :class:`FaultQueue`, :class:`DebugUnit`, :class:`Interrupts` of at
        least 4 vectors, and :class:`Epochs`.
    """
    _connect_commands(m, registers, commands)
    _connect_faults(m, registers, faults)
    _connect_debug(m, registers, debug)
    _connect_interrupts(m, registers, commands, faults, interrupts)

    m.submodules.mode_drain = mode_drain = ModeDrain()
    m.submodules.drains     = drains     = StreamArbiter(0, ports=2)
    m.d.comb += [
        mode_drain.mode.eq(registers.ddtp.iommu_mode.value),
        registers.ddtp.busy.read.eq(mode_drain.busy),
    ]
    wiring.connect(m, commands.drain, drains.i[0])
    wiring.connect(m, mode_drain.drain, drains.i[1])
    wiring.connect(m, drains.o, epochs.drain)


def _connect_index(m, field, index, log2sz_1):
    m.d.comb += [
        index.data.eq(field.data),
        index.mask.eq(field.mask),
        index.log2sz_1.eq(log2sz_1),
        field.read.eq(index.value),
    ]


def _connect_commands(m, registers, commands):
    csr = registers.cqcsr
    m.submodules.cqt = cqt = RingIndex(width=len(registers.cqt.index.read))
    _connect_index(m, registers.cqt.index, cqt, registers.cqb.log2sz.value)
    m.d.comb += [
        commands.cqb_log2sz_1.eq(registers.cqb.log2sz.value),
        commands.cqb_ppn.eq(registers.cqb.ppn.value),
        commands.cqt.eq(cqt.value),
        registers.cqh.index.read.eq(commands.cqh),
        commands.wsi.eq(1),  # fctl.WSI is hardwired
        commands.cqen.eq(csr.cqen.value),
        csr.cqon.read.eq(commands.cqon),
        csr.busy.read.eq(commands.busy),
        commands.cqmf.eq(csr.cqmf.value),
        commands.cmd_to.eq(csr.cmd_to.value),
        commands.cmd_ill.eq(csr.cmd_ill.value),
        csr.cqmf.set.eq(commands.set_cqmf),
        csr.cmd_ill.set.eq(commands.set_cmd_ill),
        csr.fence_w_ip.set.eq(commands.set_fence_w_ip),
        *(field.clear.eq(commands.clear_errors)
          for field in (csr.cqmf, csr.cmd_to, csr.cmd_ill, csr.fence_w_ip)),
    ]


def _connect_faults(m, registers, faults):
    csr = registers.fqcsr
    m.submodules.fqh = fqh = RingIndex(width=len(registers.fqh.index.read))
    _connect_index(m, registers.fqh.index, fqh, registers.fqb.log2sz.value)
    m.d.comb += [
        faults.fqb_log2sz_1.eq(registers.fqb.log2sz.value),
        faults.fqb_ppn.eq(registers.fqb.ppn.value),
        faults.fqh.eq(fqh.value),
        registers.fqt.index.read.eq(faults.fqt),
        faults.fqen.eq(csr.fqen.value),
        csr.fqon.read.eq(faults.fqon),
        csr.busy.read.eq(faults.busy),
        faults.fqmf.eq(csr.fqmf.value),
        faults.fqof.eq(csr.fqof.value),
        csr.fqmf.set.eq(faults.set_fqmf),
        csr.fqof.set.eq(faults.set_fqof),
        csr.fqmf.clear.eq(faults.clear_errors),
        csr.fqof.clear.eq(faults.clear_errors),
    ]


def _connect_debug(m, registers, debug):
    control, response = registers.tr_req_ctl, registers.tr_response
    # The other fields hold what was written one clock after the write.
    m.d.sync += debug.go.eq(control.go_busy.data)
    m.d.comb += [
        debug.vpn.eq(registers.tr_req_iova.vpn.value),
        debug.priv.eq(control.priv.value),
        debug.exe.eq(control.exe.value),
        debug.nw.eq(control.nw.value),
        debug.pid.eq(control.pid.value),
        debug.pv.eq(control.pv.value),
        debug.device_id.eq(control.did.value),
        control.go_busy.read.eq(debug.busy | debug.go),
        response.fault.read.eq(debug.fault),
        response.ppn.read.eq(debug.ppn),
    ]


def _connect_interrupts(m, registers, commands, faults, interrupts):
    cqcsr, fqcsr, ipsr = registers.cqcsr, registers.fqcsr, registers.ipsr
    m.d.comb += [
        interrupts.cie.eq(cqcsr.cie.value),
        interrupts.cqmf.eq(cqcsr.cqmf.value),
        interrupts.cmd_to.eq(cqcsr.cmd_to.value),
        interrupts.cmd_ill.eq(cqcsr.cmd_ill.value),
        interrupts.fence_w_ip.eq(cqcsr.fence_w_ip.value),
        interrupts.fie.eq(fqcsr.fie.value),
        interrupts.fqmf.eq(fqcsr.fqmf.value),
        interrupts.fqof.eq(fqcsr.fqof.value),
        interrupts.new_record.eq(faults.new_record),
        interrupts.civ.eq(registers.icvec.civ.value),
        interrupts.fiv.eq(registers.icvec.fiv.value),
        interrupts.clear.eq(Cat(ipsr.cip.data, ipsr.fip.data)),
        ipsr.cip.read.eq(interrupts.ipsr[0]),
        ipsr.fip.read.eq(interrupts.ipsr[1]),
    ]
