"""What is known of the pairs: what software has set, and what has happened since."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.ram import Secded

from .pair_layouts import Looked, PairClient, PairOp, check_pairs, line
from .share_layouts import PairEntry, PairState

__all__ = ["PairTable"]


def _stored(entry):
    """Return the fields of ``entry`` that are kept in memory."""
    return Cat(Value.cast(entry[name]) for name, _ in PairEntry.as_shape()
               if not name.startswith("reserved"))


class PairTable(wiring.Component):
    """Keep the entry and the state of each pair.

    Entries are kept with SECDED: a wrong bit is corrected on the way out, and in the memory. State
    is kept with a parity bit. A pair with other errors is ``bad``, until it gets a new entry.

    Latency is 4 clocks from ``i`` to ``o``; throughput is 1 operation per clock. There must be
    no operation of a pair whose state the one before has yet to write. After reset, all entries are
    made invalid, one in each clock; until then ``ready`` is 0, and there must be no operation.

    Parameters
    ----------
    pairs : :class:`int`
        Pairs of the table, a power of two in 4..1024.
    weak : :class:`bool`
        There is ``ignore``.

    Members
    -------
    i_valid : ``In(1)``, ``i`` : ``In(PairOp)``
        Operations. WINDOW with ``write`` puts ``entry`` in the place of the old one.
    entry : ``In(PairEntry)``
        New entry; steady for 4 clocks after ``i_valid``. Reserved fields are not kept.
    o_valid : ``Out(1)``, ``o`` : ``Out(Looked)``
        The operation of 4 clocks ago, with what it has found.
    write_en : ``In(1)``, ``write_pair``, ``write_state`` : ``In(PairState)``
        New state of a pair. ``write_state`` must be 0 until ``ready``, which it is if it is made of
        ``o`` and registers.
    ready : ``Out(1)``
        All entries are invalid, or were written since.
    corrected, uncorrectable : ``Out(1)``
        Pulses, one for each operation that met an error.
    ignore : ``In(1)``
        Only if ``weak``: no pair is ``bad``.
    """

    def __init__(self, *, pairs, weak=False):
        check_pairs(pairs)
        self.pairs = pairs
        self.weak  = weak
        self._code = Secded(width=len(_stored(Signal(PairEntry))))
        self._bits = PairState.as_shape().size
        # What the memories return on a collision is never used.
        self.entries = Memory(shape=self._code.code_width, depth=pairs, init=[],
                              attrs={"no_rw_check": 1})
        self.states  = Memory(shape=self._bits + 1, depth=pairs, init=[],
                              attrs={"no_rw_check": 1})
        super().__init__({
            "i_valid":       In(1),
            "i":             In(PairOp),
            "entry":         In(PairEntry),
            "o_valid":       Out(1),
            "o":             Out(Looked),
            "write_en":      In(1),
            "write_pair":    In(range(pairs)),
            "write_state":   In(PairState),
            "ready":         Out(1),
            "corrected":     Out(1),
            "uncorrectable": Out(1),
        } | ({"ignore": In(1)} if weak else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.entries, m.submodules.states = self.entries, self.states
        index  = lambda op: op.pair[:(self.pairs - 1).bit_length()]
        scrub  = Signal(range(self.pairs))
        with m.If(~self.ready):
            m.d.sync += [scrub.eq(scrub + 1), self.ready.eq(scrub == self.pairs - 1)]

        # Read; take; find what is wrong; correct it.
        entries, states = self.entries.read_port(), self.states.read_port()
        m.d.comb += [entries.addr.eq(index(self.i)), states.addr.eq(index(self.i))]
        codes, words = ([Signal(len(port.data), name=f"{name}_{n}") for n in range(2)]
                        for name, port in (("code", entries), ("word", states)))
        code, word   = codes[1], words[1]
        found, odd   = Signal(self._code.checks + 1), Signal()
        m.d.sync += [
            codes[0].eq(entries.data), codes[1].eq(codes[0]),
            words[0].eq(states.data), words[1].eq(words[0]),
            found.eq(self._code.syndrome(codes[0])),
            odd.eq(words[0].xor()),
        ]
        # What is left from before a reset must not get out: see `_write`.
        with m.If(~self.ready):
            m.d.sync += [codes[0].eq(0), words[0].eq(0)]
        running, op = line(m, self.i_valid, 3)[3], line(m, self.i, 3)[3]

        fixed, bad, single, missing = (Signal(self._code.width), Signal(), Signal(), Signal())
        m.d.comb += [
            fixed.eq(self._code.correct(code, found)),
            missing.eq(op.pair[(self.pairs - 1).bit_length():].any()),
            single.eq(self._code.is_single(found) & running & ~missing),
            bad.eq((self._code.is_fatal(found) | odd) & ~missing),
        ]
        m.d.sync += [
            self.o_valid.eq(running),
            self.o.op.eq(op),
            _stored(self.o.entry).eq(fixed),
            self.o.state.eq(word[:self._bits]),
            self.o.bad.eq(bad & ~(self.ignore if self.weak else 0)),
            self.o.missing.eq(missing),
            self.corrected.eq(single),
            self.uncorrectable.eq(bad & running),
        ]

        # What is written is kept for a clock, in which it is encoded.
        writing, place, content = Signal(), Signal(range(self.pairs)), Signal(self._code.width)
        commit = (op.client == PairClient.WINDOW) & op.write & running
        m.d.sync += [
            writing.eq((commit & ~missing) | single),
            place.eq(index(op)),
            content.eq(Mux(commit, _stored(self.entry), fixed)),
        ]
        self._write(m, self.entries, writing, place, self._code.encode(content), scrub)
        state = Value.cast(self.write_state)
        self._write(m, self.states, self.write_en, self.write_pair, Cat(state, state.xor()), scrub)
        return m

    def _write(self, m, memory, enable, place, content, scrub):
        """Write zeros after reset: the code word of an invalid entry.

        ``content`` is 0 then, because all that is on its way to here has come out of reset.
        """
        port = memory.write_port()
        m.d.comb += [
            port.en.eq(enable | ~self.ready),
            port.addr.eq(Mux(self.ready, place, scrub)),
            port.data.eq(content),
        ]
