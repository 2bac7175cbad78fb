"""TLPs of cocotbext-pcie as beats of the block's TLP streams, and back.

Headers are packed and unpacked by cocotbext-pcie, so nothing of ours is on both sides of a check.
"""

from cocotbext.pcie.core.tlp import CplStatus, Tlp, TlpType

__all__ = ["complete_fields", "header_of", "tlp_of", "to_beats"]

HEADER_BYTES = 16
MEMORY_READS = {TlpType.MEM_READ, TlpType.MEM_READ_64}


def to_beats(tlp, data_width, *, segment=0):
    """Yield ``tlp`` beat by beat, as dicts of the signals of `rx`."""
    header = int.from_bytes(bytes(tlp.pack_header()).ljust(HEADER_BYTES, b"\0"), "big")
    payload = bytes(tlp.data) if tlp.has_data() else b""
    size = data_width // 8
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    for n, piece in enumerate(pieces):
        yield {
            "data": int.from_bytes(piece, "little"), "strb": (1 << len(piece) // 4) - 1,
            "hdr": header, "prefix": 0, "prefix_valid": 0, "segment": segment,
            "first": int(n == 0), "last": int(n == len(pieces) - 1), "nullify": 0,
        }


def header_of(beat):
    """Return the TLP, without its payload, that starts with ``beat``."""
    return Tlp.unpack_header(beat["hdr"].to_bytes(HEADER_BYTES, "big"))


def tlp_of(beats, data_width):
    """Return the TLP whose beats, dicts of the signals of `tx`, are ``beats``.

    Fails if they break a rule of the stream.
    """
    header, full = beats[0]["hdr"], (1 << data_width // 32) - 1
    tlp = header_of(beats[0])
    for n, beat in enumerate(beats):
        assert beat["first"] == (n == 0), f"`first` is wrong in beat {n}"
        assert beat["hdr"] == header, f"`hdr` changed in beat {n}"
        assert beat["prefix_valid"] == 0, "the block never sends a prefix"
        strobes = beat["strb"]
        assert strobes & (strobes + 1) == 0, f"strobes {strobes:#b} have a hole"
        assert strobes == full or beat["last"], f"strobes {strobes:#b} in the middle"
        assert strobes or not tlp.has_data(), f"beat {n} carries nothing"
        tlp.data += beat["data"].to_bytes(data_width // 8, "little")[:4 * strobes.bit_count()]
    assert len(tlp.data) == (4 * tlp.length if tlp.has_data() else 0), f"payload of {tlp!r}"
    unused = 8 * (HEADER_BYTES - tlp.get_header_size())
    assert header % (1 << unused) == 0, "a header of 3 DW is left-justified"
    return tlp


def complete_fields(completion, request):
    """Set what cocotbext-pcie 0.2.16 leaves out of a completion of ``request``.

    It leaves the byte count of a completion without data at 0, which means 4096, and the lower
    address of a refused read at 0 (PCIe Base, 2.2.9).
    """
    if completion.has_data() or completion.byte_count:
        return
    if request.fmt_type in MEMORY_READS and completion.status != CplStatus.SC:
        completion.byte_count = max(1, request.get_be_byte_count())
        # Not get_lower_address(), which loses the byte offset to the precedence of & and +.
        completion.lower_address = (request.address & 0x7C) + request.get_first_be_offset()
    else:
        completion.byte_count = 4
