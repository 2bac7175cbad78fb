"""Beats of the R channel, from rows of data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.axi import Resp
from iovirt.stream import CreditQueue

__all__ = ["ReadBeats", "read_beat", "read_step"]


def read_beat(*, data_width, id_width):
    """One beat of the R channel."""
    return data.StructLayout({
        "id":     id_width,
        "data":   data_width,
        "resp":   Resp,
        "last":   1,
        "poison": 1,
    })



def read_step(*, id_width, bus_width, data_width):
    """A row, or a part of it, that goes into a beat."""
    bytes_log2 = exact_log2(max(bus_width, data_width) // 8)
    return data.StructLayout({
        "id":     id_width,
        "at":     bytes_log2,  # of its first byte, modulo the wider of row and beat
        "within": 7,           # size - 1 of the aligned bytes that it belongs to
        "first":  1,           # step of its beat
        "ends":   1,           # its beat
        "last":   1,           # beat of the burst
        "tagged": 1,           # the data is in the row; else it is `word`
        "word":   32,
        "data":   1,           # else all ones
        "slverr": 1,
        "poison": 1,
    })


class ReadBeats(wiring.Component):
    """Assemble beats from rows. A row is wider or narrower than a beat, or as wide.

    Bytes that were not asked for are zeros, so that a core sees no data of others on its port.

    Latency is 2 clocks, 1 for a step that was looked up; throughput is 1 step per clock.

    Parameters
    ----------
    data_width, bus_width, id_width : :class:`int`
        Of rows, of beats, of IDs.

    Members
    -------
    free : ``Out(1)``
        A step may be made.
    step : ``In(...)``
        Pulse ``en`` makes ``step``. Its row comes in the next clock; in this one if ``looked``,
        which only the first step after a clock without any may be.
    row : ``In(data_width)``
    o : ``Out(stream.Signature(read_beat(...)))``
    """

    def __init__(self, *, data_width, bus_width, id_width):
        self.data_width = data_width
        self.bus_width  = bus_width
        self.id_width   = id_width
        self._step = read_step(id_width=id_width, bus_width=bus_width, data_width=data_width)
        beat = read_beat(data_width=bus_width, id_width=id_width)
        super().__init__({
            "free": Out(1),
            "step": In(wiring.Signature({"en": Out(1), "looked": Out(1), "step": Out(self._step)})),
            "row":  In(data_width),
            "o":    Out(stream.Signature(beat)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.beats = beats = CreditQueue(self.o.payload.shape(), depth=4)
        wiring.connect(m, beats.o, wiring.flipped(self.o))

        # A step waits a clock for its row.
        waits, waiting = Signal(), Signal(self._step)
        step, comes = Signal(self._step), Signal()
        m.d.sync += [
            waits.eq(self.step.en & ~self.step.looked),
            waiting.eq(self.step.step),
        ]
        m.d.comb += [
            self.free.eq(beats.free),
            beats.reserve.eq(self.step.en & self.step.step.ends),
            step.eq(Mux(waits, waiting, self.step.step)),
            comes.eq(waits | (self.step.en & self.step.looked)),
        ]

        out = beats.i.payload
        m.d.comb += [
            beats.i.valid.eq(comes & step.ends),
            out.id.eq(step.id),
            out.data.eq(Mux(step.data, self._assemble(m, step, comes), ~0)),
            out.resp.eq(Mux(step.slverr, Resp.SLVERR, Resp.OKAY)),
            out.last.eq(step.last),
            out.poison.eq(step.poison),
        ]
        return m

    def _assemble(self, m, step, comes):
        narrow = min(self.data_width, self.bus_width)
        chunk_log2 = exact_log2(narrow // 8)
        part, low, high = step.at[chunk_log2:], Signal(chunk_log2), Signal(chunk_log2)
        m.d.comb += [low.eq(step.at), high.eq(step.at | step.within)]
        wanted = Cat(((low <= n) & (high >= n)).replicate(8) for n in range(narrow // 8))

        row = self.row.word_select(part, narrow) if self.data_width > narrow else self.row
        chunk = Signal(narrow)
        m.d.comb += chunk.eq(Mux(step.tagged, row, step.word.replicate(narrow // 32)) & wanted)
        if self.bus_width == narrow:
            return chunk

        # Rows gather until the beat is whole.
        gathered, beat = Signal(self.bus_width), Signal(self.bus_width)
        for n in range(self.bus_width // narrow):
            lane = slice(n * narrow, (n + 1) * narrow)
            m.d.comb += beat[lane].eq(Mux(part == n, chunk, Mux(step.first, 0, gathered[lane])))
        with m.If(comes):
            m.d.sync += gathered.eq(beat)
        return beat
