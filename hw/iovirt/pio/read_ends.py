"""Ends of reads, from wherever they come."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter

from .answer_order import token
from .layouts import TAG_WIDTH, FinishStatus, PageAnswer, config_answer, finish
from .read_layouts import read_end, read_owner, read_result, row_width

__all__ = ["ReadEnds"]


class ReadEnds(wiring.Component):
    """Merge the ends of requests, of configuration accesses and of what was refused.

    Each leaves its token and its result in the same clock. In the next clock the first row of its
    data is offered for an early look, because it is likely to be wanted in the clock after.

    Latency is 0 clocks (``early``: 1), throughput 1 end per clock. Paths run from ``token.ready``
    to the other ``ready``.

    Parameters
    ----------
    data_width, max_read_bytes, slots, owner_width : :class:`int`
        See :class:`ReadSplitter`.
    pages : :class:`bool`
        See :class:`ReadSplitter`.

    Members
    -------
    finish : ``In(stream.Signature(finish(...)))``
    answer : ``In(stream.Signature(config_answer(...)))``
        Only those of reads.
    page_answer : ``In(stream.Signature(PageAnswer))``
        The same of the pages of guests. Only with ``pages``.
    refused : ``In(stream.Signature(read_end(...)))``
    token : ``Out(stream.Signature(token(...)))``
        To the order of answers.
    result : ``Out(...)``
        Pulse ``en`` keeps ``result`` for ``slot``.
    early : ``Out(...)``
        Tag, row and slot of the end of the last clock.
    """

    def __init__(self, *, data_width, max_read_bytes, slots, owner_width, pages=False):
        self.pages  = pages
        buffer = {"data_width": data_width, "max_read_bytes": max_read_bytes, "slots": slots}
        self._end   = read_end(**buffer)
        self._owner = read_owner(**buffer)
        rows = row_width(data_width=data_width, max_read_bytes=max_read_bytes)
        super().__init__({
            "finish":  In(stream.Signature(finish(owner_width=owner_width))),
            "answer":  In(stream.Signature(config_answer(owner_width=owner_width))),
            **({"page_answer": In(stream.Signature(PageAnswer))} if pages else {}),
            "refused": In(stream.Signature(self._end)),
            "token":   Out(stream.Signature(token(slots=slots))),
            "result":  Out(wiring.Signature({
                "en": Out(1), "slot": Out(range(slots)), "result": Out(read_result())})),
            "early":   Out(wiring.Signature({
                "en": Out(1), "slot": Out(range(slots)), "tag": Out(TAG_WIDTH),
                "row": Out(rows)})),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.ends = ends = StreamArbiter(self._end, ports=3 + self.pages)
        finish, answer = self.finish, self.answer
        for source, end in ((finish, ends.i[0]), (answer, ends.i[1])):
            m.d.comb += [
                end.valid.eq(source.valid),
                source.ready.eq(end.ready),
                Value.cast(end.payload.owner).eq(source.payload.owner),
                end.payload.status.eq(source.payload.status),
                end.payload.data.eq(source.payload.data),
            ]
        m.d.comb += [ends.i[0].payload.tag.eq(finish.payload.tag), ends.i[0].payload.tagged.eq(1)]
        wiring.connect(m, wiring.flipped(self.refused), ends.i[2])
        if self.pages:
            page, told = self.page_answer, ends.i[3].payload
            m.d.comb += [
                ends.i[3].valid.eq(page.valid),
                page.ready.eq(ends.i[3].ready),
                Value.cast(told.owner.token).eq(page.payload.owner),
                told.status.eq(Mux(page.payload.ok, FinishStatus.OK, FinishStatus.NO_TARGET)),
                told.data.eq(page.payload.data),
            ]

        end, early = ends.o.payload, self.early
        m.d.comb += [
            self.token.valid.eq(ends.o.valid),
            self.token.payload.eq(end.owner.token),
            ends.o.ready.eq(self.token.ready),
            self.result.en.eq(ends.o.valid & ends.o.ready),
            self.result.slot.eq(end.owner.token.slot),
            self.result.result.status.eq(end.status),
            self.result.result.tagged.eq(end.tagged),
            self.result.result.value.eq(Mux(end.tagged, end.tag, end.data)),
        ]
        m.d.sync += [
            early.en.eq(self.result.en & end.tagged),
            early.slot.eq(end.owner.token.slot),
            early.tag.eq(end.tag),
            early.row.eq(end.owner.row),
        ]
        return m
