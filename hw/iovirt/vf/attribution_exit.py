"""The end of attribution."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .attribution_layouts import Checked, leaving, owner_write
from .share_layouts import (
    COLOUR_WIDTH,
    AddressSettings,
    Denial,
    DenialCause,
    Kind,
    RingVerdict,
    Weaken,
    access,
    context_write,
)

__all__ = ["AttributionExit"]

_DENIALS = 4


class AttributionExit(wiring.Component):
    """Join requests with what was found out of them, and tell all who have to know.

    A request that is denied is contained: it keeps its place, and nothing else. Contexts and owners
    are written when a request enters the output register; the rest goes with it.

    Latency is 1 clock; throughput is 1 request per clock. A combinational path runs from
    ``o.ready`` to the inputs.

    Parameters
    ----------
    id_width, reads : :class:`int`
        As of :class:`Attribution`.
    weak : :class:`bool`
        There is a member ``weaken`` for tests.

    Members
    -------
    settings : ``In(AddressSettings)``
    i : ``In(stream.Signature(access(id_width)))``
        Requests.
    checked : ``In(stream.Signature(Checked))``
        One for each.
    verdict : ``In(stream.Signature(RingVerdict))``
        One for each that asked a ring.
    o : ``Out(stream.Signature(leaving(id_width)))``
    context : ``Out(context_write(reads))``
    owner : ``Out(owner_write())``
    denial : ``Out(stream.Signature(Denial))``, ``lost`` : ``Out(1)``
        Records; for one clock: one was lost.
    freeze : ``Out(stream.Signature(COLOUR_WIDTH))``
        Guests to freeze.
    idle : ``Out(1)``
        No request is in the output register, and nobody waits to be frozen.
    """

    def __init__(self, *, id_width, reads, weak=False):
        self.reads = reads
        self.weak  = weak
        super().__init__({
            "settings": In(AddressSettings),
            "i":        In(stream.Signature(access(id_width))),
            "checked":  In(stream.Signature(Checked)),
            "verdict":  In(stream.Signature(RingVerdict)),
            "o":        Out(stream.Signature(leaving(id_width))),
            "context":  Out(context_write(reads)),
            "owner":    Out(owner_write()),
            "denial":   Out(stream.Signature(Denial)),
            "lost":     Out(1),
            "freeze":   Out(stream.Signature(COLOUR_WIDTH)),
            "idle":     Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.freezes = freezes = StreamQueue(COLOUR_WIDTH, depth=2)
        wiring.connect(m, freezes.o, wiring.flipped(self.freeze))
        checked, verdict = self.checked.p, self.verdict.p

        advance, go, denied, patch = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            go.eq(advance & self.i.valid & self.checked.valid & freezes.i.ready
                  & (self.verdict.valid | ~checked.ring)),
            self.i.ready.eq(go),
            self.checked.ready.eq(go),
            self.verdict.ready.eq(go & checked.ring),
            denied.eq((checked.cause != DenialCause.NONE) | (checked.ring & ~verdict.ok)),
            patch.eq(checked.shared & checked.coloured & ~self.i.p.write
                     & (checked.kind != Kind.DATA) & ~checked.kind.as_value()[1:].all()),
            freezes.i.valid.eq(go & denied & checked.freeze & (checked.cause != DenialCause.KEY)),
            freezes.i.payload.eq(checked.colour),
            self.idle.eq(~self.o.valid & ~freezes.o.valid),
        ]
        with m.If(advance):
            m.d.sync += self.o.valid.eq(go)
            self._leave(m, denied, patch)
        self._tell(m, go, denied, patch)
        self._record(m, go & denied)
        return m

    def _list_size(self):
        """Return log2 of the size of list entries, in units of 8 bytes."""
        return self.checked.p.kind != Kind.PRP_LIST

    def _leave(self, m, denied, patch):
        """Fill the output register."""
        i, checked, verdict, o = self.i.p, self.checked.p, self.verdict.p, self.o.p
        own, passes_at, seen = Signal(), C(0, 1), C(0, 1)
        m.d.comb += own.eq(checked.guest)
        if self.weak:
            # A failure that is not contained is one of the function itself.
            passes_at, seen = self.weaken.at, self.weaken.contain
            m.d.comb += own.eq(checked.guest & ~(denied & seen))
        clear = own & ~passes_at
        keep  = Cat((self.settings.offset_bits[:4] > n) | ~checked.strip for n in range(15))
        keep  = Cat(keep, (~checked.strip).replicate(17))
        m.d.sync += [
            *(o.request[name].eq(i[name]) for name in ("write", "source", "id")),
            *(o.request[name].eq(Mux(clear, 0, i[name]))
              for name in ("pv", "pid", "priv", "exec", "at")),
            o.request.device_id.eq(Mux(own, checked.device_id, i.device_id)),
            o.request.iova.eq(Cat(i.iova[:32], i.iova[32:] & keep)),
            o.request.bypass.eq(i.bypass | (denied & ~seen)),
            o.request.contain.eq(denied & ~seen),
            o.request.shared.eq(checked.shared & ~seen),
            o.access.eq(~i.bypass),
            o.slot.eq(i.slot),
            o.read.shared.eq(checked.shared & ~seen),
            o.read.patch.eq(patch),
            o.read.size_log2.eq(Mux(checked.kind == Kind.RING,
                                    Mux(checked.ring & verdict.valid, verdict.size_log2, 0),
                                    self._list_size())),
            o.read.phase.eq(checked.kind == Kind.TYPED_LIST_8),
            o.write.shared.eq(checked.shared & ~seen),
            o.write.patch_id.eq(checked.ring & verdict.patch_id),
            o.write.id.eq(checked.number),
        ]

    def _tell(self, m, go, denied, patch):
        """Tell the patcher what it has to know, and the reports of faults who it is."""
        i, checked, verdict = self.i.p, self.checked.p, self.verdict.p
        context, owner = self.context.data, self.owner
        ring, known = checked.kind == Kind.RING, checked.ring & verdict.valid
        m.d.comb += [
            self.context.en.eq(go & patch),
            self.context.slot.eq(i.slot),
            context.kind.eq(checked.kind),
            context.colour.eq(checked.colour),
            context.key.eq(checked.key),
            context.template.eq(Mux(ring, verdict.template, checked.template)),
            context.size_log2.eq(Mux(ring, Mux(known, verdict.size_log2, 0), self._list_size())),
            context.shift.eq(Mux(ring, verdict.shift, 0)),
            context.replace.eq(denied),
            context.blank.eq(ring & ~known),
            context.first.eq(i.iova[2:12]),
            context.last.eq(i.iova[2:12] + i.length_dw - 1),
            context.allow.eq(Mux(ring, verdict.allow, (1 << len(context.allow)) - 1)),
            owner.en.eq(go & checked.shared & ~i.bypass),
            owner.write.eq(i.write),
            owner.slot.eq(i.slot),
            owner.colour.eq(checked.colour),
            owner.device_id.eq(i.device_id),
        ]

    def _record(self, m, denied):
        """Record what was denied, if there is room."""
        m.submodules.denials = denials = StreamQueue(Denial, depth=_DENIALS)
        wiring.connect(m, denials.o, wiring.flipped(self.denial))
        record, checked = denials.i.p, self.checked.p
        m.d.sync += [
            denials.i.valid.eq(denied),
            record.cause.eq(Mux(checked.ring, DenialCause.ADDRESS, checked.cause)),
            record.colour.eq(checked.colour),
            record.device_id.eq(self.i.p.device_id),
            record.address.eq(self.i.p.iova),
        ]
        m.d.comb += self.lost.eq(denials.i.valid & ~denials.i.ready)
