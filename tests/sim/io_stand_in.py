"""A small design with a port for cores and with interrupts, to test the bench alone."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from tests.sim.stand_ins import FullStandIn

from iovirt.axi.signatures import Axi4Signature
from iovirt.pcie.layouts import TxTlpSignature

#: Bits 37:36 of an address of a core: 2 is memory, at PCIe address 0 and up; 3 is the ECAM window.
MEMORY, ECAM = 0x20_0000_0000, 0x30_0000_0000
#: The event queue: where its ring and its registers are, and where it notifies.
RING, LOG2, PAGE, NOTICE = 0x40_0000, 2, 0x200, 0x30_0000
DATA_LOST, SIGNAL_LOST, WRITE_LOST = 5, 6, 7


class IoStandIn(wiring.Component):
    """The stand-in of the full block beside one access of a core, and one interrupt, at a time.

    What comes behind writes of devices waits until they are answered. A 4-byte write of a device to
    0xFEE0_xxxx becomes a record. Writing register 0 breaks it: 3 waits for no write, 5 flips a bit
    of what a core reads, 6 loses interrupts, 7 loses writes of cores.
    """

    def __init__(self):
        self.full = FullStandIn()
        super().__init__({**self.full.signature.members,
                          "pio": In(Axi4Signature(data_width=64, address_width=40, id_width=4)),
                          "link_up": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.full = full = self.full
        connect(m, full.dma, flipped(self.dma))
        rx, tx, own = self.rx, self.tx, TxTlpSignature(64).create()
        self.fault, busy = Signal(3), Signal(8)
        m.d.sync += busy.eq(busy + (full.dma.awvalid & full.dma.awready)
                            - (full.dma.bvalid & full.dma.bready))
        idle = Signal()
        m.d.comb += idle.eq((busy == 0) | (self.fault == 3))
        inside = Signal()   # a TLP of the full stand-in is under way on rx
        completion, signal = Signal(), Signal()
        m.d.comb += [
            completion.eq(rx.valid & rx.first & ~inside & (rx.hdr[120:125] == 0b01010)),
            signal.eq(rx.valid & rx.first & ~inside & rx.hdr[126]
                      & (rx.hdr[120:125] == 0) & (rx.hdr[48:64] == 0xFEE0)),
        ]
        other = rx.valid & ~completion & ~signal
        for name in ("data", "strb", "hdr", "prefix", "prefix_valid", "segment", "first", "last",
                     "nullify"):
            m.d.comb += getattr(full.rx, name).eq(getattr(rx, name))
        m.d.comb += full.rx.valid.eq(other)
        with m.If(other & full.rx.ready):
            m.d.sync += inside.eq(~rx.last)
        answer_ready, signal_ready = Signal(), Signal()
        m.d.comb += rx.ready.eq(Mux(completion, answer_ready, Mux(signal, signal_ready,
                                                                  full.rx.ready)))
        # TLPs of cores are of one beat, and go between those of the full stand-in.
        open_ = Signal()
        for name in ("data", "strb", "hdr", "first", "last"):
            m.d.comb += getattr(tx, name).eq(Mux(own.valid & ~open_, getattr(own, name),
                                                 getattr(full.tx, name)))
        m.d.comb += [tx.valid.eq(Mux(own.valid & ~open_, 1, full.tx.valid)),
                     own.ready.eq(tx.ready & ~open_),
                     full.tx.ready.eq(tx.ready & (open_ | ~own.valid))]
        with m.If(full.tx.valid & full.tx.ready):
            m.d.sync += open_.eq(~full.tx.last)
        self.cores(m, own, completion & idle, answer_ready)
        self.interrupts(m, signal & idle, signal_ready)
        return m

    def cores(self, m, tx, completion, taken):
        """One access after the other, of 4 bytes, or 8 that are aligned."""
        pio, rx = self.pio, self.rx
        address, write, number = Signal(40), Signal(), Signal(4)
        wide, data, strobes, tag = Signal(), Signal(64), Signal(8), Signal(5)
        config, high = Signal(), Signal()
        m.d.comb += [config.eq(address[36:38] == 3), high.eq(address[2] & ~wide)]
        enables = Mux(write, Mux(high, strobes[4:], strobes[:4]), 15)
        upper   = Mux(wide, Mux(write, strobes[4:], 15), 0)
        target  = Mux(config, Cat(address[:12], C(0, 4), address[12:28]), address[:32])
        m.d.comb += [
            tx.first.eq(1), tx.last.eq(1), tx.strb.eq(Mux(write, Mux(wide, 3, 1), 0)),
            tx.data.eq(Mux(high, data[32:], data)),
            tx.hdr[34:64].eq(target[2:]),
            tx.hdr[64:68].eq(enables), tx.hdr[68:72].eq(upper), tx.hdr[72:77].eq(tag),
            tx.hdr[96:106].eq(Mux(wide, 2, 1)), tx.hdr[122].eq(config), tx.hdr[126].eq(write),
        ]
        m.d.comb += [pio.rid.eq(number), pio.bid.eq(number), pio.rlast.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(pio.arvalid):
                    m.d.comb += pio.arready.eq(1)
                    m.d.sync += [address.eq(pio.araddr), write.eq(0), number.eq(pio.arid),
                                 wide.eq(pio.arsize == 3)]
                    m.next = "SEND"
                with m.Elif(pio.awvalid & pio.wvalid):
                    m.d.comb += [pio.awready.eq(1), pio.wready.eq(1)]
                    m.d.sync += [address.eq(pio.awaddr), write.eq(1), number.eq(pio.awid),
                                 wide.eq(pio.awsize == 3), data.eq(pio.wdata),
                                 strobes.eq(pio.wstrb)]
                    m.next = "SEND"
            with m.State("SEND"):
                lost = write & ~config & (self.fault == WRITE_LOST)
                m.d.comb += tx.valid.eq(~lost)
                with m.If(tx.ready | lost):
                    with m.If(write & ~config):
                        m.next = "B"
                    with m.Else():
                        m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(completion):
                    m.d.comb += taken.eq(1)
                    bad = ~rx.hdr[126] | (rx.hdr[77:80] != 0)
                    flip = self.fault == DATA_LOST
                    m.d.sync += [data.eq(Mux(bad, -1, rx.data ^ flip)), tag.eq(tag + 1)]
                    with m.If(write):
                        m.next = "B"
                    with m.Else():
                        m.next = "R"
            with m.State("R"):
                m.d.comb += [pio.rvalid.eq(1),
                             pio.rdata.eq(Mux(wide, data, data[:32].replicate(2)))]
                with m.If(pio.rready):
                    m.next = "IDLE"
            with m.State("B"):
                m.d.comb += pio.bvalid.eq(1)
                with m.If(pio.bready):
                    m.next = "IDLE"

    def interrupts(self, m, signal, taken):
        """A record in one burst, then the tail, then the notification if it is armed."""
        csr, inner, table, rx = self.csr, self.full.csr, self.table, self.rx
        for name in ("awaddr", "awprot", "awvalid", "wdata", "wstrb", "wvalid", "bready"):
            m.d.comb += getattr(inner, name).eq(getattr(csr, name))
        for name in ("awready", "wready", "bresp", "bvalid"):
            m.d.comb += getattr(csr, name).eq(getattr(inner, name))
        tail, arm, beat = Signal(32), Signal(32), Signal(2)
        m.d.comb += [csr.arready.eq(~csr.rvalid), csr.rdata.eq(tail.replicate(2))]
        m.d.sync += csr.rvalid.eq((csr.rvalid & ~csr.rready) | (csr.arvalid & csr.arready))
        armed, notify = Signal(), Signal()
        with m.If(csr.awvalid & csr.awready):
            with m.If(csr.awaddr == 0):
                m.d.sync += self.fault.eq(csr.wdata)
            with m.If(csr.awaddr == PAGE + 8):
                m.d.sync += [arm.eq(csr.wdata), armed.eq(1)]
        index, rid, data = Signal(16), Signal(16), Signal(32)
        record = Array([index << 48 | 1 << 32, rid, tail << 32 | data, ~tail[LOG2] << 63])
        m.d.comb += [
            table.awaddr.eq(Mux(notify, NOTICE, RING + (tail[:LOG2] << 5))), table.awburst.eq(1),
            table.awlen.eq(Mux(notify, 0, 3)), table.awsize.eq(Mux(notify, 2, 3)),
            table.wdata.eq(Mux(notify, 0, record[beat])), table.wstrb.eq(Mux(notify, 0xf, 0xff)),
            table.wlast.eq(notify | (beat == 3)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += notify.eq(0)
                with m.If(armed & ((tail - arm) != 0)):
                    m.d.sync += [armed.eq(0), notify.eq(1)]
                    m.next = "ADDRESS"
                with m.Elif(signal):
                    m.d.comb += taken.eq(1)
                    m.d.sync += [index.eq(rx.hdr[35:48]), rid.eq(rx.hdr[80:96]), data.eq(rx.data)]
                    with m.If(self.fault != SIGNAL_LOST):
                        m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += table.awvalid.eq(1)
                with m.If(table.awready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += table.wvalid.eq(1)
                with m.If(table.wready):
                    m.d.sync += beat.eq(beat + ~notify)
                    with m.If(table.wlast):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += table.bready.eq(1)
                with m.If(table.bvalid):
                    m.d.sync += tail.eq(tail + ~notify)
                    m.next = "IDLE"
