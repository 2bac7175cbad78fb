"""What passes between the parts of the patcher, and which part looks at what of a template."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data

from .layouts import TemplateWord
from .share_layouts import COLOUR_WIDTH, KEY_WIDTH, WINDOW, Kind, Weaken

__all__ = ["ADDRESS_BITS", "CLASS_BITS", "LANE_BITS", "LISTS", "NOTHING_OFF", "SELECT_BITS",
           "TAP_BITS", "VALUE_BITS", "Job", "Mode", "Taken", "Token", "Verdict",
           "chosen", "fill_kind"]


class Mode(data.Struct):
    """How the beats of a piece are treated: by entries, or all lanes alike."""

    whole:  1  # all lanes alike: pages (pointers of a PRP list) or poison
    pages:  1
    poison: 1
    bar:    1  # the last slot of a page may not be a page


class Job(data.Struct):
    """What holds for all beats of a piece."""

    kind:     Kind
    colour:   COLOUR_WIDTH
    key:      KEY_WIDTH
    template: 3
    size:     2             # of an entry, 8 << n bytes
    shift:    4
    mode:     Mode
    void:     1             # there is no data that could be kept
    offset:   data.ArrayLayout(1, 5)  # signed: first entry from lane 0 of the first beat, in lanes
    position: 9             # of the first entry in its page, in units of 8 bytes
    number:   8             # signed: of the first entry, counted from the first of the read
    first:    10
    last:     10
    allow:    WINDOW


class Token(data.Struct):
    """An entry whose numbers are captured."""

    fresh:    1   # the first of a piece
    template: 3   # that of the ring or list
    usable:   1   # the template can be used
    void:     1
    shift:    4
    ring:     1
    size:     2   # of the entry, 8 << n bytes
    typed:    1
    whole:    1   # the read has all of the entry
    touched:  1   # the read has some of it
    allow:    1   # in a ring
    widen:    1   # parts may be given
    k0:       4   # Dword of the first tap
    l0:       4   # Dword of the length
    p:        3   # lane of the first pointer
    l1:       4   # Dword of the first length of a list


class Taken(data.Struct):
    """Numbers of an entry, taken from the beats as they pass."""

    k0: 32  # Dwords that decide the class
    k1: 32
    l0: 32  # length of a transfer
    l1: 17  # of lists: low half, and whether the upper one is not 0
    l2: 17
    p:  12  # offsets in their pages of the first and the second address
    q:  12
    v0: 32
    v1: 64


class Verdict(data.Struct):
    """What becomes of an entry."""

    bad:      1
    poison:   1   # there is not even a template to make a replaced entry by
    keep:     1   # bytes may be kept in a replaced entry
    report:   1
    template: 3
    own:      4   # addresses that become the guest's own
    leave:    4   # ... that stay as they are
    listed:   4   # ... that point to a list of the kind:
    kind:     Kind
    page:     1   # the second address is that of a page
    first:    1   # the first value is written
    r0:       32  # new content of the Dword or lane of the values
    r1:       64
    charge:   1
    bytes:    21


def _ones(layout, select):
    """Return the bits of a layout that are named: True for all, else by name."""
    layout = data.Layout.cast(layout)
    if select is True:
        return (1 << layout.size) - 1
    bits = 0
    for name, what in select.items():
        field = layout[name]
        try:
            inner = _ones(field.shape, what)
        except TypeError:
            inner = (1 << field.width) - 1
        bits |= inner << field.offset
    return bits


def chosen(**select):
    """Return the bits of a template word that are named."""
    return _ones(TemplateWord, select)


#: Bits of a template that are looked at while the beats pass, ...
TAP_BITS = chosen(
    valid=True, entry_size=True, handler=True, partial=True, once=True, last_slot=True,
    second=True, alternative_enable=True, alternative=True, selectors={0: True},
    addresses={0: {"dword": True, "length_dword": True}, 1: {"dword": True},
               2: {"length_dword": True}, 3: {"length_dword": True}},
    values={0: {"dword": True, "parameter": True}, 1: {"dword": True, "parameter": True}})
#: ... to find the class, ...
SELECT_BITS = chosen(
    valid=True, entry_size=True, handler=True, opcode_enable=True, opcode_byte=True, selectors=True,
    addresses={0: dict.fromkeys(("length_form", "zero_based", "shift", "queue_shift"), True)})
#: ... to compute values, ...
VALUE_BITS = chosen(values={n: dict.fromkeys(
    ("enable", "dword", "low", "width", "op", "classes", "parameter"), True) for n in range(2)})
CLASS_BITS = chosen(classes=True)
#: ... to judge addresses, ...
ADDRESS_BITS = chosen(last_slot=True, addresses={n: dict.fromkeys(
    ("enable", "dword", "wide", "classes", "force_low", "rule", "length_dword", "length_form",
     "zero_based", "queue_shift", "shift", "max_length"), True) for n in range(4)})
#: ... and to write the entry.
LANE_BITS = chosen(
    opcode_enable=True, opcode_byte=True, keep=True, keep_bytes=True, safe_opcode=True,
    zero_mask=True, addresses={n: dict.fromkeys(("enable", "dword", "force_low", "classes"), True)
                               for n in range(4)},
    values={n: {"enable": True, "dword": True} for n in range(2)})

#: Stands for :class:`Weaken` in a product.
NOTHING_OFF = SimpleNamespace(**{name: C(0, 1) for name, _ in data.Layout.cast(Weaken)})

LISTS = (Kind.PRP_LIST, Kind.TYPED_LIST, Kind.TYPED_LIST_8, Kind.RANGE_LIST)


def fill_kind(value, *kinds):
    """Return whether ``value`` is one of ``kinds``."""
    result = value == kinds[0]
    for kind in kinds[1:]:
        result |= value == kind
    return result
