"""Which shared function a requester belongs to."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream.picker import index_of

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

    The first function that matches counts; ``hit`` is combinational, ``rule`` comes 1 clock later.
    What they depend on besides the inputs is kept, one function of which is brought up to date per
    clock: a change of ``functions`` has its effect within 6 clocks.

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
        Of the function ``chosen`` in the clock before; anything if there was none.
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
        ends = [Signal(17, name=f"end_{n}") for n in range(self.count)]
        lows = [Signal(16, name=f"low_{n}") for n in range(self.count)]
        m.submodules.rules = rules = Memory(shape=FunctionRule, depth=4, init=[],
                                            attrs={"ram_style": "distributed"})
        self._prepare(m, ends, lows, rules.write_port())

        matches = Signal(self.count)
        for n, function in enumerate(self.functions):
            # Virtual functions are those from the first to before the end whose low bits are right.
            m.d.comb += matches[n].eq(
                function.valid & (segment == function.segment) & (rid >= function.rid)
                & (rid < ends[n]) & ~((rid ^ function.rid) & lows[n]).any())
        read = rules.read_port()
        m.d.comb += [
            *(self.hit[n].eq(matches[n] & ~matches[:n].any()) for n in range(self.count)),
            read.addr.eq(index_of(self.chosen)),
            self.rule.eq(read.data),
        ]
        return m

    def _prepare(self, m, ends, lows, write):
        """Work out for one function after the other what does not depend on the requester."""
        turn, function = Signal(2), Signal(Function)
        index, rule    = Signal(2), write.data
        m.d.sync += [turn.eq(Mux(turn == self.count - 1, 0, turn + 1)), index.eq(turn)]
        with m.Switch(turn):
            for n, settings in enumerate(self.functions):
                with m.Case(n):
                    m.d.sync += function.eq(settings)

        many  = function.mode == FunctionMode.RID
        above = function.rid + Mux(many, function.count << function.stride_log2, 1)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(index),
            rule.index.eq(index),
            rule.rid_base.eq(function.first_guest - (function.rid >> function.stride_log2)),
            rule.pasid_base.eq(function.first_guest - function.pasid),
            *(rule[name].eq(function[name]) for name in (
                "mode", "stride_log2", "pasid", "count", "prp_list", "typed_list", "range_list")),
        ]
        for n in range(self.count):
            with m.If(index == n):
                m.d.sync += [
                    ends[n].eq(Mux(above[16:].any(), 1 << 16, above)),
                    lows[n].eq(Mux(many, (1 << function.stride_log2) - 1, 0)),
                ]
