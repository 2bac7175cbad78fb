"""How the data path and the remap engine are connected in the whole block."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import connect

from .dma.layouts import TicketKind
from .stream import StreamQueue

__all__ = ["connect_translation"]

ACCESS = ("device_id", "pv", "pid", "priv", "exec", "write", "at", "iova")


def connect_translation(m, dma, remap, sharing=None):
    """Have requests of the data path translated, under the identity that ``sharing`` gives them.

    Without it, a device is its requester ID.
    """
    # The queue keeps the choice among requests of the data path and that among sources of the
    # lookup apart.
    m.submodules.requests = requests = StreamQueue(dma.request.payload.shape(), depth=2)
    connect(m, dma.request, requests.i)
    source = requests.o
    id     = source.p.id
    if sharing is not None:
        _attribute(m, requests.o, sharing)
        source = sharing.attributed
        id     = _marked(m, dma, source.p)
    request = remap.request
    m.d.comb += [
        request.valid.eq(source.valid),
        source.ready.eq(request.ready),
        *(request.p.access[name].eq(source.p[name]) for name in ACCESS),
        request.p.source.eq(source.p.source),
        request.p.bypass.eq(source.p.bypass),
        request.p.id.eq(id),
        dma.result.valid.eq(remap.result.valid),
        remap.result.ready.eq(dma.result.ready),
        *(dma.result.p[name].eq(remap.result.p[name])
          for name in ("ok", "ca", "ppn", "id", "epoch")),
    ]
    for n in range(len(dma.retire)):
        connect(m, dma.retire[n], remap.retire[n])


def _attribute(m, source, sharing):
    access = sharing.access
    m.d.comb += [
        access.valid.eq(source.valid),
        source.ready.eq(access.ready),
        *(access.p[name].eq(source.p[name])
          for name in (*ACCESS, "source", "bypass", "length_dw", "empty", "slot", "id")),
    ]


def _marked(m, dma, attributed):
    """Return the ticket with what the data path has to know; a contained write writes nothing."""
    given = data.View(dma.ticket, attributed.id)
    # Whole values are made and joined, because parts of a vector that is driven must not be read.
    drops  = attributed.contain & (given.kind == TicketKind.WRITE)
    fields = {name: given[name] for name, _ in dma.ticket}
    fields["shared"]  = attributed.shared
    fields["contain"] = attributed.contain
    fields["kind"]    = Mux(drops, TicketKind.NOTHING.value, Value.cast(given.kind))
    marked = Signal(dma.ticket, name="marked")
    m.d.comb += Value.cast(marked).eq(Cat(Value.cast(value) for value in fields.values()))
    return marked
