"""Order of the pieces of each read."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue
from iovirt.stream.slot_memory import SlotMemory

from .layouts import piece_place, piece_status, retire_signature, slot_write
from .pool import slot_put
from .read_issue import read_end

__all__ = ["PIECES_PER_READ", "ReadSequencer"]

#: A page, in the smallest largest payload.
PIECES_PER_READ = 32


class ReadSequencer(wiring.Component):
    """Release the pieces of each read in address order, and end the read with its last one.

    A piece that comes early is parked under {read, index}. When a piece is released, the next one
    is looked up there and released too if it is parked. So each piece costs at most two clocks,
    however the pieces were shuffled. After an aborted piece the rest of its read is only dropped.

    A read retires when its last piece is released; its data has been fetched by then. Releasing
    waits for nobody: the output holds all pieces.

    After a reset the memories are cleared in ``32 * slots`` clocks.

    Parameters
    ----------
    slots, pieces : :class:`int`
        Number of slots for reads and of completion buffers, powers of two.
    shared : :class:`bool`
        Functions may be shared. A failure that must not reach the device does not end a read, but
        is told of once for each read, while its slot cannot have been used again.

    Members
    -------
    place : ``In(slot_write(...))``
        Which piece of which read a buffer holds.
    i : ``In(stream.Signature(piece_status(...)))``
        Complete buffers, in any order.
    denied : ``In(stream.Signature(read_end(...)))``
        Reads that end without pieces.
    o : ``Out(stream.Signature(piece_status(...)))``
        Buffers to send or drop.
    retire : ``Out(retire_signature())``
        One pulse for each read.
    put : ``Out(slot_put(slots))``
        Slots that are free again.
    enable : ``Out(1)``
        Reads may be issued.
    hidden : ``Out(slot_put(slots))``
        A piece of the read in that slot was aborted, which stays hidden; not later than 1 clock
        after ``put``. Only with ``shared``.
    """

    def __init__(self, *, slots, pieces, shared=False):
        self.slots  = slots
        self.pieces = pieces
        self.shared = shared
        status = piece_status(pieces=pieces, shared=shared)
        super().__init__({
            "place":  In(slot_write(piece_place(slots=slots), pieces)),
            "i":      In(stream.Signature(status)),
            "denied": In(stream.Signature(read_end(slots=slots))),
            "o":      Out(stream.Signature(status)),
            "retire": Out(retire_signature()),
            "put":    Out(slot_put(slots)),
            "enable": Out(1),
            **({"hidden": Out(slot_put(slots))} if shared else {}),
        })

    def elaborate(self, platform):
        m = Module()
        status, place = self.i.payload.shape(), piece_place(slots=self.slots)
        parked   = data.StructLayout({"valid": 1, "status": status, "place": place})
        progress = data.StructLayout({"index": 5, "ended": 1,
                                      **({"told": 1} if self.shared else {})})
        m.submodules.places = places = SlotMemory(place, slots=self.pieces)
        m.submodules.queue = queue = StreamQueue(status, depth=self.pieces)
        m.submodules.reads = reads = Memory(shape=progress, depth=self.slots, init=[])
        m.submodules.parking = parking = Memory(shape=parked, init=[],
                                                depth=self.slots * PIECES_PER_READ,
                                                attrs={"no_rw_check": 1})
        wiring.connect(m, places.write, wiring.flipped(self.place))
        wiring.connect(m, queue.o, wiring.flipped(self.o))

        # Events: a buffer became complete, or (first) the next piece of a read may go.
        told = Signal(status)
        wake, wake_read, wake_index = Signal(), Signal(range(self.slots)), Signal(5)
        m.d.comb += [
            places.i.payload.eq(self.i.payload.piece),
            places.i.valid.eq(self.i.valid),
            self.i.ready.eq(places.i.ready),
            places.o.ready.eq(~wake),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += told.eq(self.i.payload)

        # One event per clock reads the state and writes it in the next clock. It sees what the
        # event before it is writing, so a piece that comes just when its turn does goes, and never
        # parks in the clock in which it is looked for.
        read_w, park_w = reads.write_port(), parking.write_port()
        read_r = reads.read_port(transparent_for=(read_w,))
        park_r = parking.read_port()
        event  = Signal(parked)
        woken  = Signal()
        at     = places.o.payload.data
        m.d.comb += [
            read_r.addr.eq(Mux(wake, wake_read, at.slot)),
            park_r.addr.eq(Cat(Mux(wake, wake_index, at.index), read_r.addr)),
        ]
        m.d.sync += [
            event.valid.eq(wake | places.o.valid),
            event.status.eq(told),
            event.place.eq(at),
            event.place.slot.eq(read_r.addr),
            event.place.index.eq(park_r.addr[:5]),
            woken.eq(wake),
        ]

        found = Signal(parked)
        goes  = Signal()
        state = read_r.data
        m.d.comb += [
            found.eq(Mux(woken, park_r.data, event)),
            goes.eq(event.valid & found.valid & (woken | (state.index == event.place.index))),
        ]
        m.d.sync += [
            wake.eq(goes & ~found.place.last),
            wake_read.eq(event.place.slot),
            wake_index.eq(event.place.index + 1),
        ]
        m.d.comb += [
            queue.i.valid.eq(goes),
            queue.i.payload.eq(found.status),
            queue.i.payload.drop.eq(state.ended),
        ]
        self._elaborate_state(m, event, found, goes, woken, state, read_w, park_w)
        self._elaborate_end(m, found, goes)
        return m

    def _elaborate_state(self, m, event, found, goes, woken, state, read_w, park_w):
        # A piece parks if it does not go when it comes; one that parked leaves its place empty when
        # it goes. Nothing is written when a piece goes as it comes: its place is empty, and may be
        # looked at in this clock.
        sweep = Signal(range(self.slots * PIECES_PER_READ))
        ends  = found.status.abort
        if self.shared:
            ends &= ~found.status.hide
            hides = found.status.abort & found.status.hide
            m.d.sync += [
                self.hidden.en.eq(self.enable & goes & hides & ~state.told),
                self.hidden.slot.eq(event.place.slot),
            ]
        with m.If(self.enable):
            m.d.comb += [
                read_w.en.eq(goes),
                read_w.addr.eq(event.place.slot),
                park_w.en.eq(event.valid & (goes == woken)),
                park_w.addr.eq(Cat(event.place.index, event.place.slot)),
                park_w.data.eq(event),
                park_w.data.valid.eq(~goes),
            ]
            with m.If(~found.place.last):
                m.d.comb += [
                    read_w.data.index.eq(state.index + 1),
                    read_w.data.ended.eq(state.ended | ends),
                ]
                if self.shared:
                    m.d.comb += read_w.data.told.eq(state.told | hides)
        with m.Else():
            m.d.comb += [
                read_w.en.eq(1),
                read_w.addr.eq(sweep),
                park_w.en.eq(1),
                park_w.addr.eq(sweep),
            ]
            m.d.sync += [sweep.eq(sweep + 1),
                         self.enable.eq(sweep == self.slots * PIECES_PER_READ - 1)]

    def _elaborate_end(self, m, found, goes):
        ends = goes & found.place.last
        m.d.comb += [
            self.denied.ready.eq(~ends),
            self.retire.valid.eq(ends | self.denied.valid),
            self.put.en.eq(self.retire.valid),
            self.retire.epoch.eq(Mux(ends, found.place.epoch, self.denied.payload.epoch)),
            self.put.slot.eq(Mux(ends, found.place.slot, self.denied.payload.slot)),
        ]
