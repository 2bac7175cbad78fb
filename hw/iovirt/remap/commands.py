"""Command queue: fetch, check and execute commands (RISC-V IOMMU 1.0, 3.1)."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import (
    TableError,
    table_read_beat,
    table_read_request,
    table_write_request,
    table_write_response,
)
from .command_fetch import CommandFetch
from .command_layouts import Directory, Fence, Invalidation, Opcode
from .layouts import InvalidateKind, InvalidateOp
from .rings import beyond, ring_mask

__all__ = ["CommandQueue"]


class _Decoded(data.Struct):
    """A command as the execution sees it."""

    failed:     1  # could not be read
    illegal:    1
    fence:      1
    invalidate: 1  # there is something to invalidate
    outside:    1  # a fence writes beyond the physical addresses


class CommandQueue(wiring.Component):
    """Execute the commands of the ring that cqb describes, in order, one at a time.

    * IOTINVAL.GVMA and IODIR.INVAL_DDT leave on ``invalidate``; the transfer says done.
    * IOTINVAL.VMA and IODIR.INVAL_PDT have nothing to do, as there is neither a first stage nor a
      process directory: they are only checked. A process_id may have 8 bits, as if the
      smallest directory existed.
    * IOFENCE.C always drains, whatever PR and PW say: ``drain`` transfers when all DMA accepted
      before is done. Then the data, if any, is written, and cqh moves when that is answered.
    * ATS commands, operands NL and S, wide ids and reserved bits are illegal.

    cqh moves past a command when it is done. While cqmf, cmd_to or cmd_ill is set it points at the
    offending command, which is fetched again when software has cleared the bit. Nothing
    at or behind the tail is read, and nothing fetched ahead survives a stop.

    The queue turns on in the 4 clocks after ``cqen`` rises: cqh is then 0 and the error bits and
    fence_w_ip are cleared. After ``cqen`` fell, ``cqon`` falls when the command being executed is
    done and no access is on its way. A command takes 4 clocks and the time of its work.

    The bits of cqcsr live in the register bank. It sets and clears them on the clock that
    follows a pulse here; if software clears a bit at the same time, setting wins.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address (capabilities.PAS), 32 to 56.
    data_width : :class:`int`
        Width of the table port: 64, 128, 256 or 512.
    read_tag_width, write_tag_width : :class:`int`
        Width of the tags on the table port; they are all 0.
    device_id_bits : :class:`int`
        Width of the widest device_id, 1 to 24; a command that names a wider one is illegal.

    Members
    -------
    cqb_log2sz_1, cqb_ppn : ``In(5)``, ``In(44)``
        cqb. Must not change while ``cqon``.
    cqt : ``In(32)``
        Tail as written by software; bits above the ring size are ignored.
    cqh : ``Out(32)``
        Head.
    cqen : ``In(1)``
        cqcsr.cqen.
    cqon, busy : ``Out(1)``
        cqcsr.cqon and cqcsr.busy; ``busy`` rises with the change of ``cqen``.
    wsi : ``In(1)``
        fctl.WSI.
    cqmf, cmd_to, cmd_ill : ``In(1)``
        Error bits of cqcsr as they are. ``cmd_to`` is never set here.
    set_cqmf, set_cmd_ill, set_fence_w_ip : ``Out(1)``
        Pulses: set the bit of cqcsr.
    clear_errors : ``Out(1)``
        Pulse: clear cqmf, cmd_to, cmd_ill and fence_w_ip.
    invalidate : ``Out(stream.Signature(InvalidateOp))``
        Transfers when executed.
    drain : ``Out(stream.Signature(0))``
        Transfers when all DMA accepted before it was offered is done.
    read_request, read_beats : ``Out(...)``, ``In(...)``
        Client of the table port. Beats are always accepted.
    write_request, write_response : ``Out(...)``, ``In(...)``
        Client of the table port.
    """

    def __init__(self, *, address_width, data_width, read_tag_width, write_tag_width,
                 device_id_bits=24):
        if type(write_tag_width) is not int or write_tag_width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {write_tag_width!r}")
        if type(device_id_bits) is not int or not 1 <= device_id_bits <= 24:
            raise ValueError(f"Width of device_id must be an integer in 1..24, "
                             f"not {device_id_bits!r}")
        self._fetch = CommandFetch(address_width=address_width, data_width=data_width,
                                   tag_width=read_tag_width)
        self.address_width   = address_width
        self.data_width      = data_width
        self.read_tag_width  = read_tag_width
        self.write_tag_width = write_tag_width
        self.device_id_bits  = device_id_bits
        read  = {"address_width": address_width, "tag_width": read_tag_width}
        write = {"address_width": address_width, "tag_width": write_tag_width}
        beat  = table_read_beat(data_width=data_width, tag_width=read_tag_width)
        done  = table_write_response(tag_width=write_tag_width)
        super().__init__({
            "cqb_log2sz_1":   In(5),
            "cqb_ppn":        In(44),
            "cqt":            In(32),
            "cqh":            Out(32),
            "cqen":           In(1),
            "cqon":           Out(1),
            "busy":           Out(1),
            "wsi":            In(1),
            "cqmf":           In(1),
            "cmd_to":         In(1),
            "cmd_ill":        In(1),
            "set_cqmf":       Out(1),
            "set_cmd_ill":    Out(1),
            "set_fence_w_ip": Out(1),
            "clear_errors":   Out(1),
            "invalidate":     Out(stream.Signature(InvalidateOp)),
            "drain":          Out(stream.Signature(0)),
            "read_request":   Out(stream.Signature(table_read_request(**read))),
            "read_beats":     In(stream.Signature(beat)),
            "write_request":  Out(stream.Signature(table_write_request(**write))),
            "write_response": In(stream.Signature(done)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = self._fetch
        wiring.connect(m, fetch.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_beats), fetch.read_beats)
        m.d.comb += [
            fetch.log2sz_1.eq(self.cqb_log2sz_1),
            fetch.ppn.eq(self.cqb_ppn),
            fetch.head.eq(self.cqh),
            fetch.tail.eq(self.cqt),
            self.busy.eq(self.cqen ^ self.cqon),
        ]
        decoded = Signal(_Decoded)
        m.d.sync += decoded.eq(self._decode(m, fetch.commands.p))
        self._elaborate_execution(m, fetch, decoded)
        return m

    def _decode(self, m, fetched):
        inval     = Invalidation(fetched.command)
        fence     = Fence(fetched.command)
        directory = Directory(fetched.command)
        found = Signal(_Decoded)
        m.d.comb += [found.failed.eq(fetched.failed), found.illegal.eq(1)]
        with m.Switch(inval.opcode):
            with m.Case(Opcode.IOTINVAL):
                m.d.comb += [found.illegal.eq(~inval.legal()), found.invalidate.eq(inval.func3[0])]
            with m.Case(Opcode.IOFENCE):
                m.d.comb += [found.illegal.eq(~fence.legal(wsi=self.wsi)), found.fence.eq(1)]
            with m.Case(Opcode.IODIR):
                m.d.comb += [
                    found.illegal.eq(~directory.legal(device_id_bits=self.device_id_bits,
                                                      pid_bits=8)),
                    found.invalidate.eq(~directory.func3[0]),
                ]
        address = Cat(C(0, 2), fence.address)
        write   = self.write_request.p
        operation = self.invalidate.p
        m.d.comb += [
            found.outside.eq(beyond(address, self.address_width)),
            write.address.eq(address),
            write.size_log2.eq(2),
            write.data.eq(fence.data),
            operation.kind.eq(Mux(inval.opcode == Opcode.IODIR, InvalidateKind.CONTEXT,
                                  InvalidateKind.IOTLB)),
            operation.gv.eq(inval.gv),
            operation.av.eq(inval.av & inval.gv),
            operation.gscid.eq(inval.gscid),
            operation.iova.eq(inval.address),
            operation.dv.eq(directory.dv),
            operation.device_id.eq(directory.device_id),
        ]
        return found

    def _elaborate_execution(self, m, fetch, decoded):
        # The command stays on the stream of the fetcher until it is done.
        commands = fetch.commands
        fence    = Fence(commands.p.command)
        mask     = Signal(32)
        m.d.sync += mask.eq(ring_mask(self.cqb_log2sz_1))

        def complete():
            m.d.comb += commands.ready.eq(1)
            m.d.sync += self.cqh.eq((self.cqh + 1) & mask)
            m.next = "NEXT"

        def complete_fence():
            m.d.comb += self.set_fence_w_ip.eq(fence.wsi)
            complete()

        def stop(error):
            m.d.comb += error.eq(1)
            m.next = "FLUSH"

        with m.FSM() as fsm:
            with m.State("OFF"):
                with m.If(self.cqen):
                    m.d.comb += self.clear_errors.eq(1)
                    m.d.sync += [self.cqh.eq(0), self.cqon.eq(1)]
                    m.next = "FLUSH"
            # Throw away what was fetched ahead. An error bit takes a clock to show.
            with m.State("FLUSH"):
                m.d.comb += commands.ready.eq(1)
                with m.If(fetch.empty):
                    m.next = "STOPPED"
            with m.State("STOPPED"):
                with m.If(~self.cqen):
                    m.d.sync += self.cqon.eq(0)
                    m.next = "OFF"
                with m.Elif(~(self.cqmf | self.cmd_to | self.cmd_ill)):
                    m.next = "NEXT"
            with m.State("NEXT"):
                with m.If(~self.cqen):
                    m.next = "FLUSH"
                with m.Elif(commands.valid):
                    m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.If(decoded.failed):
                    stop(self.set_cqmf)
                with m.Elif(decoded.illegal):
                    stop(self.set_cmd_ill)
                with m.Elif(decoded.fence):
                    m.next = "DRAIN"
                with m.Elif(decoded.invalidate):
                    m.next = "INVALIDATE"
                with m.Else():
                    complete()
            with m.State("INVALIDATE"):
                m.d.comb += self.invalidate.valid.eq(1)
                with m.If(self.invalidate.ready):
                    complete()
            with m.State("DRAIN"):
                m.d.comb += self.drain.valid.eq(1)
                with m.If(self.drain.ready):
                    with m.If(~fence.av):
                        complete_fence()
                    with m.Elif(decoded.outside):
                        stop(self.set_cqmf)
                    with m.Else():
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.write_request.valid.eq(1)
                with m.If(self.write_request.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.write_response.ready.eq(1)
                with m.If(self.write_response.valid):
                    with m.If(self.write_response.p.error == TableError.NONE):
                        complete_fence()
                    with m.Else():
                        stop(self.set_cqmf)
        m.d.comb += fetch.run.eq(
            self.cqen & ~fsm.ongoing("OFF") & ~fsm.ongoing("FLUSH") & ~fsm.ongoing("STOPPED"))
