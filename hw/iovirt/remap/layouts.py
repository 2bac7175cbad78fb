"""Payloads of the streams between the parts of the remap engine."""

from amaranth.lib import data, enum

__all__ = ["Access", "Cause", "Context", "FaultRecord", "InvalidateOp", "SecondStage",
           "context_fill", "context_key", "fill_page", "line_fill", "lookup_request",
           "outcome", "remap_request", "remap_result", "superpage_fill", "walk_done",
           "walk_request"]


class Access(data.Struct):
    """What a transaction wants, as it came in (RISC-V IOMMU 1.0, 2.3)."""

    device_id: 24  # {segment 8, RID 16}
    pv:        1   # process_id valid
    pid:       20  # 0 unless pv
    priv:      1   # privileged requested; 0 unless pv
    exec:      1   # read for execute
    write:     1   # write or AMO
    at:        2   # 0 untranslated, 1 ATS translation request, 2 translated
    iova:      64


def remap_request(id_width):
    """Request to the engine."""
    return data.StructLayout({
        "access": Access,
        "source": 24,        # ordering source: {segment, physical RID}
        "bypass": 1,         # wants its place among those of its source only: always ok
        "id":     id_width,  # returned with the result
    })


def remap_result(id_width, address_width):
    """Answer of the engine."""
    return data.StructLayout({
        "ok":    1,
        "ca":    1,                   # if not ok: CA rather than UR
        "ppn":   address_width - 12,  # if ok: SPA[:12]; the page offset is that of the IOVA
        "cause": 12,                  # if not ok: fault cause, recorded or not
        "id":    id_width,
        "epoch": 1,                   # give it back on the `retire` port when the DMA is done
    })


class SecondStage(enum.Enum, shape=2):
    """iohgatp.MODE of the contexts that the cache holds."""

    BARE   = 0
    SV39X4 = 1
    SV48X4 = 2
    SV57X4 = 3


class Context(data.Struct):
    """What the engine keeps of a valid device context of a device without first stage."""

    mode:  SecondStage
    gscid: 16
    root:  44  # PPN of the second-stage root, 16 KiB aligned
    dtf:   1   # disable translation fault reporting


class Cause(enum.Enum, shape=12):
    """Fault causes (RISC-V IOMMU 1.0, table of CAUSE encodings)."""

    NONE                  = 0
    FETCH_ACCESS          = 1
    READ_ACCESS           = 5
    WRITE_ACCESS          = 7
    GUEST_FETCH           = 20   # guest page faults
    GUEST_READ            = 21
    GUEST_WRITE           = 23
    ALL_DISALLOWED        = 256  # ddtp is Off
    DDT_ACCESS            = 257
    DDT_INVALID           = 258
    DDT_MISCONFIGURED     = 259
    TYPE_DISALLOWED       = 260
    DDT_CORRUPT           = 268
    MSI_WRITE_ACCESS      = 273
    TABLE_CORRUPT         = 274


def lookup_request(id_width, slot_width):
    """Into the lookup pipeline: a new request, a replay of a parked one, or a prefetch probe."""
    return data.StructLayout({
        "access": Access,
        "source": 24,
        "bypass": 1,           # hits whatever the caches hold
        "id":     id_width,
        "epoch":  1,
        "debug":  1,           # from the debug registers
        "replay": 1,           # of miss-file entry `slot`
        "probe":  1,           # prefetch candidate; `access` is a plain read
        "slot":   slot_width,
    })


def outcome(id_width, slot_width, address_width):
    """Out of the lookup pipeline, in the order of its requests."""
    return data.StructLayout({
        "request":     lookup_request(id_width, slot_width),
        "hit":         1,                   # translation and permission found in the caches
        "ppn":         address_width - 12,  # if hit
        "context_hit": 1,                   # `context` is valid (for a miss: the walk starts there)
        "context":     Context,
    })


def walk_request(slot_width):
    """Miss file or prefetcher to walker."""
    return data.StructLayout({
        "access":      Access,
        "context_hit": 1,
        "context":     Context,
        "debug":       1,
        "prefetch":    1,           # drop instead of fault; no `walk_done`
        "slot":        slot_width,  # miss-file entry, if not prefetch
    })


def walk_done(slot_width, address_width):
    """Walker to miss file: the answer for entry `slot`."""
    return data.StructLayout({
        "ok":    1,
        "ca":    1,
        "cause": Cause,
        "ppn":   address_width - 12,
        "slot":  slot_width,
    })


def context_key():
    """Key of the context cache; holds a process_id from the start."""
    return data.StructLayout({"device_id": 24, "pv": 1, "pid": 20})


def context_fill():
    """Walker to context cache."""
    return data.StructLayout({"key": context_key(), "context": Context})


def fill_page(address_width):
    """One 4 KiB page of a line."""
    return data.StructLayout({
        "valid": 1,
        "ppn":   address_width - 12,
        "w":     1,   # write permitted, and D is set
        "r":     1,
        "x":     1,
    })


def line_fill(address_width):
    """Walker to IOTLB, 8 transfers per line: page 0 first, each in `page`; the rest is held.

    Only valid pages are merged into a line that is present.
    """
    return data.StructLayout({
        "gscid":     16,
        "device_id": 24,  # takes part in the set index only
        "line":      49,  # IOVA[15:64]
        "napot":     1,   # every valid page is a fragment of one 64 KiB leaf
        "prefetch":  1,   # not demanded: may take a place only from unprotected lines
        "page":      fill_page(address_width),
        "last":      1,   # page 7
    })


def superpage_fill(address_width):
    """Walker to the superpage array: a leaf above level 0."""
    return data.StructLayout({
        "gscid": 16,
        "iova":  52,  # IOVA[12:64]; bits below the page size do not count
        "level": 3,   # 1: 2 MiB, 2: 1 GiB, 3: 512 GiB, 4: 256 TiB
        "page":  fill_page(address_width),
    })


class InvalidateKind(enum.Enum, shape=1):
    """What an invalidation drops."""

    IOTLB   = 0  # translations (IOTINVAL.GVMA)
    CONTEXT = 1  # device contexts (IODIR.INVAL_DDT); translations stay


class InvalidateOp(data.Struct):
    """One invalidation."""

    kind:      InvalidateKind
    gv:        1   # IOTLB: only `gscid`
    av:        1   # IOTLB: only leaves that cover `iova` (gv is set too)
    gscid:     16
    iova:      52  # [12:64]
    dv:        1   # CONTEXT: only `device_id`
    device_id: 24


class FaultRecord(data.Struct):
    """A fault to be recorded (RISC-V IOMMU 1.0, 3.2)."""

    cause:     12
    pid:       20
    pv:        1
    priv:      1
    ttyp:      6
    device_id: 24
    iotval:    64
    iotval2:   64
