"""The DMA data path as a whole."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import Axi4Signature
from iovirt.config import DmaConfig, PcieConfig
from iovirt.pcie.layouts import (
    CompletionRequest,
    ErrorRecord,
    PostedSignal,
    read_request,
    tlp_beat,
    write_beat,
)
from iovirt.stream import StreamArbiter

from .answers import Answers
from .axi_port import AxiPort
from .layouts import (
    finish_signature,
    retire_signature,
    translation_request,
    translation_result,
)
from .order import WriteOrder
from .read_path import ReadPath
from .shape import DmaShape, share_members
from .signal_path import SignalPath
from .write_path import WritePath

__all__ = ["DmaEngine"]


class DmaEngine(wiring.Component):
    """Carry memory TLPs of devices to AXI4 and back (rules S1, S2, S3, S5, S11, S12).

    ```
    write -> WritePath --request--> arbiter --> request       result --> Answers --> WritePath
    read  -> ReadPath  --request-->                              |          +-----> ReadPath
              '--> completion, deny                          WriteOrder     '-----> SignalPath
                                                       (numbers, responses)            '-> signal
    ```

    * Nothing reaches memory without a result that permits it. Each result is retired exactly once:
      ``retire[0]`` for writes, when their response has come or they are dropped; ``retire[1]`` for
      reads, when their data has been fetched or they are refused; ``retire[2]`` for signals.
    * ``result`` is always ready: whatever a result needs was reserved before its request.
    * Writes of one class (a hash of the ordering source) have one AXI ID and stay in order. A read
      is issued after the responses of the earlier writes of its class.
    * A signal keeps its place among the writes, and is offered after the responses of the earlier
      writes of its class, in the order of its class. It waits for no read and no other class.
    * What leads into the aperture is denied: a write is dropped, a read answered with UR.
    * With ``patches``, no access of a shared function gets UR or CA. A read that is not permitted
      is answered with success and zeros, and so is what got DECERR from memory; a write is dropped.
      Reads of lists and rings go through a patcher, in whole entries, each fetched once.
    * Reads never hold up writes. Reads are taken once the tables are cleared, 32 clocks per read
      slot after a reset; the memory must be reset, or idle, with the block.

    1 beat per clock in each direction. Idle, it offers a request 3 clocks after the last beat of a
    write and 1 after a read; starts on AXI 6 clocks after the result of a write and 11 after that
    of a read, 12 with patches; offers the completion 13 clocks after its last beat of data; and a
    signal 7 clocks after its result. What is patched is offered 8 clocks after its last beat, then
    completed 12 clocks after it has come back; it takes two of the clocks of read data.

    Parameters
    ----------
    data_width : :class:`int`
        Width of payload beats and of the bus, 64 to 512.
    address_width : :class:`int`
        Width of physical addresses.
    pcie : :class:`PcieConfig`
        Its ``max_payload_bytes`` is the size of buffers.
    dma : :class:`DmaConfig`
        Sizes and rules.
    signals : :class:`int`
        Number of slots for signals, at least 4; 0: there are none, all that comes are writes.
    patches : :class:`int`
        Number of patch buffers, a power of two of at least 4; 0: no function is shared.

    Attributes ``id_width`` and ``bus_id_width`` are the widths of the `id` of translations and of
    the IDs on ``bus``; ``ticket`` is what that `id` means; ``posted`` is the greatest number of
    posted requests that the receiver has let in and that have not finished; ``capacity`` that of
    results that have not retired.

    Members
    -------
    write : ``In(stream.Signature(write_beat(data_width)))``
        Posted writes and signals. Of those that `posted` of a read counts, at most 2 may be queued
        behind what is offered here when the read is offered.
    read : ``In(stream.Signature(read_request()))``
        Reads.
    request : ``Out(stream.Signature(translation_request(id_width)))``
        Accesses to be translated.
    result : ``In(stream.Signature(translation_result(id_width, address_width)))``
        Answers, in order for each ordering source.
    retire : ``Out(retire_signature()).array(2)``, 3 with signals
        Transactions that are done with memory.
    finish : ``Out(finish_signature()).array(2)``, 3 with signals
        Posted requests that are done: writes with a result, writes that were dropped before they
        had one, signals that were taken.
    signal : ``Out(stream.Signature(PostedSignal))``
        Signals. Only if there are any. While it stops and all slots are used, writes stop.
    completion : ``Out(stream.Signature(tlp_beat(data_width)))``
        Completions with data, and those that tell of a failed memory read (CA, no strobe).
    deny : ``Out(stream.Signature(CompletionRequest))``
        Completions of reads that were not permitted.
    error : ``Out(stream.Signature(ErrorRecord))``
        Poisoned writes, and failures of memory.
    bus : ``Out(Axi4Signature(...))``
        Memory.
    max_payload : ``In(3)``
        Largest payload of a completion, ``128 << max_payload`` bytes.
    completer_id : ``In(16)``
        Completer ID.
    aperture_enable : ``In(1)``, aperture_base, aperture_mask : ``In(address_width)``
        Physical addresses that devices may not use: see :class:`Answers`.
    ready : ``Out(1)``
        The tables have been cleared after reset.
    writes_used, reads_used, pieces_used : ``Out(...)``
        Slots in use; all 0 when idle but for writes without response.
    share_read : ``In(slot_write(read_share(), reads))``, share_write : ``In(slot_write(...))``
        What is known of each read and write, by ``slot`` of its ``request``, before the request
        goes on to translation. This and the rest only with ``patches``.
    unpatched : ``Out(stream.Signature(patch_beat(...)))``
        Data of lists and rings.
    patched : ``In(stream.Signature(patched_beat(data_width)))``
        The same data, patched, beat by beat.
    contained : ``Out(contained_signature(...))``
        One pulse for each access that was not permitted, if the ticket did not tell so; and one,
        ``abort``, for each permitted read of a shared function that met DECERR.
    patches_used : ``Out(range(patches + 1))``
        Patch buffers in use.

    Raises
    ------
    TypeError
        If ``pcie`` or ``dma`` is not a configuration.
    ValueError
        If a width is out of range.
    """

    def __init__(self, *, data_width, address_width, pcie, dma, signals=0, patches=0):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if not isinstance(address_width, int) or not 32 <= address_width <= 64:
            raise ValueError(f"Address width must be an integer in 32..64, not {address_width!r}")
        if not isinstance(pcie, PcieConfig):
            raise TypeError(f"PCIe configuration must be a PcieConfig, not {pcie!r}")
        if not isinstance(dma, DmaConfig):
            raise TypeError(f"DMA configuration must be a DmaConfig, not {dma!r}")
        if pcie.max_payload_bytes > 16 * data_width:
            raise ValueError(f"Maximum payload must be at most {16 * data_width} bytes with "
                             f"{data_width} bit, not {pcie.max_payload_bytes}")
        if not isinstance(signals, int) or signals < 0 or 0 < signals < 4:
            raise ValueError(f"Number of signals must be 0 or at least 4, not {signals!r}")
        if (not isinstance(patches, int) or patches < 0 or patches & (patches - 1)
                or 0 < patches < 4):
            raise ValueError(f"Number of patch buffers must be 0 or a power of two of at least 4, "
                             f"not {patches!r}")
        self.dma = dma
        self.shape = s = DmaShape(
            data_width=data_width, address_width=address_width,
            max_payload_bytes=pcie.max_payload_bytes, writes=dma.writes, reads=dma.reads,
            pieces=dma.read_pieces, classes=1 if dma.order_scope == "link" else dma.write_ids,
            signals=signals, patches=patches)
        self.ticket       = s.ticket
        self.id_width     = s.ticket_width
        self.bus_id_width = s.bus_id_width
        self.posted       = s.posted
        self.capacity     = s.writes + s.reads + s.signals + s.classes * s.outstanding
        ends = 3 if signals else 2
        super().__init__({
            "write":        In(stream.Signature(write_beat(data_width))),
            "read":         In(stream.Signature(read_request())),
            "request":      Out(stream.Signature(translation_request(self.id_width,
                                                                     shared=s.shared))),
            "result":       In(stream.Signature(translation_result(self.id_width,
                                                                   address_width))),
            "retire":       Out(retire_signature()).array(ends),
            "finish":       Out(finish_signature()).array(ends),
            "completion":   Out(stream.Signature(tlp_beat(data_width))),
            "deny":         Out(stream.Signature(CompletionRequest)),
            "error":        Out(stream.Signature(ErrorRecord)),
            "bus":          Out(Axi4Signature(data_width=data_width, address_width=address_width,
                                              id_width=s.bus_id_width)),
            "max_payload":  In(3),
            "completer_id": In(16),
            "aperture_enable": In(1),
            "aperture_base": In(address_width),
            "aperture_mask": In(address_width),
            "ready":        Out(1),
            "writes_used":  Out(range(s.writes + 1)),
            "reads_used":   Out(range(s.reads + 1)),
            "pieces_used":  Out(range(s.pieces + 1)),
            **({"signal":       Out(stream.Signature(PostedSignal)),
                "signals_used": Out(range(signals + 1))} if signals else {}),
            **(share_members(s) if patches else {}),
        })

    def elaborate(self, platform):
        m, s, dma = Module(), self.shape, self.dma
        link = dma.order_scope == "link"
        m.submodules.writes = writes = WritePath(shape=s, fabric_ordered=dma.fabric_ordered,
                                                 link_order=link)
        m.submodules.reads = reads = ReadPath(shape=s, link_order=link)
        m.submodules.order = order = WriteOrder(classes=s.classes, width=s.number_width,
                                                asks=3 if s.signals else 2)
        m.submodules.answers = answers = Answers(
            writes=s.writes, reads=s.reads, classes=s.classes, number_width=s.number_width,
            address_width=s.address_width, signals=s.signals, shared=s.shared)
        m.submodules.requests = requests = StreamArbiter(self.request.payload.shape(), ports=2)
        m.submodules.errors = errors = StreamArbiter(ErrorRecord, ports=5)
        m.submodules.port = port = AxiPort(
            data_width=s.data_width, address_width=s.address_width, id_width=s.bus_id_width,
            cache=dma.cache, prot=dma.prot, qos=dma.qos)

        wiring.connect(m, wiring.flipped(self.write), writes.i)
        wiring.connect(m, wiring.flipped(self.read), reads.i)
        wiring.connect(m, writes.request, requests.i[0])
        wiring.connect(m, reads.request, requests.i[1])
        wiring.connect(m, requests.o, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.result), answers.i)
        wiring.connect(m, answers.arrive, order.arrive)
        wiring.connect(m, answers.before, order.before)
        wiring.connect(m, answers.write_answer, writes.answer)
        wiring.connect(m, answers.read_answer, reads.answer)
        wiring.connect(m, answers.write, writes.go)
        wiring.connect(m, answers.read, reads.go)
        wiring.connect(m, writes.respond, order.respond)
        wiring.connect(m, writes.ask, order.ask[0])
        wiring.connect(m, reads.ask, order.ask[1])
        wiring.connect(m, writes.retire, wiring.flipped(self.retire[0]))
        wiring.connect(m, reads.retire, wiring.flipped(self.retire[1]))
        wiring.connect(m, reads.completion, wiring.flipped(self.completion))
        wiring.connect(m, reads.deny, wiring.flipped(self.deny))
        for n, source in enumerate(writes.finish):
            wiring.connect(m, source, wiring.flipped(self.finish[n]))
        for source, sink in zip((*writes.errors, *reads.errors), errors.i, strict=True):
            wiring.connect(m, source, sink)
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        for source, sink in ((writes.aw, port.aw), (writes.w, port.w), (port.b, writes.b),
                             (reads.ar, port.ar), (port.r, reads.r)):
            wiring.connect(m, source, sink)
        wiring.connect(m, port.bus, wiring.flipped(self.bus))
        if s.signals:
            self._connect_signals(m, writes, answers, order)
        if s.shared:
            wiring.connect(m, wiring.flipped(self.share_read), reads.share)
            wiring.connect(m, wiring.flipped(self.share_write), writes.share)
            wiring.connect(m, reads.unpatched, wiring.flipped(self.unpatched))
            wiring.connect(m, wiring.flipped(self.patched), reads.patched)
            m.d.comb += [
                *(getattr(self.contained, name).eq(getattr(answers.contained, name))
                  for name in ("valid", "write", "slot")),
                self.contained.abort.eq(reads.hidden.en),
                self.contained.abort_slot.eq(reads.hidden.slot),
                self.patches_used.eq(reads.patches_used),
            ]
        m.d.comb += [
            *(getattr(answers, name).eq(getattr(self, name))
              for name in ("aperture_enable", "aperture_base", "aperture_mask")),
            reads.forwarded.eq(writes.forwarded),
            reads.pending.eq(writes.pending),
            reads.max_payload.eq(self.max_payload),
            reads.completer_id.eq(self.completer_id),
            self.ready.eq(reads.enable),
            self.writes_used.eq(writes.used),
            self.reads_used.eq(reads.used),
            self.pieces_used.eq(reads.pieces_used),
        ]
        return m

    def _connect_signals(self, m, writes, answers, order):
        s = self.shape
        m.submodules.signals = signals = SignalPath(slots=s.signals, classes=s.classes,
                                                    number_width=s.number_width)
        wiring.connect(m, signals.slot, writes.signal_slot)
        wiring.connect(m, writes.signal_entry, signals.entry)
        wiring.connect(m, answers.signal_answer, signals.answer)
        wiring.connect(m, answers.signal, signals.go)
        wiring.connect(m, signals.ask, order.ask[2])
        wiring.connect(m, signals.signal, wiring.flipped(self.signal))
        wiring.connect(m, signals.retire, wiring.flipped(self.retire[2]))
        wiring.connect(m, signals.finish, wiring.flipped(self.finish[2]))
        m.d.comb += self.signals_used.eq(signals.used)
