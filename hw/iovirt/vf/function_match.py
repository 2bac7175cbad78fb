"""Which shared function a requester belongs to."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .share_layouts import Function, FunctionMode

__all__ = ["FunctionMatch", "FunctionRule", "check_functions"]

#: Guests found by number may be beyond the table; so wide, they do not wrap around.
_GUEST = 10


def check_functions(functions):
    """Raise ValueError unless ``functions`` is a number of functions that can be shared."""
    if not isinstance(functions, int) or not 1 <= functions <= 4:
        raise ValueError(f"Number of functions must be an integer in 1..4, not {functions!r}")


class FunctionRule(data.Struct):
    """How the guest of a request of one function is found."""

    index:       2
    mode:        FunctionMode
    stride_log2: 4
    rid_base:    _GUEST  # + (RID >> stride) is the guest, modulo 2^10
    pasid_base:  _GUEST  # + PASID
    pasid:       20      # first one
    count:       9
    prp_list:    3
    typed_list:  3
    range_list:  3


class FunctionMatch(wiring.Component):
    """Find the function of a requester, and how its guests are told apart.

    The first function that matches counts. Outputs are combinational; what they depend on besides
    the inputs is kept in registers, which follow ``functions`` 1 clock later.

    Parameters
    ----------
    functions : :class:`int`
        Number of functions, 1 to 4.

    Members
    -------
    functions : ``In(Function).array(functions)``
        Settings.
    device_id : ``In(24)``
        Requester, {segment, RID}.
    hit : ``Out(functions)``
        Its function, one bit at most. In mode RID all virtual functions of it match.
    chosen : ``In(functions)``
        ``hit`` of some other time.
    rule : ``Out(FunctionRule)``
        Of the function ``chosen``; 0 if there is none.
    """

    def __init__(self, *, functions):
        check_functions(functions)
        self.count = functions
        super().__init__({
            "functions": In(Function).array(functions),
            "device_id": In(24),
            "hit":       Out(functions),
            "chosen":    In(functions),
            "rule":      Out(FunctionRule),
        })

    def elaborate(self, platform):
        m = Module()
        rid, segment = self.device_id[:16], self.device_id[16:]
        matches, rule = Signal(self.count), Const(0, FunctionRule.as_shape().size)
        for n, function in enumerate(self.functions):
            # Virtual functions are those from the first to before the end whose low bits are right.
            end, low = Signal(17, name=f"end_{n}"), Signal(16, name=f"low_{n}")
            many  = function.mode == FunctionMode.RID
            above = function.rid + Mux(many, function.count << function.stride_log2, 1)
            m.d.sync += [
                end.eq(Mux(above[16:].any(), 1 << 16, above)),
                low.eq(Mux(many, (1 << function.stride_log2) - 1, 0)),
            ]
            m.d.comb += matches[n].eq(
                function.valid & (segment == function.segment) & (rid >= function.rid)
                & (rid < end) & ~((rid ^ function.rid) & low).any())

            known = Signal(FunctionRule, name=f"rule_{n}")
            m.d.sync += [
                known.rid_base.eq(function.first_guest - (function.rid >> function.stride_log2)),
                known.pasid_base.eq(function.first_guest - function.pasid),
            ]
            m.d.comb += [
                known.index.eq(n),
                *(known[name].eq(function[name]) for name in (
                    "mode", "stride_log2", "pasid", "count",
                    "prp_list", "typed_list", "range_list")),
            ]
            rule |= known.as_value() & self.chosen[n].replicate(len(known.as_value()))
        m.d.comb += [
            *(self.hit[n].eq(matches[n] & ~matches[:n].any()) for n in range(self.count)),
            self.rule.eq(rule),
        ]
        return m
