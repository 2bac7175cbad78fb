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

    There are two places, one for ring accesses, and one for which the others take turns. What
    waits there for its pair is passed by what comes to the other place. Ring accesses go first,
    unless the other operation was passed over for 15 clocks; so it waits for at most 15 clocks, and
    then for at most one operation of its own pair, of ``stages`` clocks.

    Latency is 2 clocks from ``i`` to ``o``; throughput is 1 operation per clock, also of one
    client. Combinational paths run from ``i.valid`` and ``free`` to ``i.ready``.

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
        # Pairs in the stages, that of `o` first. Only those count that an operation that is now
        # chosen would meet.
        self._valids = [self.o_valid, *(Signal(name=f"valid_{n}")
                                        for n in range(1, self.stages - 1))]
        self._inside = [self._index(self.o), *(Signal(range(self.pairs), name=f"pair_{n}")
                                               for n in range(1, self.stages - 1))]
        for n in range(1, self.stages - 1):
            m.d.sync += [self._valids[n].eq(self._valids[n - 1]),
                         self._inside[n].eq(self._inside[n - 1])]

        take, chosen, age = Signal(2), Signal(2), Signal(range(PATIENCE + 1))
        picked = self._pick(m, take[1])
        ring   = self.i[0]
        m.d.comb += [
            ring.ready.eq(take[0] & self.free[0]),
            self.reserve[0].eq(ring.valid & ring.ready),
        ]
        first, other = (self._place(m, *what, take[n], chosen[n], f"place_{n}") for n, what in
                        enumerate([(self.reserve[0], ring.p), picked]))
        urgent = age == PATIENCE
        m.d.comb += [
            chosen[0].eq(first[0] & ~(urgent & other[0])),
            chosen[1].eq(other[0] & (urgent | ~first[0])),
        ]
        with m.If(take[1]):
            m.d.sync += age.eq(0)
        with m.Elif(~urgent):
            m.d.sync += age.eq(age + 1)
        m.d.sync += [
            self.o_valid.eq(chosen.any()),
            self.o.eq(Mux(chosen[1], other[1], first[1])),
        ]
        return m

    def _index(self, op):
        return op.pair[:(self.pairs - 1).bit_length()]

    def _pick(self, m, take):
        """Give the other clients turns; return whether there is an operation, and which."""
        asks, picked, last = Signal(3), Signal(3), Signal(range(3))
        clients = self.i[1:]
        for n, i in enumerate(clients):
            # Of two clients, the one goes first that comes first after the last one.
            rivals = Cat(asks[other] & (((last >= n) == (last >= other)) == C(other < n, 1))
                         for other in range(3) if other != n)
            m.d.comb += [
                asks[n].eq(i.valid & self.free[n + 1]),
                picked[n].eq(asks[n] & ~rivals.any()),
                i.ready.eq(take & picked[n]),
                self.reserve[n + 1].eq(i.ready),
            ]
            with m.If(i.ready):
                m.d.sync += last.eq(n)
        op = 0
        for n, i in enumerate(clients):
            op |= Mux(picked[n], i.p.as_value(), 0)
        return asks.any() & take, PairOp(op)

    def _place(self, m, valid, op, take, chosen, name):
        """Let an operation wait until its pair is free; return whether it is, and what waits."""
        waits, waiting = Signal(name=f"{name}_waits"), Signal(PairOp, name=name)
        # The pair is in one stage at most; `clash` follows it until it is out.
        clash, near = Signal(self.stages - 2, name=f"{name}_clash"), Signal(name=f"{name}_near")
        m.d.comb += [
            take.eq(~waits | chosen),
            near.eq(self._valids[0] & (self._inside[0] == self._index(waiting))),
        ]
        with m.If(take):
            m.d.sync += [
                waits.eq(valid),
                waiting.eq(op),
                clash.eq(Cat(there & (pair == self._index(op)) for there, pair in
                             zip(self._valids[:-1], self._inside[:-1], strict=True))),
            ]
        with m.Else():
            m.d.sync += clash.eq(Cat(near, clash))
        return waits & ~clash.any() & ~near, waiting
