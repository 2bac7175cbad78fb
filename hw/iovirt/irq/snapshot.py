"""When everything that came before a moment has been dealt with."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SnapshotTaker", "Stage"]


class Stage(wiring.Signature):
    """What passes a stage in order, seen from the stage: pulses, one per transfer."""

    def __init__(self):
        super().__init__({"enter": Out(1), "leave": Out(1)})


class SnapshotTaker(wiring.Component):
    """Say when all that had entered the interrupt block before ``snapshot`` is dealt with.

    What enters passes stages of places, most of them in order::

        signals --> notices --> front --> flights --> records
                        '---------^          '------> waiting --> running

    Of each stage it is noted, as soon as all before it is done, how much is in it; and the snapshot
    is done when so much has left. So it never waits for anything that enters later than the note
    (rule S4), however busy the block is.

    A snapshot takes 10 clocks if nothing is in its way, 3 if nothing at all is under way.
    ``settled`` and ``done`` are registers; ``settled`` falls in the clock after a transfer on
    ``signals``.

    Parameters
    ----------
    events : :class:`int`
        Places for events without verdict.
    records : :class:`int`
        Places for records that are not yet written.

    Members
    -------
    signals, notices, front, records, waiting, running : ``In(Stage())``
        Stages that are left in the order in which they are entered. What leaves one must enter the
        next in the same clock.
    flying : ``In(events)``
        Places in use by events, or by what becomes of them until that counts as a record. What
        leaves ``front`` is here in the next clock.
    busy : ``In(1)``
        Something else is not settled.
    snapshot : ``In(1)``
        Pulse: begin. One that is under way is given up, because this one includes it.
    done : ``Out(1)``
        The last snapshot is done. Not before the clock after ``snapshot``.
    settled : ``Out(1)``
        Nothing is under way.
    """

    def __init__(self, *, events, records):
        self.events = events
        #: In the order in which they are noted; None: `flying`.
        self.depths = {"signals": 2, "notices": 2, "front": 15, None: 0, "records": records,
                       "waiting": 8, "running": 8}
        super().__init__({
            **{name: In(Stage()) for name in self.depths if name},
            "flying":   In(events),
            "busy":     In(1),
            "snapshot": In(1),
            "done":     Out(1, init=1),
            "settled":  Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        left   = Signal(range(max(self.depths.values()) + 1))
        places = Signal(self.events)  # of events that were under way
        levels, entered = [], {}
        for name, depth in self.depths.items():
            if name:
                # All is looked at a clock late, to keep paths of others short.
                stage, level = getattr(self, name), Signal(range(depth + 1), name=f"in_{name}")
                enter, leave = Signal(name=f"enter_{name}"), Signal(name=f"leave_{name}")
                m.d.sync += [
                    enter.eq(stage.enter),
                    leave.eq(stage.leave),
                    level.eq(level + enter - leave),
                ]
                levels.append((level, leave))
                entered[name] = stage.enter | enter
            else:
                levels.append(None)

        idle, flying = Signal(), Signal(self.events)
        m.d.comb += idle.eq(~flying.any() & ~self.busy & ~Cat(
            item[0].any() for item in levels if item).any())
        m.d.sync += [
            flying.eq(self.flying),
            self.settled.eq(idle & ~entered["signals"] & ~entered["notices"]),
        ]

        # Step n waits for `left` of stage n, or for the end of `places`. The clock of `taken` sees
        # everything that entered up to `snapshot`.
        steps = Signal(len(levels))
        asked, taken, passed, ends = Signal(), Signal(), Signal(), Signal(len(levels))
        m.d.comb += [
            passed.eq(Mux(steps[levels.index(None)], ~(places & flying).any(), left == 0)),
            ends.eq(Mux(passed, steps, 0)),
        ]
        m.d.sync += [
            asked.eq(self.snapshot),
            taken.eq(asked),
            places.eq(places & flying),
        ]
        with m.If(taken):
            m.d.sync += steps.eq(~idle)
        with m.Elif(passed):
            m.d.sync += steps.eq(ends << 1)
        for n, item in enumerate(levels):
            start = taken if n == 0 else ends[n - 1] & ~taken
            if item is None:
                with m.If(start):
                    m.d.sync += places.eq(flying)
            else:
                level, leave = item
                with m.If(start):
                    m.d.sync += left.eq(level - leave)
                with m.Elif(steps[n] & ~passed):
                    m.d.sync += left.eq(left - leave)
        with m.If(self.snapshot | asked):
            m.d.sync += self.done.eq(0)
        with m.Elif((taken & idle) | (ends[-1] & ~taken)):
            m.d.sync += self.done.eq(1)
        return m
