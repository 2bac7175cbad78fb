"""DMA remap engine: the composition of its parts."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..axi import (
    table_read_beat,
    table_read_request,
    table_write_request,
    table_write_response,
)
from .admission import Admission
from .commands import CommandQueue
from .debug import DebugUnit
from .epochs import Epochs
from .faults import FaultQueue
from .interrupts import Interrupts
from .invalidate import Invalidator
from .layouts import remap_request, remap_result
from .lookup import Lookup
from .misses import Misses
from .prefetch import Prefetcher
from .registers import RemapRegistersSignature, connect_registers
from .results import ResultSplit
from .walker import Walker

__all__ = ["EVENTS", "RemapEngine"]

#: Pulses for the counters of the same name.
EVENTS = ("requests", "hits", "misses", "walks", "prefetch_walks", "faults", "faults_lost",
          "invalidations", "fences", "fence_clocks")

#: Interrupt wires.
VECTORS = 4


class RemapEngine(wiring.Component):
    """Translate and police accesses of devices (RISC-V IOMMU 1.0).

    ::

        request --> Admission --> Lookup --> Misses --> ResultSplit --> result
                      ^  ^  ^        ^         |  ^          '--> DebugUnit
              debug --+  |  '-replay-|---------+  | done
              probe -----+      fill |      walk  v
              Prefetcher <-----------+------- Walker --> FaultQueue
                                     '--- Invalidator <-- CommandQueue --> Epochs <-- retire

    A request whose translation is cached is answered 3 clocks after it was accepted, at one per
    clock. Results of one source come in order; sources do not wait for each other. After reset
    ddtp is Off: everything is denied. A request with ``bypass`` is permitted as it is, in any mode;
    it only keeps its place among those of its source, and is not counted in ``events``.

    Parameters
    ----------
    id_width : :class:`int`
        Width of the id of a request.
    remap : :class:`RemapConfig`
        Geometry.
    table_width : :class:`int`
        Width of the table port.
    capacity : :class:`int`
        Greatest number of requests accepted and not retired; the user must not exceed it.
    register_map : :class:`RegisterMap`
        The map whose page 0 ``registers`` is.
    retires : :class:`int`
        Number of ports that retire requests.

    Members
    -------
    request : ``In(stream.Signature(remap_request(id_width)))``
        Accesses to translate.
    result : ``Out(stream.Signature(remap_result(id_width, address_width)))``
        Answers. To be accepted without waiting for anything that waits for the engine.
    retire : ``In(...).array(retires)``
        Each accepted request is retired once, when its access to memory is done.
    registers : ``In(RemapRegistersSignature(register_map))``
        Page 0 of the register bank.
    prefetch_enable : ``In(1)``
        Switches the prefetcher on.
    read_request, read_beats, write_request, write_response : arrays of 2
        Clients of the table port. Readers: walker, commands. Writers: faults, commands.
    events : ``Out(...)``
        One pulse per name in :data:`EVENTS`.
    faulted : ``Out(...)``
        Pulse ``valid``: a fault of ``device_id`` was recorded.
    ready : ``Out(1)``
        The tables have been cleared after reset.
    wsi : ``Out(4)``
        Interrupt wires.
    """

    def __init__(self, *, id_width, remap, table_width, capacity, register_map, retires=2):
        self.id_width     = id_width
        self.remap        = remap
        self.table_width  = table_width
        self.capacity     = capacity
        self.register_map = register_map
        self.retires      = retires
        self.address_width  = address_width = remap.physical_address_bits
        self.slot_width     = (remap.misses - 1).bit_length()
        self.read_tag_width = tag = (remap.walks - 1).bit_length()
        read  = table_read_request(address_width=address_width, tag_width=tag)
        beat  = table_read_beat(data_width=table_width, tag_width=tag)
        write = table_write_request(address_width=address_width, tag_width=0)
        done  = table_write_response(tag_width=0)
        super().__init__({
            "request":         In(stream.Signature(remap_request(id_width))),
            "result":          Out(stream.Signature(remap_result(id_width, address_width))),
            "retire":          In(wiring.Signature({"valid": Out(1),
                                                    "epoch": Out(1)})).array(retires),
            "registers":       In(RemapRegistersSignature(register_map)),
            "prefetch_enable": In(1),
            "read_request":    Out(stream.Signature(read)).array(2),
            "read_beats":      In(stream.Signature(beat)).array(2),
            "write_request":   Out(stream.Signature(write)).array(2),
            "write_response":  In(stream.Signature(done)).array(2),
            "events":          Out(wiring.Signature({name: Out(1) for name in EVENTS})),
            "faulted":         Out(wiring.Signature({"valid": Out(1), "device_id": Out(24)})),
            "ready":           Out(1),
            "wsi":             Out(VECTORS),
        })

    def elaborate(self, platform):
        m = Module()
        remap, address_width = self.remap, self.address_width
        widths = {"id_width": self.id_width, "slot_width": self.slot_width}

        m.submodules.admission  = admission  = Admission(**widths)
        m.submodules.lookup     = lookup     = Lookup(remap=remap, **widths)
        m.submodules.misses     = misses     = Misses(id_width=self.id_width, remap=remap)
        m.submodules.walker     = walker     = Walker(slot_width=self.slot_width,
                                                      table_width=self.table_width, remap=remap)
        m.submodules.results    = results    = ResultSplit(id_width=self.id_width,
                                                           address_width=address_width)
        m.submodules.epochs     = epochs     = Epochs(capacity=self.capacity,
                                                           retire_ports=self.retires)
        m.submodules.commands   = commands   = CommandQueue(
            address_width=address_width, data_width=self.table_width,
            read_tag_width=self.read_tag_width, write_tag_width=0)
        m.submodules.faults     = faults     = FaultQueue(address_width=address_width, tag_width=0)
        m.submodules.invalidator = invalidator = Invalidator()
        m.submodules.debug      = debug      = DebugUnit(address_width=address_width)
        m.submodules.interrupts = interrupts = Interrupts(vectors=VECTORS)

        # Requests and answers
        connect(m, flipped(self.request), admission.request)
        connect(m, debug.request, admission.debug)
        connect(m, misses.replay, admission.replay)
        connect(m, admission.o, lookup.request)
        connect(m, lookup.outcome, misses.outcome)
        connect(m, misses.result, results.i)
        connect(m, results.result, flipped(self.result))
        connect(m, results.debug, debug.response)
        m.d.comb += [
            admission.room.eq(misses.room),
            misses.entered.eq(admission.entered),
            admission.epoch.eq(epochs.epoch),
            epochs.accept.eq(admission.accepted),
        ]
        for outer, inner in zip(self.retire, epochs.retire, strict=True):
            connect(m, flipped(outer), inner)

        # Walks
        connect(m, misses.walk, walker.walk)
        connect(m, walker.done, misses.done)
        connect(m, walker.line_fill, lookup.line_fill)
        connect(m, walker.superpage_fill, lookup.superpage_fill)
        connect(m, walker.context_fill, lookup.context_fill)
        connect(m, walker.fault, faults.fault)
        self._prefetch(m, admission, lookup, misses, walker, invalidator)

        # Invalidation
        connect(m, commands.invalidate, invalidator.op)
        connect(m, invalidator.walker, walker.invalidate)
        connect(m, invalidator.lookup, lookup.invalidate)
        m.d.comb += [
            misses.hold.eq(invalidator.hold),
            walker.hold.eq(invalidator.hold),
            misses.forget_contexts.eq(invalidator.forget_contexts),
        ]

        # Registers
        registers = self.registers
        connect_registers(m, registers, commands=commands, faults=faults, debug=debug,
                          interrupts=interrupts, epochs=epochs)
        m.d.comb += [
            lookup.ddtp_mode.eq(registers.ddtp.iommu_mode.value),
            walker.ddtp.mode.eq(registers.ddtp.iommu_mode.value),
            walker.ddtp.ppn.eq(registers.ddtp.ppn.value),
            self.wsi.eq(interrupts.wsi),
        ]

        # Table port
        for n, reader in enumerate(((walker.read, walker.beats),
                                    (commands.read_request, commands.read_beats))):
            connect(m, reader[0], flipped(self.read_request[n]))
            connect(m, flipped(self.read_beats[n]), reader[1])
        for n, writer in enumerate((faults, commands)):
            connect(m, writer.write_request, flipped(self.write_request[n]))
            connect(m, flipped(self.write_response[n]), writer.write_response)

        self._events(m, lookup, misses, commands, faults, invalidator, epochs, admission)
        self._ready(m, lookup)
        return m

    def _prefetch(self, m, admission, lookup, misses, walker, invalidator):
        if not self.remap.prefetch:
            m.d.comb += misses.probed.ready.eq(1)
            return
        m.submodules.prefetcher = prefetcher = Prefetcher(
            id_width=self.id_width, slot_width=self.slot_width, address_width=self.address_width)
        connect(m, prefetcher.probe, admission.probe)
        connect(m, misses.probed, prefetcher.probed)
        connect(m, prefetcher.walk, walker.prefetch)
        m.d.comb += [
            prefetcher.enable.eq(self.prefetch_enable),
            prefetcher.spare.eq(walker.spare),
            prefetcher.demand.valid.eq(lookup.outcome.valid & lookup.outcome.ready),
            prefetcher.demand.payload.eq(lookup.outcome.payload),
            prefetcher.forget_contexts.eq(invalidator.forget_contexts),
            self.events.prefetch_walks.eq(prefetcher.issued),
        ]

    def _events(self, m, lookup, misses, commands, faults, invalidator, epochs, admission):
        request = lookup.outcome.p.request
        answered = (lookup.outcome.valid & lookup.outcome.ready
                    & ~request.probe & ~request.replay & ~request.debug & ~request.bypass)
        m.d.sync += [
            self.events.requests.eq(admission.accepted & ~admission.request.p.bypass),
            self.events.hits.eq(answered & lookup.outcome.p.hit),
            self.events.misses.eq(answered & ~lookup.outcome.p.hit),
            self.events.walks.eq(misses.walk.valid & misses.walk.ready),
            self.events.faults.eq(faults.new_record),
            self.faulted.valid.eq(faults.new_record),
            self.faulted.device_id.eq(faults.device_id),
            self.events.faults_lost.eq(faults.lost),
            self.events.invalidations.eq(invalidator.op.valid & invalidator.op.ready),
            self.events.fences.eq(commands.drain.valid & commands.drain.ready),
            self.events.fence_clocks.eq(commands.drain.valid),
        ]

    def _ready(self, m, lookup):
        clocks = max(lookup.scrub_cycles, self.remap.pointers) + 2
        count  = Signal(range(clocks))
        with m.If(count != clocks - 1):
            m.d.sync += count.eq(count + 1)
        with m.Else():
            m.d.sync += self.ready.eq(1)
