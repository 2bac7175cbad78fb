"""Header of a TLP, as views of the 128 bits that travel beside the payload (PCIe Base, 2.2).

The bit order is that of the specification: bit 127 is Fmt[2], Dword ``n`` is at bits
``127 - 32 * n`` and down, and a 3-DW header is left-justified. Fields are listed from bit 0 up.
Non-flit mode throughout.
"""

from amaranth import *
from amaranth.lib import data, enum

from .layouts import CompletionStatus

__all__ = ["CREDIT_BYTES", "CompletionHeader", "Dw0", "Fmt", "MessageCode", "MessageHeader",
           "PasidPrefix", "RequestHeader", "Type"]


class Fmt(enum.Enum, shape=3):
    """Size of the header, and whether a payload follows. 5 to 7 are undefined."""

    DW3      = 0
    DW4      = 1
    DW3_DATA = 2
    DW4_DATA = 3
    PREFIX   = 4


class Type(enum.Enum, shape=5):
    """What the TLP is, with Fmt. Messages are 0x10 to 0x17, with their routing in bits 2:0."""

    MEMORY     = 0x00
    LOCKED     = 0x01  # MRdLk
    IO         = 0x02
    CONFIG_0   = 0x04
    CONFIG_1   = 0x05
    COMPLETION = 0x0A
    CPL_LOCKED = 0x0B
    FETCH_ADD  = 0x0C
    SWAP       = 0x0D
    CAS        = 0x0E
    MESSAGE    = 0x10
    DMWR       = 0x1B  # deferrable memory write


class MessageCode(enum.Enum, shape=8):
    """Messages whose traffic class must be 0 (PCIe Base, 2.2.8)."""

    UNLOCK       = 0x00
    PM_NAK       = 0x14
    PM_PME       = 0x18
    PME_TURN_OFF = 0x19
    PME_TO_ACK   = 0x1B
    ASSERT_INTA  = 0x20  # 0x20 to 0x27 are INTx
    ERR_COR      = 0x30
    ERR_NONFATAL = 0x31
    ERR_FATAL    = 0x33
    SLOT_POWER   = 0x50


#: Bytes of a flow-control unit of payload.
CREDIT_BYTES = 16


class Dw0(data.Struct):
    """First Dword of each header."""

    length: 10  # in Dwords, 0 means 1024
    at:     2
    attr_l: 2   # bit 0 NS, bit 1 RO
    ep:     1   # poisoned
    td:     1   # ECRC follows; the core has stripped it
    th:     1   # TPH: the tag (MWr) or the byte enables (others) are a steering tag
    ln:     1   # obsolete
    attr_h: 1   # IDO
    tag_8:  1
    tc:     3
    tag_9:  1
    type:   5   # Type
    fmt:    3   # Fmt

    def attr(self):
        """Attributes: bit 0 NS, bit 1 RO, bit 2 IDO."""
        return Cat(self.attr_l, self.attr_h)

    def has_data(self):
        """Whether a payload follows."""
        return self.fmt[1]

    def data_credits(self):
        """Flow-control units of the payload, of 16 bytes: 0 to 256."""
        dwords = Cat(self.length, self.length == 0)
        return Mux(self.has_data(), (dwords + 3)[2:], 0)

    def is_wide(self):
        """Whether the header has 4 Dwords."""
        return self.fmt[0]

    def is_message(self):
        """Whether the type is a message, of any routing."""
        return self.type[3:] == Type.MESSAGE.value >> 3

    def is_type(self, *types):
        """Whether the type is one of ``types``."""
        return Cat(self.type == kind for kind in types).any()


class RequestHeader(data.Struct):
    """Memory, I/O and configuration requests, AtomicOps and deferrable writes."""

    dw3:      32  # 4-DW header: low half of the address
    dw2:      32  # 3-DW header: address; 4-DW header: its high half
    first_be: 4
    last_be:  4
    tag:      8   # Tag[7:0]
    rid:      16  # requester ID
    dw0:      Dw0

    def address(self):
        """Byte address of the first Dword: 64 bits, bits 1:0 clear."""
        wide = self.dw0.is_wide()
        low  = Mux(wide, self.dw3, self.dw2)
        return Cat(C(0, 2), low[2:], Mux(wide, self.dw2, 0))

    def full_tag(self):
        """Tag[9:0]."""
        return Cat(self.tag, self.dw0.tag_8, self.dw0.tag_9)


class CompletionHeader(data.Struct):
    """Completions."""

    unused:     32
    lower_addr: 7
    reserved:   1
    tag:        8
    rid:        16  # requester ID
    byte_count: 12  # bytes left, this completion included; 0 means 4096
    bcm:        1   # set by PCI-X bridges only
    status:     CompletionStatus
    cid:        16  # completer ID
    dw0:        Dw0


class MessageHeader(data.Struct):
    """Messages; Dwords 2 and 3 are particular to each."""

    dw3:  32
    dw2:  32
    code: 8   # MessageCode and others
    tag:  8
    rid:  16
    dw0:  Dw0

    def is_tc0_only(self):
        """Whether the message must have traffic class 0."""
        single = [code for code in MessageCode if code is not MessageCode.ASSERT_INTA]
        intx   = self.code[3:] == MessageCode.ASSERT_INTA.value >> 3
        return intx | Cat(self.code == code for code in single).any()


class PasidPrefix(data.Struct):
    """End-end prefix with a PASID (PCIe Base, 6.20)."""

    FIRST_BYTE = 0x91

    pid:   20
    exec:  1   # execute requested
    priv:  1   # privileged mode requested
    _:     2
    first: 8   # FIRST_BYTE: Fmt and Type

    def is_pasid(self):
        """Whether this is a PASID prefix at all."""
        return self.first == self.FIRST_BYTE
