"""Payloads of the streams of the DMA data path, and what its tables hold."""

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import bits_for, exact_log2

from iovirt.pcie.layouts import PostedSignal

__all__ = [
    "NUMBER_MARGIN",
    "TicketKind",
    "finish_signature",
    "gate_request",
    "number_width",
    "piece_place",
    "piece_record",
    "piece_status",
    "read_answer",
    "read_entry",
    "retire_signature",
    "signal_answer",
    "signal_entry",
    "slot_write",
    "ticket",
    "translation_request",
    "translation_result",
    "write_answer",
    "write_end",
    "write_entry",
    "write_job",
    "write_open",
]

#: Clocks within which what waits in a gate is looked at again, beyond two for each of its slots.
NUMBER_MARGIN = 64


def translation_request(id_width, *, shared=False):
    """To the remap engine: an access that wants a permission and a physical address.

    ``shared``: it tells more, so that accesses of shared functions can be attributed.
    """
    return data.StructLayout({
        "device_id": 24,        # {segment 8, RID 16}
        "pv":        1,
        "pid":       20,
        "priv":      1,
        "exec":      1,
        "write":     1,
        "at":        2,
        "iova":      64,
        "source":    24,        # ordering source; results of one source come in order
        "bypass":    1,         # wants its place in that order, and no translation: ok
        **({"length_dw": 11,
            "empty":     1,     # no byte is enabled
            "slot":      8} if shared else {}),
        "id":        id_width,  # a `ticket`, returned with the result
    })


def translation_result(id_width, address_width):
    """From the remap engine."""
    return data.StructLayout({
        "ok":    1,
        "ca":    1,                   # if not ok: CA rather than UR
        "ppn":   address_width - 12,  # if ok
        "id":    id_width,
        "epoch": 1,                   # given back on `retire`
    })


def retire_signature():
    """Pulse ``valid``: one transaction of ``epoch`` is done with memory."""
    return wiring.Signature({"valid": Out(1), "epoch": Out(1)})


def finish_signature():
    """Pulse ``valid``: one posted request of ``turn`` is done, observable or dropped."""
    return wiring.Signature({"valid": Out(1), "turn": Out(1)})


class TicketKind(enum.Enum, shape=2):
    """What wants a translation. Bit 1: it does not count as a write."""

    WRITE   = 0
    NOTHING = 1  # a write of no byte
    READ    = 2
    SIGNAL  = 3


def ticket(*, slots, classes, shared=False):
    """What the `id` of a translation means here. The bits for shared functions are set by whoever
    attributes the request.
    """
    return data.StructLayout({
        "slot":  range(slots),         # of the write, the read or the signal
        "order": exact_log2(classes),  # ordering class, the AXI ID of writes
        "kind":  TicketKind,
        **({"shared":  1,               # its failure must not reach the device
            "contain": 1} if shared else {}),  # denied already, in that manner
    })


def number_width(*, writes, outstanding, waiting):
    """Width of sequence numbers of writes, wide enough that before and after stay distinct.

    ``waiting`` is the number of slots of the larger gate.
    """
    return bits_for(max(writes + outstanding, 2 * waiting + NUMBER_MARGIN)) + 1


def slot_write(shape, slots):
    """Write port of a memory with one entry per slot, seen from the writer."""
    return wiring.Signature({"en": Out(1), "slot": Out(range(slots)), "data": Out(shape)})


def write_entry():
    """What is kept of a posted write from its arrival on."""
    return data.StructLayout({
        "rid":       16,
        "segment":   8,
        "address":   64,
        "length_dw": 11,
        "first_be":  4,
        "last_be":   4,
        "relaxed":   1,   # RO: may pass earlier writes
        "turn":      1,
    })


def write_answer(*, classes, number_width, address_width):
    """What is kept of a write from its translation on."""
    return data.StructLayout({
        "go":     1,                    # permitted, and there is something to write
        "peer":   1,                    # not permitted because of the aperture
        "ppn":    address_width - 12,
        "epoch":  1,
        "order":  exact_log2(classes),
        "number": number_width,         # writes of its class before it, modulo
    })


def write_job(*, slots, lanes, rows, shared=False):
    """The payload of one write, to be sent on the W channel."""
    return data.StructLayout({
        "slot":       range(slots),
        "empty":      1,               # send nothing, only free the slot
        "first_lane": exact_log2(lanes),
        "last_lane":  exact_log2(lanes),
        "last_row":   range(rows + 1),
        "first_be":   4,               # counts alone if the payload is one Dword
        "last_be":    4,
        **({"odd":      1,             # first row of 64 bits in the upper half of 16 bytes
            "patch_id": 1,             # see `write_share`
            "id":       16} if shared else {}),
    })


def write_open():
    """What is kept of a write until its response."""
    return data.StructLayout({"epoch": 1, "turn": 1, "rid": 16, "segment": 8, "address": 64})


def write_end():
    """A write that does not go out."""
    return data.StructLayout({"epoch": 1, "turn": 1})


def signal_entry():
    """What is kept of a signal from its arrival on."""
    return data.StructLayout({"signal": PostedSignal, "turn": 1})


def signal_answer():
    """What is kept of a signal from its translation on."""
    return data.StructLayout({"epoch": 1})


def read_entry():
    """What is kept of a read from its arrival on."""
    return data.StructLayout({
        "rid":       16,
        "segment":   8,
        "tag":       10,
        "tc":        3,
        "attr":      3,
        "address":   64,
        "length_dw": 11,
        "skip":      2,   # disabled bytes before the first enabled one
        "trim":      2,   # and after the last enabled one
    })


def read_answer(*, address_width, shared=False):
    """What is kept of a read from its translation on."""
    return data.StructLayout({
        "ok":    1,
        "ca":    1,
        "peer":  1,                   # not ok because of the aperture
        "ppn":   address_width - 12,
        "epoch": 1,
        **({"contain": 1} if shared else {}),  # not ok, and answered with success
    })


def gate_request(*, slots, classes, number_width):
    """What is translated and may have to wait for earlier writes of its class."""
    return data.StructLayout({
        "slot":   range(slots),
        "order":  exact_log2(classes),
        "number": number_width,         # writes of its class before it, modulo
        "denied": 1,                    # waits for no write, such as a read that was denied
    })


def piece_place(*, slots):
    """Which piece of which read a completion buffer holds."""
    return data.StructLayout({
        "slot":  range(slots),
        "index": 5,             # 4096 / 128 pieces at most
        "last":  1,
        "epoch": 1,
    })


def piece_record(*, lanes, reads=0):
    """What the completion of a piece needs; with ``reads`` slots, of a shared function too."""
    return data.StructLayout({
        "rid":        16,
        "segment":    8,
        "tag":        10,
        "tc":         3,
        "attr":       3,
        "address":    64,                # of the request
        "byte_count": 13,                # left in the request, this piece included
        "lower_addr": 7,
        "length_dw":  11,                # of this piece
        "first_lane": exact_log2(lanes),
        **({"slot":    range(reads),     # of its read
            "carried": 1} if reads else {}),  # starts with the rest of an entry
    })


def piece_status(*, pieces, shared=False):
    """A piece, and how its read went."""
    return data.StructLayout({
        "piece":  range(pieces),
        "poison": 1,              # SLVERR in it
        "abort":  1,              # DECERR in it
        "drop":   1,              # its request has ended before: send nothing
        **({"hide": 1,            # complete it with success, whatever happened
            "zero": 1} if shared else {}),  # with zeros
    })
