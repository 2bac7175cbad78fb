"""When the posted requests before a completion are done."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import STAMP_WIDTH

from .layouts import finish_signature

__all__ = ["PostedTurns"]


class PostedTurns(wiring.Component):
    """Tell when all posted requests that started before a completion are done (rule S4).

    Posted requests are counted in two turns. A completion that comes while some are not done closes
    the turn that is open, and the other one opens; when the closed one is empty and the interrupt
    block has dealt with the signals of it, ``done`` counts on. A completion gets as its ``stamp``
    what ``done`` must have reached: it may go as soon as bit 11 of ``done - stamp`` is 0. If
    nothing is under way that is so at once; completions that come while a turn is closed share the
    next one. So no completion waits for anything that starts later than the completion after it.

    ``done`` changes at most once for each completion, so a stamp must be looked at before 2047
    further completions have come.

    ``done`` follows the end of the last request by 3 clocks, and by what the interrupt block takes
    for a snapshot. A request may start or end, and a completion come, in every clock, but no start
    in the clock of a completion.

    Parameters
    ----------
    capacity : :class:`int`
        Posted requests that have started and not finished, at most.
    signals : :class:`bool`
        There are signals, which the interrupt block has to deal with.
    finishes : :class:`int`
        Number of ports that tell of ends.

    Members
    -------
    turn : ``Out(1)``
        Turn of a posted request that starts now.
    start : ``In(1)``
        Pulse: one starts.
    finish : ``In(finish_signature()).array(finishes)``
        Pulses: one of ``turn`` is done: its response has come, or it was dropped, or handed to the
        interrupt block.
    stamp : ``Out(12)``
        Stamp of a completion that comes now.
    stamped : ``In(1)``
        Pulse: one comes.
    done : ``Out(12)``
        What completions compare their stamps with.
    settled : ``In(1)``
        Nothing that was handed to the interrupt block is under way there. It must have fallen 3
        clocks after the transfer, 2 after ``finish``.
    snapshot : ``Out(1)``
        Pulse: what has been handed to the interrupt block so far is to be dealt with.
    snapshot_done : ``In(1)``
        It has been. Not looked at in the clock of ``snapshot``.

    Raises
    ------
    TypeError
        If ``signals`` is not a boolean.
    ValueError
        If ``capacity`` or ``finishes`` is not an integer of at least 1.
    """

    def __init__(self, *, capacity, signals, finishes):
        for name, value in ("Capacity", capacity), ("Number of finish ports", finishes):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
        if not isinstance(signals, bool):
            raise TypeError(f"Whether there are signals must be true or false, not {signals!r}")
        self.capacity = capacity
        self.signals  = signals
        self.finishes = finishes
        super().__init__({
            "turn":          Out(1),
            "start":         In(1),
            "finish":        In(finish_signature()).array(finishes),
            "stamp":         Out(STAMP_WIDTH),
            "stamped":       In(1),
            "done":          Out(STAMP_WIDTH),
            "settled":       In(1),
            "snapshot":      Out(1),
            "snapshot_done": In(1),
        })

    def elaborate(self, platform):
        m = Module()

        # Starts and ends are counted a clock later; `begins` says what is not counted yet.
        begins, ends = Signal(2), [Signal(2, name=f"ends_{n}") for n in range(self.finishes)]
        m.d.sync += begins.eq(Mux(self.start, 1 << self.turn, 0))
        for port, end in zip(self.finish, ends, strict=True):
            m.d.sync += end.eq(Mux(port.valid, 1 << port.turn, 0))
        busy = Signal(2)
        for turn in range(2):
            count = Signal(range(self.capacity + 1), name=f"count_{turn}")
            m.d.sync += count.eq(count + begins[turn] - sum(end[turn] for end in ends))
            m.d.comb += busy[turn].eq((count != 0) | begins[turn])

        # At most the other turn is closed, and drains; all before it is done. `fresh`: nothing has
        # started since it was closed, so what comes needs no later group.
        closed, fresh, wanted = Signal(), Signal(), Signal()
        idle, late, empty, passed = (Signal() for _ in range(4))
        following = Signal(STAMP_WIDTH, init=1)
        after     = Signal(STAMP_WIDTH, init=2)
        m.d.comb += [
            idle.eq(~closed & ~busy.any() & (self.settled if self.signals else 1)),
            late.eq(closed & ~fresh),
            empty.eq(closed & ~busy.bit_select(~self.turn, 1)),
            self.stamp.eq(Mux(idle, self.done, Mux(late, after, following))),
        ]
        if self.signals:
            self._wait_for_signals(m, empty, passed)
        else:
            m.d.comb += passed.eq(empty)

        close = Signal()
        with m.If(closed):
            m.d.comb += close.eq(passed & (wanted | (self.stamped & late)))
            m.d.sync += wanted.eq((wanted | (self.stamped & late)) & ~passed)
        with m.Else():
            m.d.comb += close.eq(self.stamped & ~idle)
        with m.If(passed):
            m.d.sync += [
                self.done.eq(following),
                following.eq(after),
                after.eq(after + 1),
            ]
        m.d.sync += [
            closed.eq(close | (closed & ~passed)),
            fresh.eq(close | (fresh & ~self.start)),
        ]
        with m.If(close):
            m.d.sync += self.turn.eq(~self.turn)
        return m

    def _wait_for_signals(self, m, empty, passed):
        # One snapshot for each turn that was closed, when it has drained.
        waits = Signal()
        m.d.comb += [
            self.snapshot.eq(empty & ~waits & ~self.settled),
            passed.eq(empty & Mux(waits, self.snapshot_done, self.settled)),
        ]
        m.d.sync += waits.eq(self.snapshot | (waits & ~passed))
