"""Small designs with the ports of the real ones, to test the bench alone."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.axi.signatures import Axi4Signature, AxiLiteSignature
from iovirt.pcie.layouts import RxTlpSignature, TxTlpSignature
from iovirt.remap.layouts import remap_request, remap_result

ID_WIDTH, ADDRESS_WIDTH = 4, 46

#: The stand-in of the full block maps an IOVA to the SPA with this added.
OFFSET = 0x2_0000_0000


def registers(m, csr, table):
    """Sixteen 64-bit registers; writing register 15 reads the table port at this address, and
    register 14 then holds the first 8 bytes, register 13 the response.
    """
    m.submodules.file = file = Memory(shape=64, depth=16, init=[])
    read, write = file.read_port(), file.write_port()
    reading = Signal()
    m.d.comb += [
        csr.awready.eq(csr.awvalid & csr.wvalid & ~csr.bvalid),
        csr.wready.eq(csr.awready),
        write.addr.eq(csr.awaddr[3:7]),
        write.data.eq(csr.wdata),
        write.en.eq(csr.awready),
        read.addr.eq(csr.araddr[3:7]),
        csr.arready.eq(~reading & ~csr.rvalid),
        csr.rdata.eq(read.data),
        table.arburst.eq(1),
        table.arsize.eq(3),
        table.arlen.eq(0),
        table.rready.eq(1),
    ]
    with m.If(csr.awready):
        m.d.sync += csr.bvalid.eq(1)
        with m.If(csr.awaddr[3:7] == 15):
            m.d.sync += [table.araddr.eq(csr.wdata), table.arvalid.eq(1)]
    with m.Elif(csr.bready):
        m.d.sync += csr.bvalid.eq(0)
    with m.If(table.arready & table.arvalid):
        m.d.sync += table.arvalid.eq(0)
    with m.If(table.rvalid):
        m.d.comb += [write.addr.eq(14), write.en.eq(1), write.data.eq(table.rdata)]
    m.d.sync += csr.rvalid.eq((csr.rvalid & ~csr.rready) | reading)
    m.d.sync += reading.eq(csr.arvalid & csr.arready)


class RemapStandIn(wiring.Component):
    """Answers each request 3 clocks later: SPA = IOVA + 4096; device 0xBAD is denied."""

    def __init__(self):
        super().__init__({
            "request": In(stream.Signature(remap_request(ID_WIDTH))),
            "result":  Out(stream.Signature(remap_result(ID_WIDTH, ADDRESS_WIDTH))),
            "retire":  In(wiring.Signature({"valid": Out(1), "epoch": Out(1)})).array(1),
            "table":   Out(Axi4Signature(data_width=64, address_width=ADDRESS_WIDTH, id_width=2)),
            "csr":     In(AxiLiteSignature(data_width=64, address_width=12)),
            "wsi":     Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        registers(m, self.csr, self.table)
        enable = Signal()
        m.d.comb += [enable.eq(~self.result.valid | self.result.ready),
                     self.request.ready.eq(enable)]
        stage, valid = Signal(self.request.payload.shape()), Signal()
        second, second_valid = Signal.like(stage), Signal()
        answer = self.result.payload
        with m.If(enable):
            m.d.sync += [
                stage.eq(self.request.payload), valid.eq(self.request.valid),
                second.eq(stage), second_valid.eq(valid),
                self.result.valid.eq(second_valid),
                answer.id.eq(second.id),
                answer.ok.eq(second.access.device_id != 0xBAD),
                answer.cause.eq(258),
                answer.ppn.eq(second.access.iova[12:] + 1),
            ]
        with m.If(self.retire[0].valid):
            m.d.sync += self.wsi.eq(self.wsi + 1)
        return m


class FullStandIn(wiring.Component):
    """One TLP after the other, of whole 8-byte words and up to MPS bytes; SPA = IOVA + OFFSET.

    Writing register 0 breaks it: 1 writes 8 bytes too far, 2 flips a bit of what is read, 3 does
    not wait for the response of a write, 4 makes the byte count wrong.
    """

    def __init__(self):
        super().__init__({
            "rx":    In(RxTlpSignature(64)),
            "tx":    Out(TxTlpSignature(64)),
            **{f"tx_fc_{kind}": In(12) for kind in ("ph", "pd", "nph", "npd", "cplh", "cpld")},
            "dma":   Out(Axi4Signature(data_width=64, address_width=ADDRESS_WIDTH, id_width=2)),
            "table": Out(Axi4Signature(data_width=64, address_width=ADDRESS_WIDTH, id_width=2)),
            "csr":   In(AxiLiteSignature(data_width=64, address_width=12)),
            "wsi":   Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        registers(m, self.csr, self.table)
        rx, tx, dma = self.rx, self.tx, self.dma
        dw = [rx.hdr[96 - 32 * n:128 - 32 * n] for n in range(4)]
        header = Signal(128)
        length, rid, tag = Signal(10), Signal(16), Signal(8)
        start = Signal(64)
        at = Signal(10)
        fault = Signal(3)
        with m.If(self.csr.awready & (self.csr.awaddr == 0)):
            m.d.sync += fault.eq(self.csr.wdata)
        wrong = Mux(fault == 1, 8, 0)
        iova = Mux(dw[0][29], Cat(dw[3], dw[2]), dw[2])
        m.d.comb += [dma.awburst.eq(1), dma.awsize.eq(3), dma.arburst.eq(1), dma.arsize.eq(3),
                     dma.awaddr.eq(start + OFFSET + wrong), dma.araddr.eq(start + OFFSET),
                     dma.awlen.eq((length >> 1) - 1), dma.arlen.eq((length >> 1) - 1),
                     dma.wdata.eq(rx.data), dma.wstrb.eq(0xff), dma.wlast.eq(rx.last)]
        count = Signal(12)
        m.d.comb += count.eq(length * 4 + Mux(fault == 4, 4, 0))
        with m.FSM():
            with m.State("TLP"):
                with m.If(rx.valid & rx.first):
                    m.d.sync += [header.eq(rx.hdr), length.eq(dw[0][:10]), rid.eq(dw[1][16:]),
                                 tag.eq(dw[1][8:16]), start.eq(iova)]
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                with m.If(header[126]):
                    m.d.comb += dma.awvalid.eq(1)
                    with m.If(dma.awready):
                        m.next = "DATA"
                with m.Else():
                    m.d.comb += dma.arvalid.eq(1)
                    with m.If(dma.arready):
                        m.d.comb += rx.ready.eq(1)
                        m.d.sync += at.eq(0)
                        m.next = "READ"
            with m.State("DATA"):
                m.d.comb += [dma.wvalid.eq(rx.valid), rx.ready.eq(dma.wready)]
                with m.If(rx.valid & rx.ready & rx.last & (fault == 3)):
                    m.next = "TLP"
                with m.Elif(rx.valid & rx.ready & rx.last):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += dma.bready.eq(1)
                with m.If(dma.bvalid):
                    m.next = "TLP"
            with m.State("READ"):
                m.d.comb += [
                    tx.valid.eq(dma.rvalid), dma.rready.eq(tx.ready), tx.strb.eq(3),
                    tx.data.eq(dma.rdata ^ (fault == 2)),
                    tx.first.eq(at == 0), tx.last.eq(dma.rlast),
                    tx.hdr.eq(Cat(C(0, 32), start[:7], C(0, 1), tag, rid, count, C(0, 20), length,
                                  C(0, 14), C(0x4A, 8))),
                ]
                with m.If(tx.valid & tx.ready):
                    m.d.sync += at.eq(1)
                    with m.If(tx.last):
                        m.next = "TLP"
        with m.If(fault == 3):
            m.d.comb += dma.bready.eq(1)
        return m
