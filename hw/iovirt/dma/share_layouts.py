"""What the data path has to know of shared functions: payloads of streams, contents of tables."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

__all__ = ["CARRY_WIDTH", "FETCH_ROWS", "contained_signature", "patch_beat", "patch_job",
           "patch_record", "patched_beat", "patched_piece", "piece_way", "read_share",
           "write_share"]

#: The larger part of an entry that lies beyond a cut: half of 16 bytes.
CARRY_WIDTH = 64
#: Rows of a patch buffer per row of a piece. Whole entries take up to two rows more.
FETCH_ROWS = 2


def read_share():
    """What is known of a read of a shared function, by its slot."""
    return data.StructLayout({
        "shared":    1,  # failures are contained
        "patch":     1,  # its data goes through the patcher
        "size_log2": 3,  # of an entry, 8 << n bytes with n up to 3; whole entries are read
        "phase":     1,  # entries are at 8 mod 16 (only with size_log2 = 1)
    })


def write_share():
    """What is known of a write of a shared function, by its slot."""
    return data.StructLayout({
        "shared":   1,
        "patch_id": 1,   # replace bytes 10 and 11 of each 16 bytes
        "id":       16,
    })


def contained_signature(slots, reads=0):
    """Pulse ``valid``: an access of a shared function was not permitted, which stays hidden.

    With ``reads``, pulse ``abort``: a permitted read of ``abort_slot`` met DECERR, which stays
    hidden as well. Both may come at once, of different reads.
    """
    return wiring.Signature({
        "valid": Out(1),
        "write": Out(1),
        "slot":  Out(range(slots)),
        **({"abort": Out(1), "abort_slot": Out(range(reads))} if reads else {}),
    })


def patch_beat(*, data_width, reads):
    """A beat of memory data that has to be patched; pieces whole, one after the other."""
    return data.StructLayout({
        "data":  data_width,
        "slot":  range(reads),  # of the read
        "base":  10,            # Dword in its page that lane 0 has, a multiple of the lanes
        "synth": 1,             # there is no data, or it is bad: replace everything
        "first": 1,             # of the piece
        "last":  1,
    })


def patched_beat(data_width):
    """The same beat, patched, in the same order."""
    return data.StructLayout({"data": data_width, "last": 1})


def piece_way(*, patches):
    """Which way the data of a piece takes."""
    return data.StructLayout({
        "shared": 1,               # of a shared function
        "patch":  1,               # into `buffer`, not into the payload memory
        "buffer": range(patches),
    })


def _skipped(lanes):
    # Rows of an entry of 64 bytes before its last one; at least one row for those at 8 mod 16.
    return range(max(64 // (4 * lanes), 2))


def patch_record(*, reads, pieces, lanes, rows):
    """What a patch buffer holds."""
    return data.StructLayout({
        "piece":    range(pieces),
        "slot":     range(reads),
        "base":     10 - exact_log2(lanes),    # first row, in its page
        "last_row": range(FETCH_ROWS * rows),
        "skip":     _skipped(lanes),           # rows before those that are sent
        "sent":     range(rows),               # rows that are sent, less one
    })


def patch_job(*, patches):
    """A patch buffer that may be patched. The last three: see :func:`.layouts.piece_status`."""
    return data.StructLayout({
        "buffer": range(patches),
        "synth":  1,   # replace everything
        "poison": 1,
        "abort":  1,
    })


def patched_piece(*, pieces, lanes, rows):
    """A piece that is on its way through the patcher."""
    return data.StructLayout({
        "piece":  range(pieces),
        "skip":   _skipped(lanes),
        "sent":   range(rows),
        "poison": 1,
        "abort":  1,
    })
