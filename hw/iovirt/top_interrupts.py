"""How the interrupt block is connected in the whole block."""

from amaranth import *
from amaranth.lib.wiring import connect

from .irq.layouts import MessageKind
from .irq.pulse_notice import PulseNotice

__all__ = ["connect_interrupts"]


def connect_interrupts(m, top, engine, *, receiver, dma, remap, bank):
    """Connect the interrupt engine ``engine``, but for its table clients and errors.

    Return a signal that rises when its tables have been cleared after reset.
    """
    connect(m, dma.signal, engine.signal)
    m.submodules.fault_notice = notice = PulseNotice(kind=MessageKind.FAULT)
    connect(m, notice.o, engine.notice[0])
    for window, port in ("irt", engine.irt), ("queue", engine.queues), ("guest", engine.guests):
        connect(m, getattr(bank, window), port)
    low, high = bank.msi_window_32, bank.msi_window_64
    m.d.comb += [
        notice.event.eq(remap.faulted.valid),
        notice.device_id.eq(remap.faulted.device_id),
        receiver.msi_enable_32.eq(low.enable.value),
        receiver.msi_base_32.eq(low.base.value),
        receiver.msi_enable_64.eq(high.enable.value),
        receiver.msi_base_64.eq(high.base.value),
        engine.interval.eq(bank.storm.interval.value),
        engine.clear.eq(~top.link_up),
        engine.clear_wires.eq(bank.irq_wires.wires.data),
        bank.irq_wires.wires.read.eq(engine.wires),
        bank.intx.pins.read.eq(engine.level),
        bank.irq_time.clocks.read.eq(engine.time),
        top.irq_wires.eq(engine.wires),
        bank.interrupts.count.increment.eq(engine.signal.valid & engine.signal.ready),
        bank.events_dropped.count.increment.eq(engine.dropped),
        bank.heads_forged.count.increment.eq(engine.forged),
        bank.irt_corrected.count.increment.eq(engine.corrected),
        bank.records.count.increment.eq(engine.record),
        bank.notifications.count.increment.eq(engine.notified),
    ]

    # It clears its tables in a known time.
    clocks = max(engine.irq.entries, 16 * engine.irq.queues) + 32
    count, ready = Signal(range(clocks)), Signal()
    with m.If(count == clocks - 1):
        m.d.sync += ready.eq(1)
    with m.Else():
        m.d.sync += count.eq(count + 1)
    return ready
