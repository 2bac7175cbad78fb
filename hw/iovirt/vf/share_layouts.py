"""Payloads of the streams between the parts that share a device, and what their tables hold."""

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out

__all__ = [
    "COLOUR_WIDTH",
    "COUNT_WIDTH",
    "INDEX_WIDTH",
    "KEY_WIDTH",
    "PAIR_WIDTH",
    "RING_LOG2",
    "WINDOW",
    "AddressSettings",
    "Charge",
    "Completed",
    "Denial",
    "DenialCause",
    "Function",
    "FunctionMode",
    "Grant",
    "GrantVerdict",
    "GuestCount",
    "GuestCounter",
    "GuestEntry",
    "GuestState",
    "Kind",
    "PageAccess",
    "PageAnswer",
    "PairDoorbell",
    "PairDoorbellVerdict",
    "PairEntry",
    "PairState",
    "ReadContext",
    "RingAccess",
    "RingVerdict",
    "Weaken",
    "access",
    "attributed",
    "context_write",
    "patch_beat",
    "patched_beat",
    "read_share",
    "write_share",
]

#: Width of a colour, the number of a guest; 0 is the manager. Of keys, and of numbers of pairs.
COLOUR_WIDTH, KEY_WIDTH, PAIR_WIDTH = 8, 16, 10
#: Width of the index of an entry in a ring (at most 4096 entries), and of counts of entries.
INDEX_WIDTH, COUNT_WIDTH = 12, 13
#: Bits of a ring address that count bytes; above them the side (1: completions), then the pair.
RING_LOG2 = 22
#: Entries from the oldest unfetched one on that may be granted and not fetched.
WINDOW = 64


class Kind(enum.Enum, shape=3):
    """What an address points to; part of the address. 6 is reserved, and counts as POISON."""

    DATA         = 0
    PRP_LIST     = 1
    TYPED_LIST   = 2  # entries at multiples of 16 bytes
    TYPED_LIST_8 = 3  # at 8 mod 16
    RANGE_LIST   = 4
    RING         = 5
    POISON       = 7


class AddressSettings(data.Struct):
    """Layout of the addresses {key, colour, kind 3, guard 1, offset}, from registers."""

    offset_bits:  6  # 32 to 43
    key_bits:     5  # 0 to KEY_WIDTH; offset + 4 + colour + key is the width of addresses


class FunctionMode(enum.Enum, shape=2):
    """How the guest of a request is found."""

    COLOUR = 0  # by the colour of the address: an unmodified device, policed
    RID    = 1  # by RID: virtual functions of SR-IOV
    PASID  = 2  # by RID and PASID: Scalable IOV


class Function(data.Struct):
    """A shared device function, from registers."""

    valid:        1
    mode:         FunctionMode
    segment:      8
    rid:          16  # RID mode: of the first virtual function
    first_guest:  8   # RID and PASID mode: guest of the first one
    count:        9   # of virtual functions or PASIDs
    stride_log2:  4   # RID mode: RIDs from one virtual function to the next
    pasid:        20  # PASID mode: the first one
    prp_list:     3   # templates of lists, by kind
    typed_list:   3
    range_list:   3
    bar:          64  # of the doorbells, on PCIe
    head_delta:   8   # from a tail doorbell to the doorbell of its completion head, in Dwords


class GuestState(enum.Enum, shape=3):
    """State of a guest. DMA passes in RUN, FREEZE and DRAIN; only RUN is granted anything."""

    OFF        = 0
    RUN        = 1
    FREEZE     = 2  # set by hardware too, when something of the guest was denied
    DRAIN      = 3
    QUARANTINE = 4  # like OFF, but its statistics and doorbell page stay


class GuestEntry(data.Struct):
    """A guest of a shared function, 128 bits in software's view."""

    key:            KEY_WIDTH
    device_id:      24        # of its data and lists, in translation
    first_pair:     PAIR_WIDTH  # its queue pairs are neighbours
    pairs:          8
    function:       2
    reserved_0:     4
    ring_device_id: 24        # of its rings, which it cannot unmap
    reserved_1:     40


class PairEntry(data.Struct):
    """A queue pair, 128 bits in software's view: a ring that the device reads, and perhaps one of
    completions that it writes. A single ring with write-back has no completion ring.
    """

    valid:         1
    once:          1   # each entry is given once in each lap
    paired:        1   # there is a completion ring; completions are counted
    device_writes: 1   # the device may write the ring that it reads
    owner:         COLOUR_WIDTH
    template:      3
    size_log2:     3   # of an entry, 8 << n bytes, n in 0..3
    cq_size_log2:  3
    shift:         4   # log2 of the block size
    patch_id:      1   # completions get the number by which the guest knows its queue
    function:      2
    reserved_0:    4
    depth:         COUNT_WIDTH  # entries, 2 to 4096
    cq_depth:      COUNT_WIDTH
    reserved_1:    6
    limit:         COUNT_WIDTH  # most commands in flight; 0: depth - 1
    reserved_2:    19
    tail:          22  # tail doorbell of the device, in Dwords from the BAR of the function
    reserved_3:    10


class PairState(data.Struct):
    """What hardware knows of a pair."""

    requested: INDEX_WIDTH  # tail as the guest told it
    granted:   INDEX_WIDTH  # tail as the device may know it
    first:     INDEX_WIDTH  # oldest entry that was not fetched
    in_flight: COUNT_WIDTH  # granted, not completed
    unread:    COUNT_WIDTH  # completed, not yet passed by the head
    head:      INDEX_WIDTH  # completion head, as checked
    next:      INDEX_WIDTH  # slot of the next completion
    fetched:   WINDOW       # bit n: entry first + n was fetched


def access(id_width):
    """An access of a device that wants to be attributed and translated."""
    return data.StructLayout({
        "device_id": 24,        # {segment 8, RID 16} as received
        "pv":        1,
        "pid":       20,
        "priv":      1,
        "exec":      1,
        "write":     1,
        "at":        2,
        "iova":      64,        # of the first byte
        "source":    24,
        "bypass":    1,         # an interrupt: only keeps its place
        "length_dw": 11,
        "empty":     1,         # no byte enabled at all
        "slot":      8,         # of the read or write in the data path
        "id":        id_width,
    })


def attributed(id_width):
    """The same, as it goes to translation."""
    return data.StructLayout({
        "device_id": 24,
        "pv":        1,
        "pid":       20,
        "priv":      1,
        "exec":      1,
        "write":     1,
        "at":        2,
        "iova":      64,
        "source":    24,
        "bypass":    1,         # contained ones too: translated by nobody
        "shared":    1,         # of a policed function: a failure must not reach the device
        "contain":   1,         # denied: a write is dropped, a read answered without memory
        "id":        id_width,
    })


def read_share():
    """What the data path has to know of a read of a shared function, by its slot."""
    return data.StructLayout({
        "shared":    1,  # failures are contained
        "patch":     1,  # its data goes through the patcher
        "size_log2": 3,  # of an entry, 8 << n bytes; whole entries are read
        "phase":     1,  # entries are at 8 mod 16 (only with size_log2 = 1)
    })


def write_share():
    """What the data path has to know of a write of a shared function, by its slot."""
    return data.StructLayout({
        "shared":   1,
        "patch_id": 1,   # replace bytes 10 and 11 of each 16 bytes
        "id":       16,
    })


class ReadContext(data.Struct):
    """What the patcher has to know of a read, captured when it was admitted."""

    kind:      Kind         # of its address
    colour:    COLOUR_WIDTH
    key:       KEY_WIDTH
    template:  3
    size_log2: 3
    shift:     4            # log2 of the block size of the queue
    replace:   1            # give nothing of memory: replaced entries or poison
    blank:     1            # with `replace`: poison, as nothing is known of the ring
    first:     10           # first Dword of the read in its page
    last:      10           # last Dword
    allow:     WINDOW       # RING: bit n: entry n of those that the read touches may be given


def context_write(reads):
    """Write port of the contexts, by read slot, seen from the writer."""
    return wiring.Signature({"en": Out(1), "slot": Out(range(reads)), "data": Out(ReadContext)})


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


class RingAccess(data.Struct):
    """An access to a ring that has passed the checks of its guest."""

    write:    1
    pair:     PAIR_WIDTH
    side:     1            # 1: the completion ring
    colour:   COLOUR_WIDTH
    function: 2
    offset:   RING_LOG2    # first byte
    length:   13           # bytes, 1 to 4096
    empty:    1            # moves no state


class RingVerdict(data.Struct):
    """The answer, in order."""

    ok:        1       # else contain, and freeze the guest
    valid:     1       # template and sizes are known
    template:  3
    size_log2: 3       # of the side that was accessed
    shift:     4
    patch_id:  1       # a write of completions whose queue number is to be replaced
    allow:     WINDOW  # see ReadContext; all ones where entries may be read again


class PairDoorbell(data.Struct):
    """A write of a guest to a doorbell, or a read of its shadow."""

    read:   1
    pair:   PAIR_WIDTH
    colour: COLOUR_WIDTH
    side:   1   # 1: completion head
    value:  32


class PairDoorbellVerdict(data.Struct):
    """The answer, in order."""

    ok:     1
    value:  16  # shadow: the last value that was accepted
    ring:   1   # a completion head that has to be told to the device: ...
    tail:   22  # ... tail doorbell of the pair
    function: 2


class Grant(data.Struct):
    """The scheduler offers a pair to have up to `limit` more commands granted."""

    pair:  PAIR_WIDTH
    limit: 8


class GrantVerdict(data.Struct):
    """The answer, in order. The new tail is already marked as granted."""

    count:    8             # granted now
    more:     1             # there is room for more right now
    granted:  INDEX_WIDTH   # new tail
    tail:     22            # doorbell
    function: 2
    paired:   1             # completions are counted; else nothing tells how many are in flight


class Completed(data.Struct):
    """Commands of a guest have completed, or their pair was set anew."""

    colour: COLOUR_WIDTH
    count:  INDEX_WIDTH


class Charge(data.Struct):
    """A command of a guest was given to the device and moves data."""

    colour: COLOUR_WIDTH
    bytes:  21


class DenialCause(enum.Enum, shape=3):
    """Why something of a shared function was denied."""

    NONE     = 0
    KEY      = 1  # no such guest, guest off, or a wrong key: nobody is frozen
    ADDRESS  = 2  # guard, poison, a write to a list, outside of the own rings, a fault
    ENTRY    = 3  # an entry was replaced
    DOORBELL = 4  # dropped
    ODD      = 5  # a completion that nothing was granted for
    TABLE    = 6  # a table has an error that cannot be corrected


class Denial(data.Struct):
    """One record. ADDRESS freezes the guest, and so does TABLE if the device met it; others do not.

    A doorbell or a grant that meets an error in a table of pairs only leaves a record.
    """

    cause:   DenialCause
    colour:  COLOUR_WIDTH
    device_id: 24
    address: 64


class GuestCounter(enum.Enum, shape=3):
    """Statistics of a guest."""

    COMMANDS  = 0  # granted
    BYTES     = 1  # moved by commands, in units of 512
    COMPLETED = 2
    REPLACED  = 3  # entries
    DENIED    = 4  # DMA accesses contained
    DOORBELLS = 5  # accepted
    DROPPED   = 6  # doorbells dropped
    MAILBOX   = 7  # accesses handed to the manager


class GuestCount(data.Struct):
    """Add to a statistic."""

    colour:  COLOUR_WIDTH
    counter: GuestCounter
    amount:  12


class PageAccess(data.Struct):
    """An access of a core to the pages of guests; as config_access of programmed I/O."""

    write:   1
    address: 28  # offset in the aperture
    be:      4
    data:    32
    legal:   1
    core:    8
    owner:   16


class PageAnswer(data.Struct):
    """Its end."""

    owner: 16
    write: 1
    ok:    1
    data:  32


class Weaken(data.Struct):
    """Defences that a test switches off; never part of a product. See docs/sharing.md."""

    colour:      1  # pointers do not get the colour, kind and key of the owner
    low_bits:    1  # low bits of pointers are not forced
    prp1_offset: 1  # PRP2 is classified as if PRP1 had no offset
    chaining:    1  # PRP lists that need a link pass
    slot_511:    1  # slot 511 of a list passes as it is
    typed_page:  1  # an SGL segment may leave its page
    halves:      1  # parts of list entries pass
    typed_type:  1  # descriptors of any type pass as data
    mptr:        1  # pointers that a command does not use pass
    once:        1  # entries are given more than once
    window:      1  # and before they were granted
    opcode:      1  # all opcodes pass
    nsid:        1  # forced values are not forced
    range:       1  # ranges are not checked
    range65:     1  # range checks wrap around
    key:         1  # keys are not compared
    guard:       1  # the guard bit is ignored
    owner:       1  # rings of others may be accessed
    depth:       1  # rings have no end
    contain:     1  # failures reach the device
    manager:     1  # colours do not keep devices from the manager's addresses
    doorbell:    1  # doorbells of odd sizes, and to pairs of others, pass
    tail:        1  # tails are not checked
    head:        1  # completion heads are not checked
    cq_space:    1  # completions need no room
    fair:        1  # guests are served by number
    buckets:     1  # rates are not limited
    freeze:      1  # frozen guests are granted commands
    state:       1  # guests that are off may do DMA
    at:          1  # translated requests and PASIDs pass
    ecc:         1  # table errors are ignored
    page_count:  1  # doorbells beyond the queues of the guest reach its neighbours
