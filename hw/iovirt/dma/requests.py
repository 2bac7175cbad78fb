"""Translation requests, made from headers."""

from amaranth import *

from .order import order_class

__all__ = ["fill_request"]


def _first_byte(enables):
    return Mux(enables[0], 0, Mux(enables[1], 1, Mux(enables[2], 2, Mux(enables[3], 3, 0))))


def fill_request(request, header, id, *, write, classes, link_order, slot=None):
    """Return statements that fill ``request`` for the access of ``header`` but for ``bypass``, and
    the ordering class of the ticket ``id``. ``slot``: of the access, if the request tells it.
    """
    device = Cat(header.rid, header.segment)
    source = C(0, 24) if link_order else device
    return [
        *([] if slot is None else [
            request.length_dw.eq(header.length_dw),
            request.empty.eq((header.length_dw == 1) & (header.first_be == 0)),
            request.slot.eq(slot),
        ]),
        id.order.eq(order_class(source, classes=classes)),
        request.device_id.eq(device),
        request.source.eq(source),
        request.pv.eq(header.pv),
        request.pid.eq(header.pid),
        request.priv.eq(header.priv),
        request.exec.eq(header.exec if not write else 0),
        request.write.eq(write),
        request.at.eq(header.at),
        # The first byte that is accessed, so that a fault record names it.
        request.iova.eq(Cat(_first_byte(header.first_be), header.address[2:])),
        request.id.eq(id),
    ]
