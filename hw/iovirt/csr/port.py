"""Port between the bus and whoever serves a page of registers."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterPortSignature", "register_request", "register_response"]


def register_request(*, data_width, address_width):
    """One access, of a whole lane of the bus."""
    return data.StructLayout({
        "address": address_width,   # of the first byte of the lane
        "write":   1,
        "data":    data_width,
        "strobe":  data_width // 8,  # bytes to write; 0 for a read
    })


def register_response(*, data_width):
    """Answer to one access."""
    return data.StructLayout({
        "data":  data_width,  # 0 for a write
        "error": 1,           # answer SLVERR
    })


class RegisterPortSignature(wiring.Signature):
    """Accesses to registers, seen from the bus. One is under way at a time.

    Parameters
    ----------
    data_width : :class:`int`
        32 or 64, that of the bus.
    address_width : :class:`int`
        Of byte addresses.

    Members
    -------
    request : ``Out(stream.Signature(register_request(...)))``
        Accesses. The next is offered only after the response of the one before was taken.
    response : ``In(stream.Signature(register_response(...)))``
        One response for each access.
    """

    def __init__(self, *, data_width, address_width):
        if data_width not in (32, 64):
            raise ValueError(f"Data width must be 32 or 64, not {data_width!r}")
        if not isinstance(address_width, int) or not 12 <= address_width <= 64:
            raise ValueError("Address width must be an integer in 12..64, not "
                             f"{address_width!r}")
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "request": Out(stream.Signature(register_request(
                data_width=data_width, address_width=address_width))),
            "response": In(stream.Signature(register_response(data_width=data_width))),
        })
