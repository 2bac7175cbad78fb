"""How registers, error log and counters are connected in the whole block."""

from amaranth import *
from amaranth.lib.wiring import connect

from .pcie.layouts import ErrorCause, SignalKind
from .remap.engine import EVENTS

__all__ = ["connect_control", "connect_counters", "connect_errors"]


def connect_control(m, bank, *, receiver, dma, remap, completer, ready, port=None):
    """Connect page 0, and the settings of the data path; ``port`` has those of the header.

    ``ready`` lists what else has tables to clear.
    """
    for name in remap.registers.signature.members:
        connect(m, getattr(bank, name), getattr(remap.registers, name))
    own = bank.root_port
    mps = bank.device_control.mps.value
    m.d.comb += [
        remap.prefetch_enable.eq(bank.features.prefetch.value),
        bank.status.ready.read.eq(Cat(remap.ready, dma.ready, *ready).all()),
        receiver.max_payload.eq(mps),
        receiver.bus_range_enable.eq(own.check.value),
        receiver.secondary.eq(own.secondary.value if port is None else port.secondary),
        receiver.subordinate.eq(own.subordinate.value if port is None else port.subordinate),
        dma.completer_id.eq(own.completer_id.value),
        completer.rid.eq(own.completer_id.value),
    ]
    if port is None:
        m.d.comb += dma.max_payload.eq(mps)
    else:
        # A register, as both are settings; so the choice is in nobody's path.
        m.d.sync += [
            dma.max_payload.eq(Mux(own.check.value & (port.mps < mps), port.mps, mps)),
            receiver.dma_disable.eq(own.check.value & ~port.bus_master),
        ]


def connect_errors(m, bank, log):
    """Connect the error log to its registers and counters."""
    m.d.comb += [
        bank.error_status.valid.read.eq(log.first.cause != ErrorCause.NONE),
        log.clear.eq(bank.error_status.valid.data),
        bank.error_status.more.read.eq(log.more),
        bank.error_record.cause.read.eq(log.first.cause),
        bank.error_record.segment.read.eq(log.first.segment),
        bank.error_record.rid.read.eq(log.first.rid),
        bank.error_address.address.read.eq(log.first.address),
    ]
    for cause in ErrorCause:
        if cause is not ErrorCause.NONE:
            counter = getattr(bank, f"error_{cause.name.lower()}").count
            m.d.comb += counter.increment.eq(log.count_valid & (log.count == cause))


def connect_counters(m, bank, *, receiver, remap, table):
    """Connect the counters of the data path."""
    for name in EVENTS:
        m.d.comb += getattr(bank, name).count.increment.eq(getattr(remap.events, name))
    started = (receiver.write.valid & receiver.write.ready & receiver.write.p.first
               & (receiver.write.p.header.signal == SignalKind.NONE))
    m.d.comb += [
        bank.table_reads.count.increment.eq(table.bus.arvalid & table.bus.arready),
        bank.reads.count.increment.eq(receiver.read.valid & receiver.read.ready),
        bank.writes.count.increment.eq(started),
    ]
