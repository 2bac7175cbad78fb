"""AXI4 and AXI4-Lite bus signatures, with the signal names of the AMBA specification IHI 0022."""

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Axi4Signature", "AxiLiteSignature", "Resp"]


class Resp(enum.Enum, shape=2):
    """RRESP and BRESP."""

    OKAY   = 0  # success
    EXOKAY = 1  # exclusive access succeeded
    SLVERR = 2  # the target failed: data corruption for us
    DECERR = 3  # nothing there: an access fault for us


class Axi4Signature(wiring.Signature):
    """AXI4, seen from the manager. Ports export as ``<name>__awaddr`` and so on.

    Parameters
    ----------
    data_width : :class:`int`
        8 to 1024 bits, a power of two.
    address_width, id_width : :class:`int`
        In bits.
    ruser_width : :class:`int`
        Width of RUSER; the signal is there only if it is not 0.
    """

    def __init__(self, *, data_width, address_width, id_width, ruser_width=0):
        self.data_width    = data_width
        self.address_width = address_width
        self.id_width      = id_width
        self.ruser_width   = ruser_width

        def address(prefix):
            return {
                f"{prefix}id":    Out(id_width),
                f"{prefix}addr":  Out(address_width),
                f"{prefix}len":   Out(8),   # beats - 1
                f"{prefix}size":  Out(3),   # log2 of bytes per beat
                f"{prefix}burst": Out(2),   # 1 is INCR; our managers use no other
                f"{prefix}lock":  Out(1),   # exclusive access
                f"{prefix}cache": Out(4),
                f"{prefix}prot":  Out(3),
                f"{prefix}qos":   Out(4),
                f"{prefix}valid": Out(1),
                f"{prefix}ready": In(1),
            }

        super().__init__({
            **address("aw"),
            "wdata":  Out(data_width),
            "wstrb":  Out(data_width // 8),
            "wlast":  Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid":    In(id_width),
            "bresp":  In(Resp),
            "bvalid": In(1),
            "bready": Out(1),
            **address("ar"),
            "rid":    In(id_width),
            "rdata":  In(data_width),
            "rresp":  In(Resp),
            "rlast":  In(1),
            "rvalid": In(1),
            "rready": Out(1),
            **({"ruser": In(ruser_width)} if ruser_width else {}),
        })


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite, seen from the manager. ``data_width`` is 32 or 64."""

    def __init__(self, *, data_width, address_width):
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "awaddr":  Out(address_width),
            "awprot":  Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata":   Out(data_width),
            "wstrb":   Out(data_width // 8),
            "wvalid":  Out(1),
            "wready":  In(1),
            "bresp":   In(Resp),
            "bvalid":  In(1),
            "bready":  Out(1),
            "araddr":  Out(address_width),
            "arprot":  Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata":   In(data_width),
            "rresp":   In(Resp),
            "rvalid":  In(1),
            "rready":  Out(1),
        })
