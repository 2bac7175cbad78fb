"""How the block of programmed I/O is connected in the whole block."""

from amaranth import *
from amaranth.lib.wiring import connect, flipped

from .dma.turns import PostedTurns
from .irq.layouts import MessageKind
from .pcie.layouts import SignalKind

__all__ = ["connect_pio"]


def connect_pio(m, top, pio, *, receiver, dma, bank, log, interrupts=None):
    """Connect the engine ``pio`` of programmed I/O, but for the transmitter and errors."""
    connect(m, flipped(top.pio), pio.bus)
    connect(m, receiver.completion, pio.completion)
    # The link counts as up here when the transmitter has stopped to drop.
    up = Signal(3)
    m.d.sync += up.eq(Cat(top.link_up, up))
    m.d.comb += [
        pio.link_up.eq(top.link_up & up.all()),
        pio.requester_id.eq(bank.root_port.completer_id.value),
        bank.pio_reads.count.increment.eq(pio.read_sent),
        bank.pio_writes.count.increment.eq(pio.write_sent),
        bank.pio_absent.count.increment.eq(pio.absent),
        bank.pio_masked.count.increment.eq(pio.masked),
    ]
    _turns(m, pio, receiver=receiver, dma=dma, interrupts=interrupts)
    _windows(m, pio, bank)
    _settings(m, pio, bank)
    _ring(m, pio, bank)
    _aperture(m, dma, bank)
    if pio.builtin:
        _header(m, top, pio, dma=dma, log=log, interrupts=interrupts)
    else:
        _given(m, pio, bank)
        connect(m, pio.cfg_mgmt, flipped(top.cfg_mgmt))


def _turns(m, pio, *, receiver, dma, interrupts):
    m.submodules.turns = turns = PostedTurns(
        capacity=dma.posted, signals=interrupts is not None, finishes=len(dma.finish))
    for n in range(len(dma.finish)):
        connect(m, dma.finish[n], turns.finish[n])
    m.d.comb += [
        receiver.turn.eq(turns.turn),
        turns.start.eq(receiver.posted),
        receiver.stamp.eq(turns.stamp),
        turns.stamped.eq(receiver.stamped),
        pio.done.eq(turns.done),
    ]
    if interrupts is not None:
        m.d.comb += [
            turns.settled.eq(interrupts.settled),
            interrupts.snapshot.eq(turns.snapshot),
            turns.snapshot_done.eq(interrupts.snapshot_done),
            interrupts.notice[1].valid.eq(pio.notice.valid),
            pio.notice.ready.eq(interrupts.notice[1].ready),
            interrupts.notice[1].p.kind.eq(MessageKind.PIO_ERROR),
            *(interrupts.notice[1].p[name].eq(pio.notice.p[name])
              for name in ("segment", "rid", "data")),
        ]
    else:
        m.d.comb += [turns.settled.eq(1), turns.snapshot_done.eq(1), pio.notice.ready.eq(1)]


def _windows(m, pio, bank):
    width = pio.pio.address_width

    def page(field):
        return Cat(C(0, 12), field.value)

    def extent(register):
        return Cat(C(0xfff, 12), register.mask.value)

    def within(base):
        """Whether a base is an address of the port; beyond that, nothing can hit the window."""
        return ~base[width:].any()

    ecam, bells = bank.ecam_window, bank.doorbell_window
    m.d.comb += [
        pio.ecam.enable.eq(ecam.enable.value & within(Cat(C(0, 20), ecam.base.value))),
        pio.ecam.policy.eq(ecam.policy.value),
        pio.ecam.size_log2.eq(ecam.size_log2.value),
        pio.ecam.base.eq(Cat(C(0, 20), ecam.base.value)),
        pio.doorbells.enable.eq(bells.enable.value & within(page(bells.base))),
        pio.doorbells.policy.eq(bells.policy.value),
        pio.doorbells.base.eq(page(bells.base)),
        pio.doorbells.mask.eq(extent(bank.doorbell_extent)),
        pio.no_window.eq(bank.pio_settings.no_window.value),
    ]
    for n, window in enumerate(pio.windows):
        place, size, target, owner = (getattr(bank, f"{name}_{n}")
                                      for name in ("window", "extent", "target", "owner"))
        m.d.comb += [
            window.enable.eq(place.enable.value & within(page(place.base))),
            window.policy.eq(place.policy.value),
            window.base.eq(page(place.base)),
            window.mask.eq(extent(size)),
            window.pcie.eq(page(target.base)),
            *(window[name].eq(getattr(owner, name).value)
              for name in ("guest", "completer", "completer_mask")),
        ]


def _settings(m, pio, bank):
    retry, status = bank.config_retry, bank.pio_status
    m.d.comb += [
        pio.retry.pause.eq(retry.pause.value),
        pio.retry.count.eq(retry.count.value),
        pio.retry.time.eq(retry.duration.value),
        pio.core_limit.eq(bank.quotas.core_limit.value),
        pio.guest_limit.eq(bank.quotas.guest_limit.value),
        pio.segment.eq(bank.pio_settings.port_segment.value),
        status.link_up.read.eq(pio.link_up),
        status.idle.read.eq(pio.idle),
        status.pio_ready.read.eq(pio.ready),
        status.tags_used.read.eq(pio.used),
    ]


def _ring(m, pio, bank):
    ring, errors = pio.ring, bank.pio_errors
    m.d.comb += [
        ring.mask.eq(bank.pio_error_mask.causes.value),
        errors.first_valid.read.eq(ring.first.cause.as_value() != 0),
        errors.first_more.read.eq(ring.more),
        ring.clear.eq(errors.first_valid.data),
        bank.pio_ring.head.read.eq(ring.head),
        bank.pio_ring.tail.read.eq(ring.tail),
        ring.head_write.eq(bank.pio_ring.head.write),
        ring.head_data.eq(bank.pio_ring.head.data),
        ring.select.eq(bank.pio_select.slot.value),
    ]
    for record, shown, address in ((ring.first, bank.pio_first, bank.pio_first_address),
                                   (ring.record, bank.pio_record, bank.pio_record_address)):
        m.d.comb += [
            *(getattr(shown, name).read.eq(getattr(record, name))
              for name in ("cause", "core", "guest", "rid", "tag")),
            address.address.read.eq(record.address),
        ]


def _aperture(m, dma, bank):
    aperture = bank.dma_aperture
    page = Cat(C(0, 12), aperture.base.value)
    m.d.comb += [
        dma.aperture_enable.eq(aperture.enable.value
                               & ~page[len(dma.aperture_base):].any()),
        dma.aperture_base.eq(page),
        dma.aperture_mask.eq(~Cat(C(0xfff, 12), bank.dma_extent.mask.value)),
    ]


def _header(m, top, pio, *, dma, log, interrupts):
    m.d.comb += [
        pio.event.valid.eq(log.count_valid),
        pio.event.cause.eq(log.count),
        # What is unsupported here and not posted was answered so, and its requester tells.
        pio.event.advisory.eq(1),
        top.port_interrupt.eq(pio.interrupt),
        top.secondary_reset.eq(pio.secondary_reset),
        top.link_disable.eq(pio.link_disable),
        pio.link_speed.eq(top.link_speed),
        pio.link_width.eq(top.link_width),
    ]
    if interrupts is not None:
        signal = interrupts.signal
        m.d.comb += [
            pio.message.valid.eq(signal.valid & signal.ready
                                 & (signal.p.kind == SignalKind.MESSAGE)),
            pio.message.code.eq(signal.p.data),
            pio.message.rid.eq(signal.p.rid),
        ]


def _given(m, pio, bank):
    settings, port = bank.port_settings, bank.root_port
    m.d.comb += [
        *(getattr(pio.given, name).eq(getattr(settings, name).value)
          for name in ("timeout", "timeout_disable", "ari", "mrrs", "extended_tags")),
        pio.given.rrs_visibility.eq(settings.rrs_visible.value),
        pio.given.ten_bit_tags.eq(settings.ten_bit.value),
        pio.given.mps.eq(settings.tx_mps.value),
        pio.given.secondary.eq(port.secondary.value),
        pio.given.subordinate.eq(port.subordinate.value),
        pio.given.bus_master.eq(1),
        pio.given.memory.eq(1),
    ]
