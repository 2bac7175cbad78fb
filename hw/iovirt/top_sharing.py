"""How the sharing block is connected in the whole block, but for translation."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import connect

from .irq.layouts import MessageKind

__all__ = ["connect_sharing"]

#: Members of the block, and the names of their windows in the register map.
WINDOWS = {"guests": "share_guest", "parameters": "share_parameters", "budgets": "share_budget",
           "templates": "share_template", "headers": "share_header", "pairs": "share_pair",
           "statistics": "share_page"}


def connect_sharing(m, sharing, *, dma, pio, interrupts, bank):
    """Connect the engine ``sharing``, but for the transmitter, translation and errors."""
    for name in ("share_read", "share_write"):
        port, given = getattr(dma, name), getattr(sharing, name)
        fields = data.Layout.cast(given.data.shape())
        m.d.comb += [port.en.eq(given.en), port.slot.eq(given.slot),
                     *(port.data[field].eq(given.data[field]) for field, _ in fields)]
    _stream(m, dma.unpatched, sharing.unpatched)
    _stream(m, sharing.patched, dma.patched)
    _stream(m, pio.page, sharing.page)
    _stream(m, sharing.page_answer, pio.page_answer)
    _stream(m, sharing.page_error, pio.page_error)
    m.d.comb += [
        *(getattr(sharing.contained, name).eq(getattr(dma.contained, name))
          for name in ("valid", "write", "slot", "abort", "abort_slot")),
        sharing.requester_id.eq(bank.root_port.completer_id.value),
        *(getattr(bank, counter).count.increment.eq(pulse) for counter, pulse in (
            ("commands", sharing.granted), ("commands_completed", sharing.completed),
            ("shared_lost", sharing.lost), ("guests_frozen", sharing.frozen))),
    ]
    for member, window in WINDOWS.items():
        if member in sharing.signature.members:
            _window(m, getattr(bank, window), getattr(sharing, member), bank.windows[window][0])
    _settings(m, sharing, bank)
    _functions(m, sharing, bank)
    _mailbox(m, sharing, bank)

    notice = interrupts.notice[2]
    m.d.comb += [
        notice.valid.eq(sharing.notice.valid),
        sharing.notice.ready.eq(notice.ready),
        notice.p.kind.eq(MessageKind.SHARING),
        notice.p.data.eq(Cat(sharing.notice.p.colour, C(0, 8), Value.cast(sharing.notice.p.topic),
                             C(0, 6), sharing.notice.p.more)),
    ]


def _window(m, port, served, first):
    """Let a part serve the window from page ``first`` on; to it, the window begins at 0."""
    below = (first & -first).bit_length() - 1 + 12
    m.d.comb += [
        *(served.request.p[name].eq(port.request.p[name]) for name in ("write", "data", "strobe")),
        served.request.p.address.eq(port.request.p.address[:below]),
        served.request.valid.eq(port.request.valid),
        port.request.ready.eq(served.request.ready),
    ]
    connect(m, served.response, port.response)


def _stream(m, source, sink):
    """Connect streams whose payloads have the same fields, each block its own layout."""
    m.d.comb += [
        sink.valid.eq(source.valid),
        source.ready.eq(sink.ready),
        *(sink.p[name].eq(source.p[name]) for name, _ in data.Layout.cast(source.p.shape())),
    ]


def _settings(m, sharing, bank):
    control, pages, status = bank.sharing_control, bank.guest_pages, bank.sharing_status
    m.d.comb += [
        *(sharing.addresses[name].eq(getattr(control, name).value)
          for name in ("offset_bits", "key_bits")),
        *(sharing.page_settings[name].eq(getattr(pages, name).value)
          for name in ("region_log2", "stride_log2", "single", "doorbell_base")),
        *(sharing.scheduler_settings[name].eq(getattr(bank.share_scheduler, name).value)
          for name in ("quantum", "burst", "most", "byte_shift")),
        status.share_ready.read.eq(sharing.ready),
        status.doorbells_idle.read.eq(sharing.doorbells_idle),
        status.commands_in_flight.read.eq(sharing.in_flight),
    ]


def _functions(m, sharing, bank):
    for n, function in enumerate(sharing.functions):
        identity, lists, bar = (getattr(bank, f"shared_{name}_{n}")
                                for name in ("identity", "lists", "bar"))
        m.d.comb += [
            *(function[name].eq(getattr(identity, name).value)
              for name in ("valid", "mode", "segment", "rid", "first_guest", "count",
                           "stride_log2")),
            *(function[name].eq(getattr(lists, name).value)
              for name in ("prp_list", "typed_list", "range_list", "head_delta", "pasid")),
            function.bar.eq(Cat(C(0, 12), bar.base.value)),
        ]


def _mailbox(m, sharing, bank):
    request, oldest = bank.mailbox_request, sharing.oldest
    answered = bank.mailbox_data.data.write
    m.d.comb += [
        *(getattr(request, name).read.eq(oldest[name])
          for name in ("valid", "expired", "write", "be", "guest", "offset")),
        request.pending.read.eq(sharing.pending),
        bank.mailbox_data.data.read.eq(oldest.data),
        sharing.answer.en.eq(answered | bank.mailbox_refuse.refuse.value),
        sharing.answer.ok.eq(answered),
        sharing.answer.data.eq(bank.mailbox_data.data.data),
        sharing.mailbox_timeout.eq(bank.mailbox_timeout.duration.value),
    ]
