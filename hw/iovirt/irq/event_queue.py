"""Event queues: rings of records in memory, read without a trap."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import table_write_request, table_write_response
from ..csr.port import RegisterPortSignature
from ..stream import StreamArbiter
from .lanes import PriorityLanes
from .layouts import event, queue_width, room, verdict
from .notify import Notifier
from .queue_access import QueueAccess
from .queue_layouts import SlotOpKind, access
from .record_writer import RecordWriter
from .room_gate import RoomGate
from .slots import SlotReserver
from .tails import QueueTails
from .word_port import WordPort

__all__ = ["EventQueues"]

#: Bytes from one queue to the next in the hypervisor's window, and in that of the guests.
CONTROL_STRIDE, GUEST_STRIDE = 64, 4096


class EventQueues(wiring.Component):
    """Write events to rings of 32-byte records, and notify their readers.

    ::

        event --> PriorityLanes --> SlotReserver --> RecordWriter --> QueueTails --> Notifier
                     |  ^ verdict    |  ^ ^ stop      |   ^            | |  ^            |
        verdict <----'  '------------'  | '-----------|---|------------' |  '- notified -'
                                        |          table port            |
        control, guest --> WordPort --> QueueAccess ---------------------'

    * An accepted event has its slot; never are there more records than slots.
    * A tail moves, and a notification leaves, only after the record is observable. Tails move in
      the order of records of a queue.
    * A queue that is full, off, or that has the source's last record unread says so in the
      verdict; ``room`` says when to ask again. Nothing waits in here for a reader of a queue.
    * A queue whose record could not be written twice stops with an error; others go on.
    * A notification that could not be written is repeated, at most one of a queue at a time, until
      it is written, the reader has done what it would be told of, or the queue is masked or stops.

    Latency, without memory: 9 clocks from ``event`` to the first write, 2 from a response to the
    next write of the record, 6 from the last response to the tail, 5 more to the write of an MSI.
    Throughput is that of :class:`RecordWriter`, for one queue or many. Not accepted until
    ``16 * queues`` clocks after reset.

    Parameters
    ----------
    queues : :class:`int`
        Number of queues, a power of two of at least 2.
    slots : :class:`int`
        Records on their way to memory, a power of two.
    address_width, table_width : :class:`int`
        Of the table port.
    tag_width : :class:`int`
        Width of the tags of events.
    wires : :class:`int`
        Wires for notification, 1 to 32.
    tick_log2 : :class:`int`
        Clocks per unit of hold-off time, as a power of two.
    control_page, guest_page : :class:`int`
        First page of the hypervisor's window (64 bytes a queue) and of the guests' (4 KiB a queue).
    bus_width, bus_address_width : :class:`int`
        Of the register bus.

    Members
    -------
    event, verdict, room : ``In(...)``, ``Out(...)``, ``Out(...)``
        As of :mod:`.layouts`.
    record_request, record_response, notify_request, notify_response : ``Out(...)``, ``In(...)``
        Two clients of the table port, with tags of ``write_tag_width``.
    control, guest : ``In(RegisterPortSignature(...))``
        Windows of registers.
    time : ``In(56)``
        Time stamp of records.
    wires : ``Out(wires)``
        Notification by wire, until cleared.
    clear_wires : ``In(wires)``
        Wires to clear.
    dropped, forged, stopped : ``Out(1)``
        Pulses: event lost by policy, HEAD refused, queue stopped by an error.
    accepted, answered, record, notified : ``Out(1)``
        Pulses: an event will have a record; a record is done with, in the order of these; it has
        been written; a reader has been notified.
    stopped_queue : ``Out(...)``
        The queue that stopped, with ``stopped``.
    unnotified : ``Out(1)``, ``unnotified_queue`` : ``Out(...)``
        Pulse: a notification of this queue could not be written, the first in a row.
    """

    def __init__(self, *, queues, slots, address_width, table_width, tag_width, wires, tick_log2,
                 control_page, guest_page, bus_width, bus_address_width):
        if type(tag_width) is not int or tag_width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {tag_width!r}")
        if type(queues) is not int or queues < 2:
            raise ValueError("Number of queues must be a power of two of at least 2, not "
                             f"{queues!r}")
        width = queue_width(queues)
        bus = {"data_width": bus_width, "address_width": bus_address_width}
        self._lanes  = PriorityLanes(event(queue_width=width, tag_width=tag_width),
                                     verdict(tag_width=tag_width))
        self._slots  = SlotReserver(queues=queues, address_width=address_width,
                                    tag_width=len(self._lanes.o.p.tag))
        self._rooms  = RoomGate(queues=queues, queue_width=width, places=self._lanes.places)
        self._writer = RecordWriter(queue_width=width, address_width=address_width,
                                    data_width=table_width, slots=slots)
        self._tails  = QueueTails(queues=queues, tick_log2=tick_log2)
        self.write_tag_width = max(width, self._writer.tag_width)
        self._notifier = Notifier(queues=queues, queue_width=width, address_width=address_width,
                                  tag_width=self.write_tag_width, wires=wires)
        self._access = QueueAccess(queues=queues, queue_width=width, address_width=address_width)
        self._control = WordPort(queues=queues, queue_width=width, first_page=control_page,
                                 stride=CONTROL_STRIDE, guest=False, **bus)
        self._guest   = WordPort(queues=queues, queue_width=width, first_page=guest_page,
                                 stride=GUEST_STRIDE, guest=True, **bus)
        self.queues = queues
        request  = table_write_request(address_width=address_width,
                                       tag_width=self.write_tag_width)
        response = table_write_response(tag_width=self.write_tag_width)
        super().__init__({
            "event":           In(stream.Signature(event(queue_width=width,
                                                         tag_width=tag_width))),
            "verdict":         Out(stream.Signature(verdict(tag_width=tag_width))),
            "room":            Out(stream.Signature(room(queue_width=width))),
            "record_request":  Out(stream.Signature(request)),
            "record_response": In(stream.Signature(response)),
            "notify_request":  Out(stream.Signature(request)),
            "notify_response": In(stream.Signature(response)),
            "control":         In(RegisterPortSignature(**bus)),
            "guest":           In(RegisterPortSignature(**bus)),
            "time":            In(56),
            "wires":           Out(wires),
            "clear_wires":     In(wires),
            "dropped":         Out(1),
            "forged":          Out(1),
            "stopped":         Out(1),
            "accepted":        Out(1),
            "answered":        Out(1),
            "record":          Out(1),
            "notified":        Out(1),
            "stopped_queue":   Out(width),
            "unnotified":      Out(1),
            "unnotified_queue": Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.lanes    = lanes    = self._lanes
        m.submodules.slots    = slots    = self._slots
        m.submodules.writer   = writer   = self._writer
        m.submodules.tails    = tails    = self._tails
        m.submodules.notifier = notifier = self._notifier
        wiring.connect(m, wiring.flipped(self.event), lanes.i)
        wiring.connect(m, lanes.o, slots.event)
        wiring.connect(m, slots.verdict, lanes.result)
        wiring.connect(m, lanes.verdict, wiring.flipped(self.verdict))
        m.submodules.rooms = rooms = self._rooms
        wiring.connect(m, slots.record, writer.record)
        wiring.connect(m, writer.done, tails.done)
        wiring.connect(m, tails.notify, notifier.notify)
        wiring.connect(m, notifier.notified, tails.notified)
        wiring.connect(m, notifier.request, wiring.flipped(self.notify_request))
        wiring.connect(m, wiring.flipped(self.notify_response), notifier.response)
        self._connect_writer(m, writer)
        m.d.comb += [
            self.room.valid.eq(rooms.o.valid),
            self.room.p.queue.eq(rooms.o.payload),
            rooms.o.ready.eq(self.room.ready),
            rooms.i.valid.eq(slots.room.valid),
            rooms.i.payload.eq(slots.room.p.queue),
            slots.room.ready.eq(rooms.i.ready),
            rooms.given.eq(lanes.given),
            rooms.left.eq(lanes.left),
            slots.time.eq(self.time),
            self.wires.eq(notifier.wires),
            notifier.clear.eq(self.clear_wires),
            self.dropped.eq(slots.dropped),
        ]
        done, notified = writer.done, notifier.notified
        m.d.comb += [
            self.accepted.eq(slots.accepted),
            self.answered.eq(done.valid & done.ready),
            self.record.eq(self.answered & ~done.p.failed),
            self.unnotified.eq(tails.failed),
            self.unnotified_queue.eq(tails.failed_queue),
            self.notified.eq(notified.valid & notified.ready & ~notified.p.failed),
        ]
        self._connect_registers(m, slots, tails, notifier)
        return m

    def _connect_writer(self, m, writer):
        request, response = self.record_request, self.record_response
        m.d.comb += [
            request.valid.eq(writer.request.valid),
            writer.request.ready.eq(request.ready),
            *(request.p[name].eq(writer.request.p[name]) for name, _ in request.p.shape()),
            writer.response.valid.eq(response.valid),
            response.ready.eq(writer.response.ready),
            writer.response.p.tag.eq(response.p.tag),
            writer.response.p.error.eq(response.p.error),
        ]

    def _connect_registers(self, m, slots, tails, notifier):
        width = len(self.stopped_queue)
        m.submodules.control = control = self._control
        m.submodules.guest   = guest   = self._guest
        m.submodules.access  = words   = self._access
        m.submodules.turn    = turn    = StreamArbiter(access(width), ports=2)
        wiring.connect(m, wiring.flipped(self.control), control.port)
        wiring.connect(m, wiring.flipped(self.guest), guest.port)
        wiring.connect(m, control.access, turn.i[0])
        wiring.connect(m, guest.access, turn.i[1])
        wiring.connect(m, turn.o, words.access)
        wiring.connect(m, words.tails, tails.op)
        asker = Signal()
        with m.If(turn.o.valid & turn.o.ready):
            m.d.sync += asker.eq(turn.grant)
        for n, port in enumerate((control, guest)):
            m.d.comb += [
                port.answer.valid.eq(words.answer.valid & (asker == n)),
                port.answer.payload.eq(words.answer.payload),
            ]
        m.d.comb += [
            words.answer.ready.eq(Mux(asker, guest.answer.ready, control.answer.ready)),
            words.tails_answer.eq(tails.answer),
            words.tails_answered.eq(tails.answered),
            words.slots_answer.eq(slots.answer),
            words.slots_answered.eq(slots.answered),
            self.forged.eq(words.forged),
            notifier.set.en.eq(words.setting.en),
            notifier.set.queue.eq(words.setting.queue),
            notifier.set.word.eq(words.setting.word),
            notifier.set.data.eq(words.setting.data),
        ]
        # A stop comes before whatever software does next to the queue.
        m.submodules.ops = ops = StreamArbiter(slots.op.p.shape(), ports=2)
        wiring.connect(m, words.slots, ops.i[0])
        wiring.connect(m, ops.o, slots.op)
        m.d.comb += [
            ops.i[1].valid.eq(tails.stop.valid),
            ops.i[1].p.queue.eq(tails.stop.payload),
            ops.i[1].p.op.kind.eq(SlotOpKind.STOP),
            ops.i[1].p.op.error.eq(1),
            tails.stop.ready.eq(ops.i[1].ready),
            self.stopped.eq(tails.stop.valid & tails.stop.ready),
            self.stopped_queue.eq(tails.stop.payload),
        ]
