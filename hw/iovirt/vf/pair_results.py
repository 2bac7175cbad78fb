"""What the operations of the pair engine tell."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import CreditQueue, StreamQueue

from .pair_layouts import Counted, PairClient, Placed, line
from .share_layouts import (
    COLOUR_WIDTH,
    WINDOW,
    Completed,
    Denial,
    DenialCause,
    GrantVerdict,
    PairDoorbellVerdict,
    RingVerdict,
)

__all__ = ["PairResults", "guest_wake"]

#: Results that can be under way of each client.
PLACES = 16


def guest_wake():
    """Something happened to a guest, seen from where."""
    return wiring.Signature({"valid": Out(1), "colour": Out(COLOUR_WIDTH)})


class PairResults(wiring.Component):
    """Tell each client the results of its operations, in order; and others what they mean.

    An operation starts only after its results have a place, so no client waits for another one. Of
    denials, those that find no place are lost.

    Members
    -------
    free : ``Out(1).array(3)``, ``reserve`` : ``In(1).array(3)``
        Places for results, by :class:`PairClient`; for RING, one for completions too.
    placed_valid : ``In(1)``, ``placed`` : ``In(Placed)``
        Operations.
    allow : ``In(WINDOW)``
        What was allowed to the read that was ``placed`` 5 clocks ago.
    counted_valid : ``In(1)``, ``counted`` : ``In(Counted)``
        The operation that was ``placed`` 7 clocks ago.
    moved : ``In(1)``
        It was a fetch that made room for more.
    ring_verdict, doorbell_verdict, grant_verdict, completed, denial : ``Out(stream...)``
        Results.
    lost : ``Out(1)``
        Pulse: a denial was lost.
    wake : ``Out``
        Pulse: something may be grantable for the guest ``colour``.
    """

    def __init__(self):
        super().__init__({
            "free":             Out(1).array(3),
            "reserve":          In(1).array(3),
            "placed_valid":     In(1),
            "placed":           In(Placed),
            "allow":            In(WINDOW),
            "counted_valid":    In(1),
            "counted":          In(Counted),
            "moved":            In(1),
            "ring_verdict":     Out(stream.Signature(RingVerdict)),
            "doorbell_verdict": Out(stream.Signature(PairDoorbellVerdict)),
            "grant_verdict":    Out(stream.Signature(GrantVerdict)),
            "completed":        Out(stream.Signature(Completed)),
            "denial":           Out(stream.Signature(Denial)),
            "lost":             Out(1),
            "wake":             Out(guest_wake()),
        })

    def elaborate(self, platform):
        m = Module()
        shapes = {PairClient.RING: RingVerdict, PairClient.DOORBELL: PairDoorbellVerdict,
                  PairClient.GRANT: GrantVerdict}
        full    = self._complete(m)
        outputs = [self.ring_verdict, self.doorbell_verdict, self.grant_verdict]
        ring, doorbell, grant = queues = [CreditQueue(shape, depth=PLACES)
                                          for shape in shapes.values()]
        for client, queue, output in zip(shapes, queues, outputs, strict=True):
            m.submodules[client.name.lower()] = queue
            wiring.connect(m, queue.o, wiring.flipped(output))
            m.d.comb += [
                self.free[client.value].eq(queue.free & ~full if client is PairClient.RING
                                           else queue.free),
                queue.reserve.eq(self.reserve[client.value]),
            ]
        self._ring(m, ring.i)

        done  = self.counted
        is_of = lambda client: self.counted_valid & (done.client == client)
        m.d.comb += [
            doorbell.i.valid.eq(is_of(PairClient.DOORBELL)),
            grant.i.valid.eq(is_of(PairClient.GRANT)),
            grant.i.p.count.eq(done.granted),
            grant.i.p.granted.eq(done.state.granted),
        ]
        m.d.comb += [getattr(doorbell.i.p, name).eq(getattr(done, name)) for name in
                     ("ok", "value", "ring", "tail", "function")]
        m.d.comb += [getattr(grant.i.p, name).eq(getattr(done, name)) for name in
                     ("more", "tail", "function", "paired")]
        self._deny(m)
        m.d.sync += [
            self.wake.valid.eq(self.counted_valid & (done.wake | (done.ok & self.moved))),
            self.wake.colour.eq(done.owner),
        ]
        return m

    def _ring(self, m, verdict):
        placed  = line(m, self.placed, 5)[5]
        running = line(m, self.placed_valid & (self.placed.client == PairClient.RING), 5)[5]
        entry   = placed.entry
        m.d.comb += [
            verdict.valid.eq(running),
            verdict.p.ok.eq(placed.ok),
            # No template says what completions look like.
            verdict.p.valid.eq(placed.known & (placed.write | ~placed.side)),
            verdict.p.size_log2.eq(Mux(placed.side, entry.cq_size_log2, entry.size_log2)),
            verdict.p.template.eq(entry.template),
            verdict.p.shift.eq(entry.shift),
            verdict.p.patch_id.eq(entry.patch_id & placed.write & placed.side),
            verdict.p.allow.eq(self.allow),
        ]

    def _complete(self, m):
        """Queue completions. Each ring access has a place until it is known to need none."""
        ends = self.counted_valid & (self.counted.client == PairClient.RING)
        m.submodules.completed = queue = StreamQueue(Completed, depth=2 * PLACES)
        wiring.connect(m, queue.o, wiring.flipped(self.completed))
        places = Signal(range(2 * PLACES + 1))
        full   = Signal()
        leaves, unused = queue.o.valid & queue.o.ready, ends & ~queue.i.valid
        reserve = self.reserve[PairClient.RING.value]
        m.d.comb += [
            queue.i.valid.eq(ends & (self.counted.completed != 0)),
            queue.i.p.colour.eq(self.counted.owner),
            queue.i.p.count.eq(self.counted.completed),
            full.eq(places == 2 * PLACES),
        ]
        m.d.sync += places.eq(places + reserve - leaves - unused)
        return full

    def _deny(self, m):
        """Queue denials; an address is that of the ring."""
        m.submodules.denials = queue = StreamQueue(Denial, depth=1)
        wiring.connect(m, queue.o, wiring.flipped(self.denial))
        done = self.counted
        m.d.comb += [
            queue.i.valid.eq(self.counted_valid & (done.bad | done.odd)),
            queue.i.p.cause.eq(Mux(done.bad, DenialCause.TABLE, DenialCause.ODD)),
            queue.i.p.colour.eq(done.colour),
            queue.i.p.address.eq(Cat(
                Mux(done.client == PairClient.RING, done.offset, 0), done.side, done.pair)),
        ]
        m.d.sync += self.lost.eq(queue.i.valid & ~queue.i.ready)
