"""Programmed I/O as cores see it."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import Axi4Signature
from iovirt.config import PioConfig
from iovirt.pcie.layouts import tlp_beat
from iovirt.stream import PassingQueue, StreamArbiter, StreamQueue

from .answer_order import token_width
from .bursts import BurstIntake
from .front_errors import FrontErrors
from .layouts import (
    PageAccess,
    PageAnswer,
    PioError,
    Policy,
    config_access,
    config_answer,
    finish,
    np_request,
)
from .read_data import fetch_port
from .read_layouts import read_owner, released, tag_depth
from .read_path import ReadPath
from .windows import aperture, ecam_window, memory_window
from .write_path import WritePath, write_slots

__all__ = ["PioFront"]


class PioFront(wiring.Component):
    """AXI4 port of the cores: reads and writes of devices, of device memory and of configuration
    space.

    ::

        AR -> BurstIntake -> ReadPath  -> request, config -> finish, answer -> ReadPath  -> R
        AW -> BurstIntake -> WritePath -> tx, config      ------------> answer -> WritePath -> B
         W ------------------^

    * An access of up to 8 bytes, naturally aligned, is one TLP (Server SoC MMS_030). Longer bursts
      are cut at the multiples of the largest read and payload; byte enables are exact, so nothing
      is read that was not asked for, and nothing written that has no strobe.
    * Reads of one ID are answered in order; others do not wait for them, nor for anything but a
      free slot. Beats of different IDs may be mixed, between pieces of a burst.
    * A write is answered when the last beat of its last TLP was taken by ``tx``, one to
      configuration space when its completion came (ECM_020). A request that a core issues after
      the answer can thus not pass it.
    * INCR bursts of any size and alignment within a page are served, all else gets SLVERR.
      Exclusive accesses are plain ones.
    * All cores share AR and AW, so what finds no place holds everybody, until a place is free.
      ``pio.reads`` should therefore cover what all cores together can have outstanding: each piece
      of a read needs a slot until its beats have gone, and each write behind a configuration write
      of its ID until that is done (of these, ``max(16, pio.reads) - 6`` stop nobody). With less, a
      core can hold the others for as long as its own accesses take, which is what their time-outs
      allow; no quota holds here. Reads that wait for their quota or for the configuration unit
      hold nobody who finds a slot.
    * With ``pages``, the doorbell aperture is served like configuration space, but by a way of its
      own: accesses to it and to configuration space wait for each other only within an ID.
    * Nothing here delays ends of requests: there is a place for each, however long a core leaves
      R waiting.

    From AR to ``request`` it takes 2 clocks, from ``finish`` or ``answer`` to R 3 clocks, and 4 if
    the order of an ID has delayed it; from AW and W to ``tx`` 7 clocks, and from there to B 5.
    To ``page`` it takes 2 clocks from AR and 9 from AW and W.
    1 read and 1 write of up to 8 bytes per clock; 8 bytes of writes per clock; 1 row or beat of
    reads per clock, and within one ID 1 piece per 2 clocks. After reset it takes a clock per slot
    or ID, whichever are more but at most 256 of IDs, until accesses are served.

    Parameters
    ----------
    data_width, max_payload_bytes : :class:`int`
        Of the TLP streams. ``owner_width`` follows from the parameters.
    pio : :class:`iovirt.config.PioConfig`
        Shape of the port.
    pages : :class:`bool`
        Somebody serves the doorbell aperture. Else it is reserved.

    Members
    -------
    bus : ``In(Axi4Signature(...))``
        Port of the cores. The high bits of an ID tell the core. RUSER[0] is poison.
    ecam, windows, doorbells : ``In(ecam_window(...))``, ``In(memory_window(...)).array(...)``, \
            ``In(aperture(...))``
        The map, from registers. If windows overlap, the ECAM window comes first and then the
        lowest number, then the doorbell aperture, which is served up to 256 MiB.
    no_window : ``In(Policy)``
        For accesses that hit none of them.
    max_payload, max_read : ``In(3)``
        ``128 << n`` bytes: Max_Payload_Size and Max_Read_Request_Size (PCIe Base, 7.5.3.4).
    requester_id : ``In(16)``
        Of writes.
    link_up : ``In(1)``
        Writes are dropped while it is low.
    tx : ``Out(stream.Signature(tlp_beat(data_width)))``
        Posted writes.
    request : ``Out(stream.Signature(np_request(...)))``, \
            ``finish`` : ``In(stream.Signature(finish(...)))``
        Reads of device memory, and their ends.
    fetch : ``Out(fetch_port(...))``, \
            ``release`` : ``Out(stream.Signature(released()))``
        Data of reads; every tag of a ``finish`` is released once.
    config : ``Out(stream.Signature(config_access(...)))``, \
            ``answer`` : ``In(stream.Signature(config_answer(...)))``
        Accesses to configuration space.
    page : ``Out(stream.Signature(PageAccess))``, \
            ``page_answer`` : ``In(stream.Signature(PageAnswer))``
        Accesses to the doorbell aperture, of up to 1 Dword or not ``legal``. Whoever answers them
        leaves the records of those that fail. Only with ``pages``.
    error : ``Out(stream.Signature(PioError))``, ``error_lost`` : ``Out(1)``
        What went nowhere and was dropped. Pulse: a record found no place.
    read_sent, write_sent : ``Out(1)``
        Pulses: a request was handed over, a write was sent.
    """

    def __init__(self, *, data_width, pio, max_payload_bytes, pages=False):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if not isinstance(pio, PioConfig):
            raise TypeError(f"Configuration must be a PioConfig, not {pio!r}")
        if max_payload_bytes not in (128, 256, 512, 1024, 2048, 4096):
            raise ValueError("Maximum payload must be a power of two in 128..4096, not "
                             f"{max_payload_bytes!r}")
        self.data_width        = data_width
        self.pio               = pio
        self.max_payload_bytes = max_payload_bytes
        self.pages             = pages
        owner = read_owner(data_width=data_width, max_read_bytes=pio.max_read_bytes,
                           slots=pio.reads)
        self.owner_width = owner_width = max(owner.size, token_width(write_slots(pio)))
        self._read  = ReadPath(data_width=data_width, pio=pio, owner_width=owner_width,
                                pages=pages)
        self._write = WritePath(data_width=data_width, pio=pio, owner_width=owner_width,
                                max_payload_bytes=max_payload_bytes, pages=pages)
        self._bus = Axi4Signature(data_width=pio.data_width, address_width=pio.address_width,
                                  id_width=pio.id_width, ruser_width=1)
        request = np_request(owner_width=owner_width, max_read_bytes=pio.max_read_bytes)
        served = {
            "page":        Out(stream.Signature(PageAccess)),
            "page_answer": In(stream.Signature(PageAnswer)),
        } if pages else {}
        super().__init__({
            "bus":          In(self._bus),
            "ecam":         In(ecam_window(address_width=pio.address_width)),
            "windows":      In(memory_window(address_width=pio.address_width)).array(pio.windows),
            "doorbells":    In(aperture(address_width=pio.address_width)),
            "no_window":    In(Policy),
            "max_payload":  In(3),
            "max_read":     In(3),
            "requester_id": In(16),
            "link_up":      In(1),
            "tx":           Out(stream.Signature(tlp_beat(data_width))),
            "request":      Out(stream.Signature(request)),
            "finish":       In(stream.Signature(finish(owner_width=owner_width))),
            "fetch":        Out(fetch_port(depth=tag_depth(pio.tags), data_width=data_width,
                                           max_read_bytes=pio.max_read_bytes)),
            "release":      Out(stream.Signature(released())),
            "config":       Out(stream.Signature(config_access(owner_width=owner_width))),
            "answer":       In(stream.Signature(config_answer(owner_width=owner_width))),
            **served,
            "error":        Out(stream.Signature(PioError)),
            "error_lost":   Out(1),
            "read_sent":    Out(1),
            "write_sent":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.read  = read  = self._read
        m.submodules.write = write = self._write
        for name, path in (("ar", read), ("aw", write)):
            self._elaborate_address(m, name, path)
        self._elaborate_channels(m, read, write)
        self._elaborate_config(m, read, write)
        if self.pages:
            self._elaborate_pages(m, read, write)
        m.submodules.errors = errors = FrontErrors(ports=2)
        wiring.connect(m, read.error, errors.i[0])
        wiring.connect(m, write.error, errors.i[1])
        wiring.connect(m, errors.o, wiring.flipped(self.error))

        for name in ("request", "release"):
            wiring.connect(m, getattr(read, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, wiring.flipped(self.finish), read.finish)
        wiring.connect(m, read.fetch, wiring.flipped(self.fetch))
        wiring.connect(m, write.tx, wiring.flipped(self.tx))
        m.d.comb += [
            read.max_read.eq(self.max_read),
            write.max_payload.eq(self.max_payload),
            write.requester_id.eq(self.requester_id),
            write.link_up.eq(self.link_up),
            write.config_policy.eq(self.ecam.policy),
            self.error_lost.eq(errors.lost),
            self.read_sent.eq(self.request.valid & self.request.ready),
            self.write_sent.eq(write.sent),
        ]
        return m

    def _map(self, component):
        """Return statements that show ``component`` the registers of the map."""
        return [
            component.ecam.eq(self.ecam),
            component.doorbells.eq(self.doorbells),
            *(its.eq(ours) for its, ours in zip(component.windows, self.windows, strict=True)),
        ]

    def _elaborate_address(self, m, name, path):
        pio = self.pio
        m.submodules[f"{name}_intake"] = intake = BurstIntake(
            data_width=pio.data_width, address_width=pio.address_width, id_width=pio.id_width,
            windows=pio.windows)
        wiring.connect(m, intake.o, path.i)
        channel = intake.i
        m.d.comb += [
            *self._map(intake), *self._map(path),
            path.no_window.eq(self.no_window),
            channel.valid.eq(getattr(self.bus, f"{name}valid")),
            getattr(self.bus, f"{name}ready").eq(channel.ready),
            *(channel.payload[field].eq(getattr(self.bus, name + field))
              for field in ("id", "addr", "len", "size", "burst")),
        ]

    def _elaborate_channels(self, m, read, write):
        bus, r, b, w = self.bus, read.o, write.o, write.beats
        m.d.comb += [
            bus.rvalid.eq(r.valid),
            bus.rid.eq(r.payload.id),
            bus.rdata.eq(r.payload.data),
            bus.rresp.eq(r.payload.resp),
            bus.rlast.eq(r.payload.last),
            bus.ruser.eq(r.payload.poison),
            r.ready.eq(bus.rready),
            bus.bvalid.eq(b.valid),
            bus.bid.eq(b.payload.id),
            bus.bresp.eq(b.payload.resp),
            b.ready.eq(bus.bready),
            w.valid.eq(bus.wvalid),
            w.payload.data.eq(bus.wdata),
            w.payload.strb.eq(bus.wstrb),
            w.payload.last.eq(bus.wlast),
            bus.wready.eq(w.ready),
        ]

    def _elaborate_config(self, m, read, write):
        # Accesses to registers wait here, so that reads of memory can pass: one for each slot.
        access = self.config.payload.shape()
        m.submodules.config_reads = reads = StreamQueue(access, depth=self.pio.reads)
        m.submodules.config = arbiter = StreamArbiter(access, ports=2)
        wiring.connect(m, read.config, reads.i)
        wiring.connect(m, reads.o, arbiter.i[0])
        wiring.connect(m, write.config, arbiter.i[1])
        wiring.connect(m, arbiter.o, wiring.flipped(self.config))
        self._share_answer(m, self.answer, read.answer, write.answer)

    def _elaborate_pages(self, m, read, write):
        # Writes have a queue of their own. Of reads only what counts is queued.
        kept = data.StructLayout({"address": 28, "be": 4, "legal": 1, "core": 8,
                                  "owner": token_width(self.pio.reads)})
        m.submodules.page_reads = reads = PassingQueue(kept, depth=self.pio.reads)
        m.submodules.page = arbiter = StreamArbiter(PageAccess, ports=2)
        wiring.connect(m, write.page, arbiter.i[1])
        m.d.comb += [
            reads.i.valid.eq(read.page.valid),
            read.page.ready.eq(reads.i.ready),
            arbiter.i[0].valid.eq(reads.o.valid),
            reads.o.ready.eq(arbiter.i[0].ready),
        ]
        for name in kept.members:
            m.d.comb += [
                reads.i.payload[name].eq(read.page.payload[name]),
                arbiter.i[0].payload[name].eq(reads.o.payload[name]),
            ]
        wiring.connect(m, arbiter.o, wiring.flipped(self.page))
        m.d.comb += write.page_policy.eq(self.doorbells.policy)
        self._share_answer(m, self.page_answer, read.page_answer, write.page_answer)

    def _share_answer(self, m, answer, read, write):
        m.d.comb += [
            read.valid.eq(answer.valid & ~answer.payload.write),
            write.valid.eq(answer.valid & answer.payload.write),
            read.payload.eq(answer.payload),
            write.payload.eq(answer.payload),
            answer.ready.eq(Mux(answer.payload.write, write.ready, read.ready)),
        ]
