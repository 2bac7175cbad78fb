"""What becomes of the values of an entry."""

from amaranth import *

from .layouts import Operation

__all__ = ["judge_first", "judge_second", "replaced_values"]


def judge_first(m, field, word, parameter, good, off):
    """Judge the first value: 1, 16 or 32 bits of the Dword ``word``, against a parameter.

    Returns
    -------
    dict
        ``r0``: the new Dword; ``v0_bad``; ``v0_classes``; ``v0_pattern``: which halves a replaced
        entry has set, and whether they are one number.
    """
    full, half = Signal(), Signal()
    upper      = field.low[4]
    value, copy = Signal(32), Signal(32)
    m.d.comb += [
        full.eq(field.width == 31),
        half.eq(field.width == 15),
        # Both halves have a number of 16 bits, so that they compare as one does.
        value.eq(Cat(Mux(half & upper, word[16:], word[:16]),
                     Mux(half & ~upper, word[:16], word[16:]))),
        copy.eq(Cat(parameter[:16], Mux(full, parameter[16:32], parameter[:16]))),
    ]
    force   = (field.op == Operation.FORCE) & ~off.nsid
    both    = field.op == Operation.AND
    halves  = (full | (half & ~upper), full | (half & upper))
    result  = Signal(32, name="r0_next")
    for n, here in enumerate(halves):
        for bit in range(16 * n, 16 * n + 16):
            single = (field.low == bit) & ~full & ~half & force
            m.d.comb += result[bit].eq(
                Mux(here & (force | both), copy[bit] & (word[bit] | ~both),
                    Mux(single, parameter[0], word[bit])))
    differs = value != copy
    above   = (value > copy) & ~parameter[32:].any() & (full | ~parameter[16:32].any())
    pattern = (field.op == Operation.FORCE) | (field.op == Operation.REQUIRE)
    known   = ((field.op == Operation.FORCE) | (field.op == Operation.REQUIRE) | both
               | (field.op == Operation.MAX))
    return {
        "r0": result,
        "v0_bad": (~good | ~known | ((field.op == Operation.REQUIRE) & differs)
                   | ((field.op == Operation.MAX) & above)),
        "v0_classes": field.classes & field.enable.replicate(7),
        "v0_pattern": Cat(halves[0] & pattern, halves[1] & pattern, full),
    }


def judge_second(m, field, lane):
    """Look at the second value: 16, 32 or 64 bits of 8 bytes.

    Returns
    -------
    dict
        ``x``: the value, 0 if it is forced; ``v1_units``: which 16 bits it is in; ``v1_width``:
        whether it is 16 or 32 bits wide; ``v1_classes``; ``forces``, ``ranges``: the operation;
        ``shifts``: whether it uses the parameter itself.
    """
    half, full, upper = Signal(), Signal(), field.dword[0]
    forces = field.op == Operation.FORCE
    adds   = field.op == Operation.RANGE_ADD
    value, units = Signal(64, name="v1_value"), Signal(4)
    m.d.comb += [
        half.eq(field.width == 15),
        full.eq(field.width == 31),
        value.eq(Cat(Mux(full & upper, lane[32:], lane[:32]) & ~forces.replicate(32),
                     lane[32:] & ~(full | forces).replicate(32))),
    ]
    for unit in range(4):
        m.d.comb += units[unit].eq(Mux(half, Cat(field.low[4], upper) == unit,
                                       ~full | (upper == unit // 2)))
    return {
        "x":          value,
        "v1_units":   units,
        "v1_width":   Cat(half, full),
        "v1_classes": field.classes & field.enable.replicate(7),
        "forces":     forces,
        # Whatever the operation may be else is refused by a range that nothing fits in.
        "ranges":     ~forces,
        "shifts":     forces | adds,
    }


def replaced_values(stage):
    """Return the Dword and the lane that the values have in a replaced entry."""
    low, high, full = stage.v0_pattern
    first = Cat(C(0, 1), low.replicate(15), high & full, high.replicate(15))
    units = []
    for unit in range(4):
        begins = stage.v1_width[0] | (stage.v1_width[1] if unit == 2 else C(unit == 0, 1))
        here   = stage.v1_units[unit]
        units += [here & ~(stage.forces & begins), here.replicate(15)]
    return first, Cat(units)
