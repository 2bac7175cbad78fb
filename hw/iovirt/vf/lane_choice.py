"""What is written to a lane of a beat."""

from types import SimpleNamespace

from amaranth import *

from .share_layouts import Kind

__all__ = ["OFFSET", "OFFSET_MAX", "Source", "choose_lane"]

#: Least and largest width of an offset.
OFFSET, OFFSET_MAX = 32, 43


class Source:
    """Where a byte comes from, two bits; and the upper half of an address."""

    ZERO, KEPT, FIRST, SECOND = range(4)
    NONE, DATA, POISON, LIST = range(4)


def choose_lane(m, run, number, item, template, beyond, off, *, ending):
    """Choose what becomes of lane ``number``, and put it down.

    ``beyond``: bits that are above the offset of an address. ``ending``: the lane is the last one
    of its page.

    Returns
    -------
    namespace of registers
        ``here``: the lane is written in this step; ``low``, ``high``: source of each byte;
        ``cut``: bits that are 0 instead (those of an address only); ``top``: upper half of an
        address that is added; ``opcode``: bytes that the safe opcode is added to.
    """
    mode, verdict = item.job.mode, item.verdict
    name  = f"lane_{number}"
    index, here = item.lanes[number].index, item.lanes[number].here
    entry = Signal(name=f"{name}_entry")
    m.d.comb += entry.eq(~mode.whole & ~item.torn & ~verdict.poison)
    point = _pointer(m, name, item, template, entry, index, ending, off)
    low, high, opcode = _sources(m, item, template, entry, index, point, name)
    cut, ones = Signal(64, name=f"{name}_cut_now"), Signal(name=f"{name}_cuts")
    m.d.comb += ones.eq(point.own & ~point.raw)
    for bit in range(12):
        m.d.comb += cut[bit].eq(ones & (bit < point.force) & ~off.low_bits)
    for bit in range(OFFSET, 64):
        m.d.comb += cut[bit].eq(ones & beyond[bit - OFFSET])
    top = Mux(point.poison, Source.POISON, Mux(ones, Mux(point.listed, Source.LIST, Source.DATA),
                                               Source.NONE))
    result = SimpleNamespace()
    for key, value, width in (("here", here, 1), ("low", low, 8), ("high", high, 8),
                              ("opcode", opcode, 8), ("cut", cut, 64), ("top", top, 2)):
        register = Signal(width, name=f"{name}_{key}", reset_less=True)
        with m.If(run):
            m.d.sync += register.eq(value)
        setattr(result, key, register)
    return result


def _pointer(m, name, item, template, entry, index, ending, off):
    """Find out whether the lane is an address, and of what kind."""
    mode, verdict = item.job.mode, item.verdict
    hits, own, leave, listed = (Signal(4, name=f"{name}_{what}") for what in
                                ("hits", "own", "leave", "listed"))
    force = mode.pages.replicate(4) & 12
    exact = Mux(verdict.kind == Kind.RANGE_LIST, 4, 3)
    for n, field in enumerate(template.addresses):
        unused = off.mptr & (field.classes == 0)
        m.d.comb += [
            hits[n].eq(entry & field.enable & (field.dword[1:4] == index) & ~unused),
            own[n].eq(hits[n] & verdict.own[n]),
            leave[n].eq(hits[n] & verdict.leave[n]),
            listed[n].eq(own[n] & verdict.listed[n]),
        ]
        least = Mux(verdict.listed[n], exact, field.force_low)
        if n == 1:
            least = Mux(verdict.page, 12, least)
        force = force | (least & own[n].replicate(4))
    point = SimpleNamespace()
    point.raw    = off.colour | (off.slot_511 & ending & mode.pages)
    point.leave  = leave.any()
    point.listed = listed.any()
    own_now, poison = Signal(name=f"{name}_owns"), Signal(name=f"{name}_poisons")
    # The last slot of a page may be taken for a link to the next list.
    barred = mode.pages & mode.bar & ending & ~off.slot_511
    m.d.comb += [
        own_now.eq(own.any() | (mode.pages & ~barred)),
        poison.eq(Mux(mode.whole, mode.poison | barred, item.torn | verdict.poison
                      | (hits.any() & ~own.any() & ~leave.any()))),
    ]
    point.own, point.poison = own_now, poison
    point.force = force
    return point


def _sources(m, item, template, entry, index, point, name):
    """Choose the source of each byte, and the bytes of the safe opcode."""
    verdict, fields = item.verdict, template.values
    low, high, opcode = (Signal(8, name=f"{name}_{what}_now") for what in
                         ("low", "high", "opcode"))
    second = fields[1].enable & (fields[1].dword[1:4] == index)
    zeros  = template.zero_mask.word_select(index, 4)
    whole  = point.own | point.leave
    nothing = point.poison | ~(entry | point.own)
    kept    = (((1 << template.keep_bytes) - 1)[:4] << template.keep[:2])[:4]
    for dword in range(2):
        here   = Cat(C(dword, 1), index)
        first  = verdict.first & fields[0].enable & (fields[0].dword[:4] == here)
        keeps  = verdict.keep & (template.keep[2:] == here)
        ciphers = verdict.bad & template.opcode_enable & (template.opcode_byte[2:6] == here)
        for byte in range(4):
            lane = 4 * dword + byte
            keep = keeps & kept[byte]
            value = Mux(first, Source.FIRST, Mux(second, Source.SECOND, Source.ZERO))
            code  = Signal(2, name=f"{name}_code_{lane}")
            with m.If(nothing):
                m.d.comb += code.eq(Source.ZERO)
            with m.Elif(whole):
                m.d.comb += code.eq(Source.KEPT)
            with m.Elif(verdict.bad):
                m.d.comb += code.eq(Mux(keep, Source.KEPT, value))
            with m.Elif(~zeros[lane // 2]):
                m.d.comb += code.eq(Mux(first | second, value, Source.KEPT))
            m.d.comb += [
                low[lane].eq(code[0]),
                high[lane].eq(code[1]),
                opcode[lane].eq(ciphers & entry & ~nothing & (template.opcode_byte[:2] == byte)),
            ]
    return low, high, opcode
