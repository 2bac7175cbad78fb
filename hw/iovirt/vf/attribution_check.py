"""The guest of a request, and whether the request may pass."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attribution_layouts import Checked, CheckRequest
from .delay_line import DelayLine
from .function_match import FunctionRule
from .guest_layouts import READ_LATENCY, guest_read, passes
from .share_layouts import (
    COLOUR_WIDTH,
    KEY_WIDTH,
    RING_LOG2,
    AddressSettings,
    DenialCause,
    FunctionMode,
    GuestState,
    Kind,
    RingAccess,
    Weaken,
)

__all__ = ["CHECK_LATENCY", "AttributionCheck"]

#: Clocks from a request to its verdict.
CHECK_LATENCY = READ_LATENCY + 3


class _Looked(data.Struct):
    """What is known of a request while the table is read."""

    bypass:   1
    free:     1             # of no shared function, or the manager's
    manager:  1             # the manager's, and coloured as such
    coloured: 1
    odd:      1             # a translated request, or a PASID where there must be none
    wrong:    1             # no guest can have this
    strange:  1             # the manager cannot have this
    stray:    1             # if it is of a guest, it is not where the guest may go
    kind:     Kind
    colour:   COLOUR_WIDTH  # or number of the guest, if not coloured
    key:      KEY_WIDTH
    index:    2
    template: 3


class AttributionCheck(wiring.Component):
    """Find out whose a request is, compare it with the guest table, and tell its ring.

    A request passes if its guest's state lets DMA pass, and if it carries the key of that guest, is
    of the function of that guest, is not translated already, and points to what it may: not to the
    guard, to poison, to a list if it is a write, beyond the rings. The manager's have all bits
    above the offset clear. Requests of virtual functions and with PASIDs carry no key.

    Latency is 7 clocks, to ``o`` and ``ring``; throughput is 1 request per clock. Nothing can wait.

    Parameters
    ----------
    weak : :class:`bool`
        There is a member ``weaken`` for tests.

    Members
    -------
    settings : ``In(AddressSettings)``
        Of ``offset_bits`` only bits 3:0 are looked at; ``key_bits`` count 1 clock later.
    i : ``In(stream.Signature(CheckRequest, always_ready=True))``
        Requests.
    shared : ``In(1)``, ``rule`` : ``In(FunctionRule)``
        Whether the request ``i`` is of a shared function; of which one, 1 clock later.
    table : ``Out(guest_read())``
        But for ``idle`` and ``hold``.
    o : ``Out(stream.Signature(Checked, always_ready=True))``
        One for each request.
    ring : ``Out(stream.Signature(RingAccess, always_ready=True))``
        One in the clock of each ``o`` with ``ring``.
    """

    def __init__(self, *, weak=False):
        self.weak = weak
        super().__init__({
            "settings": In(AddressSettings),
            "i":        In(stream.Signature(CheckRequest, always_ready=True)),
            "rule":     In(FunctionRule),
            "shared":   In(1),
            "table":    Out(guest_read()),
            "o":        Out(stream.Signature(Checked, always_ready=True)),
            "ring":     Out(stream.Signature(RingAccess, always_ready=True)),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def _off(self, name):
        """Return whether the defence ``name`` is switched off."""
        return self.weaken[name] if self.weak else C(0, 1)

    def elaborate(self, platform):
        m = Module()
        running = Signal(CHECK_LATENCY)
        # The mask is kept: what it depends on rests, and what depends on it is long.
        mask = Signal(KEY_WIDTH)
        m.d.sync += [
            running.eq(Cat(self.i.valid, running)),
            mask.eq(Cat(self.settings.key_bits > n for n in range(KEY_WIDTH))),
        ]

        shift, upper = self.settings.offset_bits[:4], self.i.p.iova[32:]
        request, shared = Signal(CheckRequest), Signal()
        fields, far = Signal(32), Signal()
        m.d.sync += [
            request.eq(self.i.p),
            shared.eq(self.shared),
            fields.eq(upper >> shift),
            # A pair number has 10 bits, so bit 32 of the offset is its last one.
            far.eq(Cat(upper[n] & (shift > n) for n in range(1, 15)).any()),
        ]
        looked = self._look(m, request, self.rule, shared, fields, far, mask)
        m.d.comb += self.table.valid.eq(running[1])

        # The rest waits for the table.
        for _ in range(READ_LATENCY - 1):
            before, looked = looked, Signal(_Looked)
            m.d.sync += looked.eq(before)
        m.submodules.late = late = DelayLine(CheckRequest, clocks=CHECK_LATENCY)
        m.d.comb += [late.i.eq(self.i.p), self.o.valid.eq(running[-1])]
        self._judge(m, looked, late.o, mask)
        return m

    def _look(self, m, request, rule, shared, fields, far, mask):
        """Split the address; find the guest; 1 clock more for what needs comparing."""
        guard, kind, colour = fields[0], Signal(Kind), fields[4:12]
        key, rest = fields[12:12 + KEY_WIDTH], fields[12 + KEY_WIDTH:]
        guest = Signal(10)
        m.d.comb += kind.eq(fields[1:4])
        with m.Switch(rule.mode):
            with m.Case(FunctionMode.COLOUR):
                m.d.comb += guest.eq(colour)
            with m.Case(FunctionMode.RID):
                m.d.comb += guest.eq((request.rid >> rule.stride_log2) + rule.rid_base)
            with m.Default():
                m.d.comb += guest.eq(request.pid + rule.pasid_base)

        first, distance, count = Signal(_Looked), Signal(20), Signal.like(rule.count)
        by_pasid, pv, beyond = Signal(), Signal(), Signal()
        coloured = shared & (rule.mode == FunctionMode.COLOUR)
        zero     = colour == 0
        bad_kind = Mux(request.write, (kind != Kind.DATA) & (kind != Kind.RING),
                       kind.as_value()[1:] == 3)
        m.d.sync += [
            self.table.guest.eq(guest),
            first.bypass.eq(request.bypass),
            first.free.eq(~shared),
            first.manager.eq(coloured & (zero | (self._off("manager") & (kind == Kind.DATA)))),
            first.coloured.eq(coloured),
            first.odd.eq(((request.at != 0) | (request.pv & (rule.mode != FunctionMode.PASID)))
                         & ~self._off("at")),
            first.wrong.eq(coloured & ((key & ~mask).any() | rest.any())),
            first.strange.eq(fields.any() & ~self._off("manager")),
            first.stray.eq(coloured & ((guard & ~self._off("guard")) | bad_kind
                                       | ((kind == Kind.RING) & far))),
            first.kind.eq(kind),
            first.key.eq(key & mask),
            first.index.eq(rule.index),
            distance.eq(request.pid - rule.pasid),
            count.eq(rule.count),
            by_pasid.eq(shared & (rule.mode == FunctionMode.PASID)),
            pv.eq(request.pv),
            beyond.eq(guest[COLOUR_WIDTH:].any()),
        ]
        with m.Switch(kind):
            with m.Case(Kind.PRP_LIST):
                m.d.sync += first.template.eq(rule.prp_list)
            with m.Case(Kind.RANGE_LIST):
                m.d.sync += first.template.eq(rule.range_list)
            with m.Default():
                m.d.sync += first.template.eq(rule.typed_list)

        # A PASID that is no guest's is the manager's, as is none at all.
        looked = Signal(_Looked)
        m.d.sync += [
            looked.eq(first),
            looked.free.eq(first.free | (by_pasid & ~(pv & (distance < count)))),
            looked.wrong.eq(first.wrong | beyond),
            looked.colour.eq(self.table.guest),
        ]
        return looked

    def _judge(self, m, looked, request, mask):
        """Compare with what the table knows, then decide."""
        found = self.table.found
        known, device_id, base = Signal(_Looked), Signal(24), Signal(10)
        exists, broken, right, frozen = Signal(), Signal(), Signal(), Signal()
        same_key = ~((found.entry.key & mask) ^ looked.key).any() | self._off("key")
        m.d.sync += [
            known.eq(looked),
            exists.eq(found.exists),
            broken.eq(found.bad | found.odd),
            right.eq((passes(found.state) | self._off("state"))
                     & (same_key | ~looked.coloured)
                     & (found.entry.function == looked.index)),
            frozen.eq(found.fatal & (found.state != GuestState.RUN)),
            device_id.eq(Mux(looked.coloured & (looked.kind == Kind.RING),
                             found.entry.ring_device_id, found.entry.device_id)),
            base.eq(1 - found.entry.first_pair),
        ]

        o, ring, pair = self.o.p, self.ring.p, request.iova[RING_LOG2 + 1:]
        passed = Signal()
        with m.If(known.bypass | known.free):
            m.d.comb += passed.eq(1)
        with m.Elif(known.odd | (known.manager & known.strange)):
            m.d.comb += o.cause.eq(DenialCause.KEY)
        with m.Elif(known.manager):
            m.d.comb += passed.eq(1)
        with m.Elif(~exists | known.wrong):
            m.d.comb += o.cause.eq(DenialCause.KEY)
        with m.Elif(broken):
            m.d.comb += o.cause.eq(DenialCause.TABLE)
        with m.Elif(~right):
            m.d.comb += o.cause.eq(DenialCause.KEY)
        with m.Elif(known.stray):
            m.d.comb += o.cause.eq(DenialCause.ADDRESS)
        with m.Else():
            m.d.comb += [o.guest.eq(1), o.ring.eq(known.coloured & (known.kind == Kind.RING))]
        m.d.comb += [
            o.freeze.eq(~frozen | broken),
            o.shared.eq(~passed),
            o.strip.eq(known.coloured & (o.guest | (known.manager & self._off("manager")))),
            o.coloured.eq(known.coloured),
            o.kind.eq(known.kind),
            o.colour.eq(known.colour),
            o.key.eq(known.key),
            o.device_id.eq(device_id),
            o.template.eq(known.template),
            o.number.eq(pair + base),
            self.ring.valid.eq(self.o.valid & o.ring),
            ring.write.eq(request.write),
            ring.pair.eq(pair),
            ring.side.eq(request.iova[RING_LOG2]),
            ring.colour.eq(known.colour),
            ring.function.eq(known.index),
            # Dwords count as a whole.
            ring.offset.eq(Cat(C(0, 2), request.iova[2:RING_LOG2])),
            ring.length.eq(request.length_dw << 2),
            ring.empty.eq(request.empty),
        ]
