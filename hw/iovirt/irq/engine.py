"""The interrupt block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import table_write_request, table_write_response
from iovirt.config import IrqConfig
from iovirt.csr.port import RegisterPortSignature
from iovirt.pcie.layouts import ErrorCause, ErrorRecord, PostedSignal
from iovirt.stream import StreamArbiter

from .event_queue import EventQueues
from .front import InterruptFront
from .intake import SignalIntake
from .layouts import Notice, queue_width
from .queue_errors import QueueErrorRecorder
from .snapshot import SnapshotTaker

__all__ = ["CONTROL_PAGE", "GUEST_PAGE", "TABLE_PAGE", "InterruptEngine"]

#: First pages of the register windows. The table is aligned to its size, at most 128 pages; the
#: queues take up to 4 pages, those of the guests up to 256.
CONTROL_PAGE, TABLE_PAGE, GUEST_PAGE = 0x8, 0x80, 0x100

#: Events without verdict. The event queues answer within 12 clocks.
EVENTS = 16


class InterruptEngine(wiring.Component):
    """Take interrupts of devices and of other blocks, and deliver them (architecture.md, 5).

    ::

        signal --> SignalIntake --> InterruptFront --event--> EventQueues --> records, notifications
        notice ------^  |              |   ^  '-- forwards       |    ^       (table port)
                        |              |   '--verdict, room------'    |
        snapshot <------+--SnapshotTaker-------------------------'    '-- queues, guests
        irt ---------------------------'

    Each interrupt that an entry of its table admits leads to a record in its event queue or to a
    forwarded write, alone or counted with others of its source (S7, S8); only a queue set to drop
    loses some, and counts them. ``signal`` and ``notice`` never wait for a reader or for memory,
    but a few clocks for accesses to the table, and ``entries`` + 16 clocks after reset.

    Without memory, it takes 21 clocks from ``signal`` to the first write of the record, and from
    its last response 6 to the tail and 11 to the write that notifies. Throughput is 1 interrupt per
    clock, and in records 1 per 4, 2 or 33/32 clocks on a table port of 64, 128, or 256 bits and
    more, if ``record_slots`` cover the latency of memory.

    Parameters
    ----------
    irq : :class:`IrqConfig`
        Sizes.
    address_width, table_width : :class:`int`
        Of the table port.
    register_data_width, register_address_width : :class:`int`
        Of the register bus.
    control_page, guest_page : :class:`int`
        First page of the window ``queues`` and of ``guests``.
    notices : :class:`int`
        Number of other blocks that send notices.

    Members
    -------
    signal : ``In(stream.Signature(PostedSignal))``
        Interrupts of devices; all earlier posted writes of their sources are observable.
    notice : ``In(stream.Signature(Notice)).array(notices)``
        Interrupts of other blocks.
    clear : ``In(1)``
        The link is down: pins of INTx that are asserted send a notice of level 0.
    write_request : ``Out(stream.Signature(table_write_request(...))).array(3)``,
    write_response : ``In(stream.Signature(table_write_response(...))).array(3)``
        Clients of the table port: records, notifications, forwarded interrupts. Tags have
        ``write_tag_width`` bits.
    irt, queues, guests : ``In(RegisterPortSignature(...))``
        Windows of registers: see :class:`TableWindow` and :class:`EventQueues`.
    error : ``Out(stream.Signature(ErrorRecord))``
        Denied interrupts, failed forwards, queues that stopped (the address is the queue), and the
        first of failed notifications of a queue (the address is 2 * queue + 1).
    lost : ``Out(1)``
        For one clock: an error found no place on its way to ``error``.
    corrected, uncorrectable : ``Out(1)``
        Pulses: an error in the table was met.
    dropped, forged : ``Out(1)``
        Pulses: event lost by policy of its queue, HEAD refused.
    record, notified : ``Out(1)``
        Pulses: a record was written, a reader was notified.
    interval : ``In(24)``
        Length of a storm interval in clocks; 0: no limits.
    time : ``Out(56)``
        Clocks since reset, the time stamp of records.
    level : ``Out(4)``
        Levels of INTA to INTD, as the last messages left them.
    wires : ``Out(irq.wires)``
        Notification by wire, until cleared.
    clear_wires : ``In(irq.wires)``
        Wires to clear; raising wins.
    snapshot, snapshot_done, settled : ``In(1)``, ``Out(1)``, ``Out(1)``
        As of :class:`SnapshotTaker`: a record counts from the response of its last write on, an
        interrupt that is kept pending from then on.
    """

    def __init__(self, irq, *, address_width, table_width, register_data_width,
                 register_address_width, control_page=CONTROL_PAGE, guest_page=GUEST_PAGE,
                 notices=2):
        if not isinstance(irq, IrqConfig):
            raise TypeError(f"Configuration must be an IrqConfig, not {irq!r}")
        self.irq    = irq
        self._intake = SignalIntake(notices=notices)
        self._queues = EventQueues(
            queues=irq.queues, slots=irq.record_slots, address_width=address_width,
            table_width=table_width, tag_width=(EVENTS - 1).bit_length(), wires=irq.wires,
            tick_log2=irq.tick_log2, control_page=control_page, guest_page=guest_page,
            bus_width=register_data_width, bus_address_width=register_address_width)
        #: Of each of the three clients.
        self.write_tag_width = self._queues.write_tag_width
        self._front = InterruptFront(
            entries=irq.entries, queues=irq.queues, events=EVENTS, address_width=address_width,
            tag_width=self.write_tag_width, register_data_width=register_data_width,
            register_address_width=register_address_width)
        self._snapshot = SnapshotTaker(events=EVENTS, records=irq.record_slots + 4)
        port = RegisterPortSignature(data_width=register_data_width,
                                     address_width=register_address_width)
        super().__init__({
            "signal":         In(stream.Signature(PostedSignal)),
            "notice":         In(stream.Signature(Notice)).array(notices),
            "clear":          In(1),
            "write_request":  Out(stream.Signature(table_write_request(
                address_width=address_width, tag_width=self.write_tag_width))).array(3),
            "write_response": In(stream.Signature(table_write_response(
                tag_width=self.write_tag_width))).array(3),
            "irt":            In(port),
            "queues":         In(port),
            "guests":         In(port),
            "error":          Out(stream.Signature(ErrorRecord)),
            **{name: Out(1) for name in ("lost", "corrected", "uncorrectable", "dropped", "forged",
                                         "record", "notified")},
            "interval":       In(24),
            "time":           Out(56),
            "level":          Out(4),
            "wires":          Out(irq.wires),
            "clear_wires":    In(irq.wires),
            "snapshot":       In(1),
            "snapshot_done":  Out(1),
            "settled":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.intake = intake = self._intake
        m.submodules.front  = front  = self._front
        m.submodules.queues = queues = self._queues
        outer = wiring.flipped(self)
        wiring.connect(m, outer.signal, intake.signal)
        wiring.connect(m, intake.msi, front.msi)
        wiring.connect(m, intake.o, front.notice)
        wiring.connect(m, front.event, queues.event)
        wiring.connect(m, queues.verdict, front.verdict)
        wiring.connect(m, queues.room, front.room)
        wiring.connect(m, outer.irt, front.registers)
        wiring.connect(m, outer.queues, queues.control)
        wiring.connect(m, outer.guests, queues.guest)
        clients = ((queues.record_request, queues.record_response),
                   (queues.notify_request, queues.notify_response), (front.request, front.response))
        for n in range(len(self.notice)):
            wiring.connect(m, wiring.flipped(self.notice[n]), intake.notice[n])
        for n, (request, response) in enumerate(clients):
            wiring.connect(m, request, wiring.flipped(self.write_request[n]))
            wiring.connect(m, wiring.flipped(self.write_response[n]), response)
        m.d.comb += [
            intake.clear.eq(self.clear),
            self.level.eq(intake.level),
            front.interval.eq(self.interval),
            queues.time.eq(self.time),
            queues.clear_wires.eq(self.clear_wires),
            self.wires.eq(queues.wires),
            *(getattr(self, name).eq(getattr(front, name))
              for name in ("corrected", "uncorrectable")),
            *(getattr(self, name).eq(getattr(queues, name))
              for name in ("dropped", "forged", "record", "notified")),
        ]
        m.d.sync += self.time.eq(self.time + 1)
        self._connect_errors(m)
        self._connect_snapshot(m, intake, front, queues)
        return m

    def _connect_errors(self, m):
        width = queue_width(self.irq.queues)
        m.submodules.stops  = stops  = QueueErrorRecorder(
            queue_width=width, cause=ErrorCause.QUEUE_STOPPED)
        m.submodules.silent = silent = QueueErrorRecorder(
            queue_width=width, cause=ErrorCause.MSI_WRITE_ERROR)
        m.submodules.errors = errors = StreamArbiter(ErrorRecord, ports=3)
        for n, source in enumerate((self._front, stops, silent)):
            wiring.connect(m, source.error, errors.i[n])
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        m.d.comb += [
            stops.failed.eq(self._queues.stopped),
            stops.queue.eq(self._queues.stopped_queue),
            silent.failed.eq(self._queues.unnotified),
            silent.queue.eq(self._queues.unnotified_queue),
            self.lost.eq(self._front.lost | stops.lost | silent.lost),
        ]

    def _connect_snapshot(self, m, intake, front, queues):
        m.submodules.snapshot = snapshot = self._snapshot

        def moved(port):
            return port.valid & port.ready
        stages = {
            snapshot.signals: (moved(self.signal), intake.passed),
            snapshot.notices: (intake.merged, moved(intake.o)),
            snapshot.front:   (moved(intake.msi) | moved(intake.o), front.arrived),
            snapshot.records: (queues.accepted, queues.answered),
            snapshot.waiting: (front.forwarded, front.tried),
            snapshot.running: (moved(front.request), moved(front.response)),
        }
        for stage, (enter, leave) in stages.items():
            m.d.comb += [stage.enter.eq(enter), stage.leave.eq(leave)]
        m.d.comb += [
            snapshot.flying.eq(front.flying),
            snapshot.busy.eq(~intake.settled),
            snapshot.snapshot.eq(self.snapshot),
            self.snapshot_done.eq(snapshot.done),
            self.settled.eq(snapshot.settled),
        ]
