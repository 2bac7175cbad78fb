"""The front half of the interrupt block: from interrupts to events."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from iovirt.axi import table_write_request, table_write_response
from iovirt.csr.port import RegisterPortSignature
from iovirt.pcie.layouts import ErrorRecord
from iovirt.stream import StreamArbiter, StreamQueue

from .denials import DenialRecorder
from .dispatch import Arrivals, Dispatcher
from .forward import MsiForwarder
from .in_flight import InFlight
from .layouts import MsiWrite, Notice, event, queue_width, room, verdict
from .pending import PendingSlots
from .remap_table import RemapTable
from .replay import ReplayList
from .table_window import TableWindow
from .waits import QueueWaits

__all__ = ["InterruptFront"]


class InterruptFront(wiring.Component):
    """Check interrupts against the remap table, and turn them into events for the event queues.

    ::

      msi ----> Arrivals --> Dispatcher --> RemapTable --> PendingSlots --+--> event
      notice -->                ^  ^ ^                      ^    |   |    +--> forward writes
                   ReplayList --+  | |          QueueWaits -+    |   |    +--> error
                        ^          | +- InFlight <- verdict      |   |
                        |          |     ^                       |   |
      registers -----------> TableWindow-|-----------------------+   |
                        +----------------+---------------------------+ (tokens, flights)

    Each interrupt that an entry admits leads to exactly one record or forwarded write, alone or
    counted with others of its source, however long its queue is full (rule S7); but a queue that
    drops is asked only once. Interrupts are never stopped by queues: only accesses to the table
    hold ``msi`` and ``notice`` up, by a few clocks each, and interrupts of one source less than 4
    clocks apart.

    An event comes 11 clocks after its interrupt; throughput is 1 event per clock if the back
    answers within ``events`` - 4 clocks. The tables are cleared in ``entries`` + 16 clocks after
    reset; interrupts and register accesses wait until then.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table, a power of two in 16..8192. The message table has 16 more.
    queues : :class:`int`
        Number of event queues, 1 to 256.
    events : :class:`int`
        Events without verdict, at most; a power of two in 2..64.
    address_width, tag_width : :class:`int`
        Of the table port.
    register_data_width, register_address_width : :class:`int`
        Of the register port.

    Members
    -------
    msi : ``In(stream.Signature(MsiWrite))``
        Writes of devices; all earlier posted writes of their sources are observable.
    notice : ``In(stream.Signature(Notice))``
        Interrupts that are no writes.
    registers : ``In(RegisterPortSignature(...))``
        Window of the table; see :class:`TableWindow`.
    event : ``Out(stream.Signature(event(...)))``
    verdict : ``In(stream.Signature(verdict(...)))``
        One per event, in order.
    room : ``In(stream.Signature(room(...)))``
        Taken when no verdict is offered or being dealt with. It may be offered in the clock of the
        verdict that it belongs to, not earlier.
    request : ``Out(stream.Signature(table_write_request(...)))``,
    response : ``In(stream.Signature(table_write_response(...)))``
        Forwarded interrupts.
    error : ``Out(stream.Signature(ErrorRecord))``
        Denied interrupts and forwarded ones that failed. The address is 8 times the index of the
        entry, for a failed write that of the write.
    lost : ``Out(1)``
        For one clock: an error found ``error`` full.
    corrected, uncorrectable : ``Out(1)``
        Pulses: an error in the table was met.
    interval : ``In(24)``
        Length of a storm interval in clocks; 0: no limits.
    arrived, forwarded, tried : ``Out(1)``
        Pulses, each in order: what becomes of an interrupt that came is known; one is forwarded;
        the write of one is requested, or never will be.
    flying : ``Out(events)``
        Events whose verdict has not been dealt with.
    """

    def __init__(self, *, entries, queues, events=32, address_width, tag_width,
                 register_data_width, register_address_width):
        self.entries = entries
        self.queues  = queues
        self.events  = events
        queue, tag   = queue_width(queues), ceil_log2(events)
        self._arrivals   = Arrivals(entries=entries)
        self._dispatcher = Dispatcher(entries=entries)
        self._table      = RemapTable(entries=entries)
        self._slots      = PendingSlots(entries=entries, queues=queues, queue_width=queue,
                                        tag_width=tag)
        self._flights    = InFlight(entries=entries, queue_width=queue, events=events)
        self._replay     = ReplayList(entries=entries, queues=queues)
        self._waits      = QueueWaits(queues=queues)
        self._window     = TableWindow(entries=entries, data_width=register_data_width,
                                       address_width=register_address_width)
        self._forwarder  = MsiForwarder(address_width=address_width, tag_width=tag_width)
        super().__init__({
            "msi":       In(stream.Signature(MsiWrite)),
            "notice":    In(stream.Signature(Notice)),
            "registers": In(RegisterPortSignature(data_width=register_data_width,
                                                  address_width=register_address_width)),
            "event":     Out(stream.Signature(event(queue_width=queue, tag_width=tag))),
            "verdict":   In(stream.Signature(verdict(tag_width=tag))),
            "room":      In(stream.Signature(room(queue_width=queue))),
            "request":   Out(stream.Signature(table_write_request(
                address_width=address_width, tag_width=tag_width))),
            "response":  In(stream.Signature(table_write_response(tag_width=tag_width))),
            "error":     Out(stream.Signature(ErrorRecord)),
            "lost":      Out(1),
            "corrected": Out(1),
            "uncorrectable": Out(1),
            "interval":  In(24),
            "arrived":   Out(1),
            "forwarded": Out(1),
            "tried":     Out(1),
            "flying":    Out(events),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arrivals   = arrivals   = self._arrivals
        m.submodules.dispatcher = dispatcher = self._dispatcher
        m.submodules.table      = table      = self._table
        m.submodules.slots      = self._slots
        m.submodules.flights    = flights    = self._flights
        m.submodules.replay     = replay     = self._replay
        m.submodules.waits      = self._waits
        m.submodules.window     = window     = self._window
        m.submodules.forwarder  = forwarder  = self._forwarder
        m.submodules.events     = events     = StreamQueue(self.event.payload.shape(),
                                                           depth=self.events)
        outer = wiring.flipped(self)
        wiring.connect(m, outer.msi, arrivals.msi)
        wiring.connect(m, outer.notice, arrivals.notice)
        wiring.connect(m, outer.registers, window.port)
        wiring.connect(m, outer.verdict, flights.verdict)
        wiring.connect(m, outer.request, forwarder.request)
        wiring.connect(m, outer.response, forwarder.response)
        wiring.connect(m, events.o, outer.event)
        wiring.connect(m, flights.spill, dispatcher.spill)
        wiring.connect(m, window.access, dispatcher.access)
        wiring.connect(m, arrivals.o, dispatcher.arrival)
        wiring.connect(m, replay.o, dispatcher.replay)
        wiring.connect(m, dispatcher.o, table.i)
        wiring.connect(m, window.write, table.write)
        self._connect_slots(m)
        self._connect_errors(m)
        m.d.comb += [
            self.arrived.eq(self._slots.arrive),
            self.forwarded.eq(self._slots.forward),
            self.tried.eq(self._forwarder.tried),
            self.flying.eq(self._flights.busy),
        ]
        return m

    def _connect_slots(self, m):
        table, slots, flights = self._table, self._slots, self._flights
        replay, waits, window = self._replay, self._waits, self._window
        events, forwarder     = m.submodules.events, self._forwarder
        index = slots.o.index
        m.d.comb += [
            slots.i_valid.eq(table.o_valid),
            slots.i.eq(table.o),
            slots.interval.eq(self.interval),
            slots.waiting.flying.eq(flights.flying),
            slots.waiting.blocked.eq(waits.blocked.bit_select(slots.queue, 1)),
            slots.waiting.awake.eq(replay.awake.bit_select(slots.queue, 1)),
            slots.flight_free.eq(flights.free),
            slots.tag.eq(flights.tag),
            slots.forward_free.eq(forwarder.free),
            slots.dropped.eq(flights.dropped),
            slots.stale.eq(flights.stale),
            flights.next_tag.eq(slots.next_tag),
            slots.last_enable.eq(flights.last_enable),
            slots.last_index.eq(flights.last_index),
            slots.last_position.eq(flights.last_position),
            flights.index.eq(table.o.operation.index),
            flights.add.eq(slots.send),
            flights.event.index.eq(index),
            flights.event.queue.eq(slots.event.queue),
            flights.event.what.eq(slots.what),
            flights.hold.eq(slots.commit),
            flights.spilt.eq(slots.spill),
            flights.spilt_tag.eq(slots.o.tag),
            flights.commit.eq(slots.commit),
            flights.commit_index.eq(index),
            flights.commit_drop.eq(~slots.valid),
            events.i.valid.eq(slots.send),
            events.i.payload.eq(slots.event),
            forwarder.valid.eq(slots.forward),
            forwarder.i.eq(slots.forwarded),
            forwarder.mark.eq(slots.commit),
            replay.push.eq(slots.push),
            replay.push_index.eq(index),
            replay.used.eq(slots.replay),
            window.done.eq(slots.commit | slots.read),
            window.entry.eq(slots.entry),
            window.fatal.eq(slots.fatal),
            window.old.eq(flights.old | forwarder.marked),
            waits.full.eq(flights.full),
            waits.full_queue.eq(flights.full_queue),
            # Room may not overtake the verdict that it belongs to.
            self.room.ready.eq(flights.settled & ~self.verdict.valid),
            waits.room.eq(self.room.valid & self.room.ready),
            waits.room_queue.eq(self.room.p.queue),
            replay.wake.eq(waits.room),
            replay.wake_queue.eq(self.room.p.queue),
        ]

    def _connect_errors(self, m):
        slots, table, forwarder = self._slots, self._table, self._forwarder
        m.submodules.denials = denials = DenialRecorder()
        m.submodules.errors  = errors  = StreamArbiter(ErrorRecord, ports=2)
        wiring.connect(m, denials.error, errors.i[0])
        wiring.connect(m, forwarder.error, errors.i[1])
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        m.d.comb += [
            denials.valid.eq(slots.deny),
            denials.i.eq(slots.denial),
            self.lost.eq(denials.lost | forwarder.lost),
            self.corrected.eq(table.corrected),
            self.uncorrectable.eq(table.uncorrectable),
        ]
