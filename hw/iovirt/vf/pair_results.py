"""What the operations of the pair engine tell."""

from amaranth import *
from amaranth.lib import data, stream, wiring
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
    denials, those that find no place are lost. WINDOW has a place for completions of its own, so
    that ring accesses cannot keep it from software.

    Members
    -------
    free : ``Out(1).array(4)``, ``reserve`` : ``In(1).array(4)``
        Places for results, by :class:`PairClient`; for RING, one for completions too, for WINDOW
        only that.
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
            "free":             Out(1).array(4),
            "reserve":          In(1).array(4),
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
        """Queue completions. Each operation has a place until it is known to need none."""
        counted, both = self.counted, (PairClient.RING, PairClient.WINDOW)
        clients = [client.value for client in both]
        ends    = [self.counted_valid & (counted.client == client) for client in both]
        kept = data.StructLayout({"completed": Completed, "window": 1})
        m.submodules.completed = queue = StreamQueue(kept, depth=2 * PLACES)
        out, used = self.completed, counted.completed != 0
        places, taken = Signal(range(2 * PLACES)), Signal()
        m.d.comb += [
            out.valid.eq(queue.o.valid),
            queue.o.ready.eq(out.ready),
            out.payload.eq(queue.o.p.completed),
            queue.i.valid.eq((ends[0] | ends[1]) & used),
            queue.i.p.completed.colour.eq(counted.owner),
            queue.i.p.completed.count.eq(counted.completed),
            queue.i.p.window.eq(ends[1]),
            self.free[clients[1]].eq(~taken),
        ]
        leaves = [out.valid & out.ready & (queue.o.p.window == n) for n in range(2)]
        m.d.sync += [
            places.eq(places + self.reserve[clients[0]] - leaves[0] - (ends[0] & ~used)),
            taken.eq(self.reserve[clients[1]] | (taken & ~leaves[1] & ~(ends[1] & ~used))),
        ]
        return places == 2 * PLACES - 1

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
