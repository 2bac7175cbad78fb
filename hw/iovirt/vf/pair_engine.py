"""Queue pairs: who may use them, what was granted, and what was fetched."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature
from iovirt.stream import StreamQueue

from .pair_admission import PairAdmission
from .pair_counts import PairCounts
from .pair_fetch import PairFetch
from .pair_layouts import PairClient, check_pairs
from .pair_place import PairPlace
from .pair_results import PairResults, guest_wake
from .pair_table import PairTable
from .pair_window import PairWindow
from .share_layouts import (
    Completed,
    Denial,
    Grant,
    GrantVerdict,
    PairDoorbell,
    PairDoorbellVerdict,
    RingAccess,
    RingVerdict,
    Weaken,
)

__all__ = ["PairEngine"]

#: Clocks from the choice of an operation until its state is written.
STAGES = 15


class PairEngine(wiring.Component):
    """Keep the queue pairs of all guests; judge every access, doorbell and grant.

    A command is granted only if it was requested, if its entry is in the window of 64 entries that
    have not been fetched, and if its completion has room; it is granted before anybody hears of it.
    An entry is given to the device once between its grants, and only whole. Completions count only
    in order, and only if commands are in flight. Nobody changes the state of a pair of others.

    ::

        ring, doorbell, grant, window -> admission -> table -> place -+-> counts -+-> table (state)
                                                                      +-> fetch --+
                                                                      +----+------+-> results

    Operations of one pair follow each other at 15 clocks or more. When others wait for that, ring
    accesses are not held up, nor are others when ring accesses do.
    Latency is 16 clocks from ``ring`` to ``ring_verdict``, 18 of doorbells and grants; throughput
    is 1 operation per clock. Ring accesses go first, others wait for at most 15 of them. Verdicts
    of a client are in order, and no client waits until another one takes its verdicts; but ring
    accesses do wait until ``completed`` is taken. Nothing is accepted until ``ready``, ``pairs``
    clocks after reset.

    Parameters
    ----------
    pairs : :class:`int`
        Queue pairs, a power of two in 4..1024.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`; at least 64 bytes per pair.
    weak : :class:`bool`
        There is ``weaken``. Never in a product.

    Members
    -------
    ring : ``In(stream.Signature(RingAccess))``, ``ring_verdict`` : ``Out(...RingVerdict)``
        Accesses of devices.
    doorbell : ``In(...PairDoorbell)``, ``doorbell_verdict`` : ``Out(...PairDoorbellVerdict)``
        Accesses of guests.
    grant : ``In(...Grant)``, ``grant_verdict`` : ``Out(...GrantVerdict)``
        Offers of the scheduler.
    window : ``In(RegisterPortSignature(...))``
        Registers, see :class:`PairWindow`. Pair n is at 64 n.
    completed : ``Out(...Completed)``
        Commands that have completed, and those that were in flight when their pair got a new entry.
    wake : ``Out``
        Pulse ``valid``: something may be grantable for the guest ``colour``.
    denial : ``Out(...Denial)``
        Odd completions, and tables with errors that cannot be corrected. Of an address, there are
        offset, side and pair as in the address of a ring; there is no ``device_id``. No colour for
        grants.
    lost : ``Out(1)``
        Pulse: a denial was lost.
    ready : ``Out(1)``
        All pairs are invalid, or were written since.
    corrected, uncorrectable : ``Out(1)``
        Pulses: an operation met an error in the tables.
    weaken : ``In(Weaken)``
        Only if ``weak``. ``once``, ``window``, ``owner``, ``depth``, ``tail``, ``head``,
        ``cq_space``, ``ecc``; ``doorbell`` and ``page_count`` let doorbells of others pass.
    """

    def __init__(self, *, pairs, data_width, address_width, weak=False):
        check_pairs(pairs)
        self.pairs     = pairs
        self.weak      = weak
        self.admission = PairAdmission(pairs=pairs, stages=STAGES)
        self.table     = PairTable(pairs=pairs, weak=weak)
        self._window   = PairWindow(pairs=pairs, data_width=data_width,
                                    address_width=address_width)
        super().__init__({
            "ring":             In(stream.Signature(RingAccess)),
            "ring_verdict":     Out(stream.Signature(RingVerdict)),
            "doorbell":         In(stream.Signature(PairDoorbell)),
            "doorbell_verdict": Out(stream.Signature(PairDoorbellVerdict)),
            "grant":            In(stream.Signature(Grant)),
            "grant_verdict":    Out(stream.Signature(GrantVerdict)),
            "window":           In(RegisterPortSignature(data_width=data_width,
                                                         address_width=address_width)),
            "completed":        Out(stream.Signature(Completed)),
            "wake":             Out(guest_wake()),
            "denial":           Out(stream.Signature(Denial)),
            "lost":             Out(1),
            "ready":            Out(1),
            "corrected":        Out(1),
            "uncorrectable":    Out(1),
        } | ({"weaken": In(Weaken)} if weak else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.admission = admission = self.admission
        m.submodules.table     = table     = self.table
        m.submodules.window    = window    = self._window
        m.submodules.place     = place     = PairPlace(weak=self.weak)
        m.submodules.counts    = counts    = PairCounts(weak=self.weak)
        m.submodules.fetch     = fetch     = PairFetch(weak=self.weak)
        m.submodules.results   = results   = PairResults()
        wiring.connect(m, wiring.flipped(self.window), window.port)
        for name in ("ring_verdict", "doorbell_verdict", "grant_verdict", "completed", "wake",
                     "denial"):
            wiring.connect(m, getattr(results, name), wiring.flipped(getattr(self, name)))
        self._enter(m, admission, window, results)

        m.d.comb += [
            table.i_valid.eq(admission.o_valid),
            table.i.eq(admission.o),
            table.entry.eq(window.entry),
            window.done.eq(table.o_valid & (table.o.op.client == PairClient.WINDOW)),
            window.looked.eq(table.o),
            place.i_valid.eq(table.o_valid),
            place.i.eq(table.o),
            counts.i_valid.eq(place.o_valid),
            counts.i.eq(place.o),
            fetch.i.eq(place.o),
            results.placed_valid.eq(place.o_valid),
            results.placed.eq(place.o),
            results.allow.eq(fetch.allow),
            results.counted_valid.eq(counts.o_valid),
            results.counted.eq(counts.o),
            results.moved.eq(fetch.moved),
            table.write_en.eq(counts.o_valid & counts.o.write),
            table.write_pair.eq(counts.o.pair),
            table.write_state.eq(counts.o.state),
            table.write_state.first.eq(fetch.first),
            table.write_state.fetched.eq(fetch.fetched),
            self.lost.eq(results.lost),
            self.ready.eq(table.ready),
            self.corrected.eq(table.corrected),
            self.uncorrectable.eq(table.uncorrectable),
        ]
        if self.weak:
            m.d.comb += [part.weaken.eq(self.weaken) for part in (place, counts, fetch)]
            m.d.comb += table.ignore.eq(self.weaken.ecc)
        return m

    def _enter(self, m, admission, window, results):
        """Make operations of what the clients want."""
        fields = {
            PairClient.RING: (self.ring, {"write": "write", "side": "side", "colour": "colour",
                                          "function": "function", "value": "offset",
                                          "length": "length", "empty": "empty"}),
            PairClient.DOORBELL: (self.doorbell, {"side": "side", "colour": "colour",
                                                  "value": "value"}),
            PairClient.GRANT: (self.grant, {"value": "limit"}),
        }
        for client, (port, names) in fields.items():
            number, depth = client.value, 2 if client is PairClient.RING else 1
            m.submodules[client.name.lower()] = queue = StreamQueue(port.p.shape(), depth=depth)
            wiring.connect(m, wiring.flipped(port), queue.i)
            i, asked = admission.i[number], queue.o.p
            m.d.comb += [
                i.p.client.eq(client),
                i.p.pair.eq(asked.pair),
                i.valid.eq(queue.o.valid),
                queue.o.ready.eq(i.ready),
                admission.free[number].eq(results.free[number] & self.ready),
                results.reserve[number].eq(admission.reserve[number]),
            ]
            m.d.comb += [getattr(i.p, name).eq(getattr(asked, other))
                         for name, other in names.items()]
            if client is PairClient.DOORBELL:
                m.d.comb += i.p.write.eq(~asked.read)
        wiring.connect(m, window.op, admission.i[PairClient.WINDOW.value])
        number = PairClient.WINDOW.value
        m.d.comb += [
            admission.free[number].eq(results.free[number] & self.ready),
            results.reserve[number].eq(admission.reserve[number]),
        ]
