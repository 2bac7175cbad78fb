"""Fetching of commands ahead of their execution."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..axi import TableError, table_read_beat, table_read_request
from .rings import beyond, ring_address, ring_mask

__all__ = ["CommandFetch", "fetched_command"]

_SLOTS = 8  # commands held


def fetched_command():
    """Return the layout of a command as fetched; ``failed``: its read failed."""
    return data.StructLayout({"command": 128, "failed": 1})


class CommandFetch(wiring.Component):
    """Read commands of the ring between head and tail into a buffer of 8, in order.

    A read takes 4, 2 or 1 commands: as many as are aligned to their size, before the tail and
    find room; one read is on its way at a time, while earlier commands execute. If a read of
    several fails, its commands are read again one by one, so that only a bad command is said to
    have failed; nothing is fetched after that one. Beats are always accepted.

    While ``run`` is low no read begins; the commands held are still offered, and once they are
    taken and ``empty``, fetching starts again at ``head``.

    A command is offered 5 clocks plus the time of the read after the tail passed it; throughput is
    1 command per 2 clocks from the buffer.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address (capabilities.PAS). A read beyond it fails without a request.
    data_width : :class:`int`
        Width of the table port: 64, 128, 256 or 512.
    tag_width : :class:`int`
        Width of the tags on the table port; they are all 0.

    Members
    -------
    log2sz_1, ppn, head, tail : ``In(5)``, ``In(44)``, ``In(32)``, ``In(32)``
        The ring. ``head`` is the index of the first command not taken. Bits of ``tail`` above
        the ring size are ignored.
    run : ``In(1)``
        Fetch.
    empty : ``Out(1)``
        Nothing is held, no read is on its way.
    commands : ``Out(stream.Signature(fetched_command()))``
        Commands in order.
    read_request, read_beats : ``Out(...)``, ``In(...)``
        Client of the table port.
    """

    def __init__(self, *, address_width, data_width, tag_width):
        if type(address_width) is not int or not 32 <= address_width <= 56:
            raise ValueError(f"Address width must be an integer in 32..56, not {address_width!r}")
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(tag_width) is not int or tag_width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {tag_width!r}")
        self.address_width = address_width
        self.data_width    = data_width
        self.tag_width     = tag_width
        request = table_read_request(address_width=address_width, tag_width=tag_width)
        beat    = table_read_beat(data_width=data_width, tag_width=tag_width)
        super().__init__({
            "log2sz_1":     In(5),
            "ppn":          In(44),
            "head":         In(32),
            "tail":         In(32),
            "run":          In(1),
            "empty":        Out(1),
            "commands":     Out(stream.Signature(fetched_command())),
            "read_request": Out(stream.Signature(request)),
            "read_beats":   In(stream.Signature(beat)),
        })

    def elaborate(self, platform):
        m = Module()
        mask  = Signal(32)               # of an index
        ahead = Signal(32)               # index of the next command to fetch
        held  = Signal(range(_SLOTS + 1))  # commands in the buffer
        take  = Signal()                 # one leaves
        put   = Signal(3)                # so many come
        m.d.sync += [
            mask.eq(ring_mask(self.log2sz_1)),
            held.eq(held + put - take),
        ]
        failed = self._elaborate_fetch(m, mask, ahead, held, put)
        self._elaborate_offer(m, mask, ahead, held, take, failed)
        return m

    def _elaborate_fetch(self, m, mask, ahead, held, put):
        available = Signal(32)           # commands between `ahead` and the tail
        outside   = Signal()             # the next command cannot be addressed
        count     = Signal(3)            # commands of this read
        alone     = Signal(3)            # commands that must be read one by one
        bad       = Signal()             # an earlier beat of this read failed
        failed    = Signal()             # the last command held has failed
        place     = ring_address(self.ppn, ahead, entry_log2=4)
        error     = bad | (self.read_beats.p.error != TableError.NONE)
        m.d.comb += [
            self.read_request.p.address.eq(place),
            self.read_request.p.size_log2.eq(Mux(count[2], 6, Mux(count[1], 5, 4))),
            self.read_beats.ready.eq(1),
        ]
        m.d.sync += [
            available.eq((self.tail - ahead) & mask),
            outside.eq(beyond(place, self.address_width)),
        ]

        def finish():
            m.d.comb += put.eq(count)
            m.d.sync += [
                ahead.eq((ahead + count) & mask),
                alone.eq(alone - (alone != 0)),
            ]

        with m.FSM() as fsm:
            with m.State("COUNT"):
                with m.If(self.run & ~failed & (held <= _SLOTS - 4)):
                    m.next = "CHOOSE"
                with m.If(~self.run & self.empty):
                    m.d.sync += [ahead.eq(self.head), failed.eq(0), alone.eq(0)]
            with m.State("CHOOSE"):
                m.d.sync += [count.eq(1), bad.eq(0)]
                with m.If((alone == 0) & ~outside & ~ahead[0]):
                    with m.If(~ahead[1] & available[2:].any()):
                        m.d.sync += count.eq(4)
                    with m.Elif(available[1:].any()):
                        m.d.sync += count.eq(2)
                with m.If(~available.any() | ~self.run):
                    m.next = "COUNT"
                with m.Elif(outside):
                    m.next = "REFUSE"
                with m.Else():
                    m.next = "REQUEST"
            with m.State("REFUSE"):
                finish()
                m.d.sync += failed.eq(1)
                m.next = "COUNT"
            with m.State("REQUEST"):
                m.d.comb += self.read_request.valid.eq(1)
                with m.If(self.read_request.ready):
                    m.next = "RECEIVE"
            with m.State("RECEIVE"):
                with m.If(self.read_beats.valid):
                    m.d.sync += bad.eq(error)
                with m.If(self.read_beats.valid & self.read_beats.p.last):
                    with m.If(error & (count != 1)):
                        m.d.sync += alone.eq(count)
                    with m.Else():
                        finish()
                        m.d.sync += failed.eq(error)
                    m.next = "COUNT"
        m.d.comb += self.empty.eq((held == 0) & fsm.ongoing("COUNT"))
        return failed

    def _elaborate_offer(self, m, mask, ahead, held, take, failed):
        # A row is as wide as a beat, at least a command. The place of a command is its index
        # modulo 8; no two commands held share one, because they are fewer than the ring has.
        lanes     = max(1, self.data_width // 128)
        lane_bits = exact_log2(lanes)
        m.submodules.buffer = buffer = Memory(
            shape=128 * lanes, depth=_SLOTS // lanes, init=[], attrs={"ram_style": "distributed"})
        write, read = buffer.write_port(granularity=128), buffer.read_port()

        beats, slot = self.read_beats, Signal(3)
        count = Mux(self.read_request.p.size_log2 == 6, 4,
                    Mux(self.read_request.p.size_log2 == 5, 2, 1))
        step  = Mux(count > lanes, lanes, count)
        m.d.comb += write.addr.eq(slot[lane_bits:])
        with m.If(self.read_request.valid):
            m.d.sync += slot.eq(ahead)
        if self.data_width == 64:
            low, second = Signal(64), Signal()
            m.d.comb += [write.data.eq(Cat(low, beats.p.data)),
                         write.en.eq(beats.valid & second)]
            with m.If(self.read_request.valid):
                m.d.sync += second.eq(0)
            with m.If(beats.valid):
                m.d.sync += [low.eq(beats.p.data), second.eq(~second), slot.eq(slot + second)]
        else:
            chosen = ((1 << step) - 1) << slot[:lane_bits]
            m.d.comb += [write.data.eq(beats.p.data),
                         write.en.eq(Mux(beats.valid, chosen, 0))]
            with m.If(beats.valid):
                m.d.sync += slot.eq(slot + step)

        # The read port keeps its data while a command is offered.
        following = Signal(3)
        out = self.commands
        m.d.comb += [
            read.addr.eq(following[lane_bits:]),
            read.en.eq(~out.valid),
            out.p.command.eq(read.data.word_select(following[:lane_bits], 128)),
            out.p.failed.eq(failed & (held == 1)),
            take.eq(out.valid & out.ready),
        ]
        with m.If(~self.run & self.empty):
            m.d.sync += following.eq(self.head)
        with m.Elif(take):
            m.d.sync += [out.valid.eq(0), following.eq((following + 1) & mask[:3])]
        with m.Elif(~out.valid & (held != 0)):
            m.d.sync += out.valid.eq(1)
