"""What becomes of the addresses of an entry."""

from amaranth import *

from .layouts import LengthForm, Rule
from .share_layouts import Kind

__all__ = ["judge_addresses", "judge_lists"]


def judge_addresses(m, template, stage, off):
    """Find the addresses of the entry's class, and check the length of the first one.

    Returns
    -------
    dict
        ``own``, ``leave``, ``listed``: as in a verdict; and what :func:`judge_lists` looks at.
    """
    fields = template.addresses
    active = [Signal(name=f"active_{n}") for n in range(4)]
    own, leave, listed, checked = Signal(4), Signal(4), Signal(4), Signal(4)
    typed = Signal(4)
    for n, field in enumerate(fields):
        mine = active[n] & field.wide
        m.d.comb += [
            active[n].eq(field.enable & Cat(C(0, 1), field.classes).bit_select(stage.number, 1)),
            own[n].eq(mine & ~field.rule.as_value()[2] | (mine & (field.rule == Rule.RANGE_LIST))),
            leave[n].eq(active[n] & (field.rule == Rule.PLAIN)),
            typed[n].eq(active[n] & (field.rule == Rule.TYPED_LIST)),
            checked[n].eq(typed[n] | (active[n] & (field.rule == Rule.RANGE_LIST))),
            listed[n].eq(mine & (checked[n] | (field.rule == Rule.PRP_LIST))),
        ]
    first = fields[0]
    limited = active[0] & (first.max_length != 15)
    limit   = Signal(28)
    m.d.comb += limit.eq(1 << (first.max_length + 12))
    kept = Cat(first.force_low <= bit for bit in range(12))
    return {
        "own": own, "leave": leave, "listed": listed,
        "long":   limited & (stage.over | (stage.moved > limit)),
        "charge": active[0] & (first.queue_shift | (first.max_length != 15)),
        "bytes":  stage.moved[:21] | (stage.over | stage.moved[21:].any()).replicate(21),
        "prp":    active[1] & fields[1].wide & (fields[1].rule == Rule.PRP2),
        "start":  stage.p & kept & ~off.prp1_offset.replicate(12),
        "last_slot":  template.last_slot,
        "checked":    checked.any(),
        "makes_list": typed.any(),
        **_list_of(stage, fields, checked),
    }


def _list_of(stage, fields, checked):
    """Return pointer and length of the one list that is checked."""
    def pick(what):
        result = C(0, 1)
        for n in range(1, 4):
            result = result | (checked[n] & what(n, fields[n]))
        return result

    near   = pick(lambda n, field: field.dword[1:4] == stage.token.p)
    length = Mux(pick(lambda n, field: field.length_dword[:4] == stage.token.l1),
                 stage.l1, stage.l2)
    full   = pick(lambda n, field: field.length_form == LengthForm.FULL32)
    return {
        "pointer": Mux(near, stage.p, stage.q),
        "length":  length[:16],
        "beyond":  length[16] & full,
        "plus":    pick(lambda n, field: field.zero_based),
        "by_16":   pick(lambda n, field: field.shift[2]),
    }


def judge_lists(m, stage, later, off):
    """Check that lists are in their pages. Two stages; returns what the verdict is made of.

    Members of the result, besides those of ``stage``: ``list_bad``; ``kind`` of the list;
    ``prp_unused``, ``prp_page``: what the second address of NVM Express is; ``total``: slots that
    its list needs, from the start of its page, plus 1.
    """
    kept = ("token", "place", "usable", "r0", "r1", "r0_on", "v0_pattern", "v1_units", "v1_width",
            "forces", "bad", "own", "leave", "listed", "over", "charge", "bytes", "prp",
            "last_slot", "makes_list")
    # The class tells typed lists and range lists apart, and both from PRP lists.
    kind, count, start = Signal(Kind), Signal(17), Signal(12)
    with m.If(stage.makes_list):
        m.d.comb += kind.eq(Mux(stage.pointer[3], Kind.TYPED_LIST_8, Kind.TYPED_LIST))
    with m.Elif(stage.checked):
        m.d.comb += kind.eq(Kind.RANGE_LIST)
    with m.Else():
        m.d.comb += kind.eq(Kind.PRP_LIST)
    m.d.comb += [
        count.eq(stage.length + stage.plus),
        start.eq(Cat(C(0, 3), stage.pointer[3] & stage.makes_list, stage.pointer[4:])),
    ]
    odd = ~stage.by_16 & count[:4].any() | (count == 0)
    stage = later(m, stage, *kept, "q", "checked", "beyond", kind=kind,
                  odd=stage.makes_list & odd,
                  stop=start + Mux(stage.by_16, count << 4, count),
                  end=stage.start + stage.moved)
    rest, pages = stage.end[:12].any(), stage.end[12:]
    outside = stage.beyond | (stage.stop > 4096)
    return later(m, stage, *kept, "kind",
                 list_bad=(stage.checked & (outside | stage.odd)
                           & ~(stage.makes_list & off.typed_page)),
                 prp_unused=(pages == 0) | ((pages == 1) & ~rest),
                 prp_page=((pages == 1) & rest) | ((pages == 2) & ~rest),
                 total=stage.q[3:] + pages + rest)
