"""Where interrupts enter the interrupt block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import PostedSignal, SignalKind
from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import MsiWrite, Notice
from .messages import MessageSorter

__all__ = ["SignalIntake"]


class SignalIntake(wiring.Component):
    """Tell MSI writes from messages, and merge messages with the notices of other blocks.

    ::

        signal --> queue --+--> msi
                           '--> MessageSorter --> arbiter --> queue --> o
        notice -------------------------------------^

    Messages and the ports of ``notice`` take turns. Latency is 1 clock from ``signal`` to ``msi``,
    2 to ``o`` and 1 from ``notice`` to ``o``; throughput is 1 transfer per clock. No combinational
    path runs between the streams.

    Parameters
    ----------
    None.

    Parameters
    ----------
    notices : :class:`int`
        Number of other blocks that send notices.

    Members
    -------
    signal : ``In(stream.Signature(PostedSignal))``
        Interrupts of devices; all earlier posted writes of their sources are observable.
    notice : ``In(stream.Signature(Notice)).array(notices)``
        Notices of other blocks.
    clear : ``In(1)``
        The link is down: see :class:`MessageSorter`.
    msi : ``Out(stream.Signature(MsiWrite))``
    o : ``Out(stream.Signature(Notice))``
    passed, merged : ``Out(1)``
        Pulses: a transfer left the first queue, one entered the second.
    settled : ``Out(1)``
        Nothing waits in the sorter.
    level : ``Out(4)``
        Levels of INTA to INTD.
    """

    def __init__(self, *, notices=2):
        if not isinstance(notices, int) or notices < 1:
            raise ValueError(f"Number of notices must be an integer of at least 1, not {notices!r}")
        super().__init__({
            "signal":  In(stream.Signature(PostedSignal)),
            "notice":  In(stream.Signature(Notice)).array(notices),
            "clear":   In(1),
            "msi":     Out(stream.Signature(MsiWrite)),
            "o":       Out(stream.Signature(Notice)),
            "passed":  Out(1),
            "merged":  Out(1),
            "settled": Out(1),
            "level":   Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.signals = signals = StreamQueue(PostedSignal, depth=2)
        m.submodules.sorter  = sorter  = MessageSorter()
        m.submodules.arbiter = arbiter = StreamArbiter(Notice, ports=1 + len(self.notice))
        m.submodules.notices = notices = StreamQueue(Notice, depth=2)
        wiring.connect(m, wiring.flipped(self.signal), signals.i)
        wiring.connect(m, sorter.notice, arbiter.i[0])
        for n, port in enumerate(self.notice):
            wiring.connect(m, wiring.flipped(port), arbiter.i[1 + n])
        wiring.connect(m, arbiter.o, notices.i)
        wiring.connect(m, notices.o, wiring.flipped(self.o))

        first, is_msi = signals.o, Signal()
        m.d.comb += [
            is_msi.eq(first.p.kind == SignalKind.MSI),
            self.msi.valid.eq(first.valid & is_msi),
            *(self.msi.p[name].eq(first.p[name]) for name in ("segment", "rid", "offset", "data")),
            sorter.i.valid.eq(first.valid & ~is_msi),
            sorter.i.p.eq(first.p),
            first.ready.eq(Mux(is_msi, self.msi.ready, sorter.i.ready)),
            sorter.clear.eq(self.clear),
            self.passed.eq(first.valid & first.ready),
            self.merged.eq(notices.i.valid & notices.i.ready),
            self.settled.eq(sorter.settled),
            self.level.eq(sorter.level),
        ]
        return m
