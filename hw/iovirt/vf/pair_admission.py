"""Who is next in the pair engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .pair_layouts import PairClient, PairOp, check_pairs

__all__ = ["PairAdmission"]

#: Clocks that an operation can be passed over by others before it goes ahead of ring accesses.
PATIENCE = 15


class PairAdmission(wiring.Component):
    """Choose an operation for each clock, such that those of one pair never meet in the pipeline.

    An operation whose pair is in the pipeline waits, and only those of its own client behind it.
    Ring accesses go first, unless another client has waited for 15 clocks; the others take turns.
    So an operation waits for at most 15 others plus three of its own pair, each of which takes as
    many clocks as the pipeline has stages.

    Latency is 2 clocks from ``i`` to ``o``; throughput is 1 operation per clock, also of one
    client. A combinational path runs from ``free`` to ``i.ready``.

    Parameters
    ----------
    pairs : :class:`int`
        Pairs of the table, a power of two in 4..1024.
    stages : :class:`int`
        Clocks from ``o`` to the end of an operation, at least 3: then the next of its pair may be
        there.

    Members
    -------
    i : ``In(stream.Signature(PairOp)).array(4)``
        Operations, by :class:`PairClient`.
    free : ``In(1).array(4)``
        There is a place for the results of an operation.
    reserve : ``Out(1).array(4)``
        An operation was taken from ``i``, and its place.
    o_valid : ``Out(1)``, ``o`` : ``Out(PairOp)``
        The operation that enters the pipeline.
    """

    def __init__(self, *, pairs, stages):
        check_pairs(pairs)
        if type(stages) is not int or stages < 3:
            raise ValueError(f"Number of stages must be an integer of at least 3, not {stages!r}")
        self.pairs  = pairs
        self.stages = stages
        clients     = len(PairClient)
        super().__init__({
            "i":       In(stream.Signature(PairOp)).array(clients),
            "free":    In(1).array(clients),
            "reserve": Out(1).array(clients),
            "o_valid": Out(1),
            "o":       Out(PairOp),
        })

    def elaborate(self, platform):
        m = Module()
        clients = len(PairClient)
        index   = lambda op: op.pair[:(self.pairs - 1).bit_length()]

        # Pairs in the stages, that of `o` first. Only those count that an operation that is now
        # chosen would meet.
        valids = [self.o_valid, *(Signal(name=f"valid_{n}") for n in range(1, self.stages - 1))]
        inside = [index(self.o), *(Signal(range(self.pairs), name=f"pair_{n}")
                                   for n in range(1, self.stages - 1))]
        for n in range(1, self.stages - 1):
            m.d.sync += [valids[n].eq(valids[n - 1]), inside[n].eq(inside[n - 1])]

        waiting = [Signal(PairOp, name=f"waiting_{n}") for n in range(clients)]
        valid, eligible, chosen, urgent = (Signal(clients) for _ in range(4))
        for n, (op, i) in enumerate(zip(waiting, self.i, strict=True)):
            # The pair of an operation is in one stage at most; `clash` follows it until it is out.
            clash, clashes, near = (Signal(self.stages - 2, name=f"clash_{n}"),
                                    Signal(self.stages - 2, name=f"clashes_{n}"),
                                    Signal(name=f"near_{n}"))
            age = Signal(range(PATIENCE + 1), name=f"age_{n}")
            m.d.comb += [
                near.eq(valids[0] & (inside[0] == index(op))),
                eligible[n].eq(valid[n] & ~clash.any() & ~near),
                urgent[n].eq(age == PATIENCE),
                i.ready.eq(self.free[n] & (~valid[n] | chosen[n])),
                self.reserve[n].eq(i.valid & i.ready),
                clashes.eq(Cat(there & (pair == index(i.p)) for there, pair in
                               zip(valids[:-1], inside[:-1], strict=True))),
            ]
            with m.If(~valid[n] | chosen[n]):
                m.d.sync += [valid[n].eq(self.reserve[n]), op.eq(i.p), clash.eq(clashes), age.eq(0)]
            with m.Else():
                m.d.sync += [clash.eq(Cat(near, clash)), age.eq(age + ~urgent[n])]

        self._choose(m, eligible, urgent, chosen)
        m.d.sync += self.o_valid.eq(chosen.any())
        selected = 0
        for n, op in enumerate(waiting):
            selected |= Mux(chosen[n], op.as_value(), 0)
        m.d.sync += self.o.eq(selected)
        return m

    def _choose(self, m, eligible, urgent, chosen):
        """Choose the one that no other one precedes. Who precedes whom is known beforehand."""
        last = Signal(range(1, len(PairClient)), init=1)
        for n in range(1, len(PairClient)):
            with m.If(chosen[n]):
                m.d.sync += last.eq(n)

        def precedes(one, other):
            if one == 0:
                return ~urgent[other]
            if other == 0:
                return urgent[one]
            # Of the two, the one that comes first after the last one.
            turn = ((last >= one) == (last >= other)) == C(one < other, 1)
            return Mux(urgent[one] == urgent[other], turn, urgent[one])

        ranks = range(len(PairClient))
        m.d.comb += [chosen[n].eq(eligible[n] & ~Cat(eligible[other] & precedes(other, n)
                                                    for other in ranks if other != n).any())
                     for n in ranks]
