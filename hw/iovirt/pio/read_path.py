"""The path of reads, from bursts to beats."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .answer_order import CLASS_WIDTH, AnswerOrder
from .layouts import Policy
from .read_beats import read_beat
from .read_data import fetch_port
from .read_deliver import ReadDelivery
from .read_ends import ReadEnds
from .read_layouts import released, tag_depth
from .read_split import ReadSplitter
from .windows import aperture, ecam_window, memory_window

__all__ = ["ReadPath"]


class ReadPath(wiring.Component):
    """Reads of cores.

    ::

        i -> ReadSplitter -> request, config
                 |  refused
        finish, answer -> ReadEnds -> AnswerOrder -> ReadDelivery -> o
                                                       | fetch, release

    Latencies and rates are those of :class:`PioFront`.

    Parameters
    ----------
    data_width, owner_width : :class:`int`
        Of the TLP streams; of requests.
    pio : :class:`iovirt.config.PioConfig`
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    i : ``In(stream.Signature(burst(...)))``
    o : ``Out(stream.Signature(read_beat(...)))``
        R channel.
    error : ``Out(stream.Signature(PioError, always_ready=True))``

    and those of :class:`PioFront`.
    """

    def __init__(self, *, data_width, pio, owner_width, pages=False):
        self.pages = pages
        address = {"address_width": pio.address_width}
        buffer  = {"data_width": data_width, "max_read_bytes": pio.max_read_bytes}
        ends = {**buffer, "slots": pio.reads, "owner_width": owner_width, "pages": pages}
        self._splitter = ReadSplitter(
            id_width=pio.id_width, core_id_bits=pio.core_id_bits, windows=pio.windows, **address,
            **ends)
        self._ends  = ReadEnds(**ends)
        self._order = AnswerOrder(class_width=min(pio.id_width, CLASS_WIDTH), slots=pio.reads)
        self._data  = ReadDelivery(bus_width=pio.data_width, id_width=pio.id_width, slots=pio.reads,
                                   tags=pio.tags, **buffer)
        splitter, ends = self._splitter.signature.members, self._ends.signature.members
        super().__init__({
            **{name: splitter[name] for name in ("i", "request", "config", "error")},
            **{name: ends[name] for name in ("finish", "answer")},
            **({"page": splitter["page"], "page_answer": ends["page_answer"]} if pages else {}),
            "ecam":      In(ecam_window(**address)),
            "windows":   In(memory_window(**address)).array(pio.windows),
            "doorbells": In(aperture(**address)),
            "no_window": In(Policy),
            "max_read":  In(3),
            "fetch":     Out(fetch_port(depth=tag_depth(pio.tags), **buffer)),
            "release":   Out(stream.Signature(released())),
            "o":         Out(stream.Signature(read_beat(data_width=pio.data_width,
                                                        id_width=pio.id_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.splitter = splitter = self._splitter
        m.submodules.ends     = ends     = self._ends
        m.submodules.order    = order    = self._order
        m.submodules.data     = data     = self._data
        for name in ("request", "config", "error", *["page"] * self.pages):
            wiring.connect(m, getattr(splitter, name), wiring.flipped(getattr(self, name)))
        for name in ("finish", "answer", *["page_answer"] * self.pages):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(ends, name))
        for name in ("fetch", "release", "o"):
            wiring.connect(m, getattr(data, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, wiring.flipped(self.i), splitter.i)
        wiring.connect(m, splitter.refused, ends.refused)
        wiring.connect(m, splitter.take, order.take)
        wiring.connect(m, order.free, splitter.free)
        wiring.connect(m, ends.token, order.finish)
        wiring.connect(m, data.put, order.put)
        wiring.connect(m, splitter.record, data.record)
        wiring.connect(m, ends.result, data.result)
        wiring.connect(m, ends.early, data.early)
        m.d.comb += [
            data.go.valid.eq(order.o.valid),
            data.go.payload.eq(order.o.payload),
            order.look.eq(splitter.look),
            splitter.head.eq(order.head),
            splitter.max_read.eq(self.max_read),
            splitter.no_window.eq(self.no_window),
            splitter.ecam.eq(self.ecam),
            splitter.doorbells.eq(self.doorbells),
            *(its.eq(ours) for its, ours in zip(splitter.windows, self.windows, strict=True)),
        ]
        return m
