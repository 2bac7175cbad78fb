"""Non-posted requests of programmed I/O: tags, TLPs, completions, time-outs."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue

from ..config import PioConfig
from ..pcie.layouts import STAMP_WIDTH, completion_beat, tlp_beat
from .admission import Admission
from .finish_gate import FinishGate
from .issue import UNSENT, Issue
from .layouts import TAG_WIDTH, PioError, finish, np_request
from .link_watch import LinkWatch
from .read_data import ReadData, fetch_port
from .record_queue import RecordQueue
from .request_layouts import CLIENTS
from .scoreboard import Scoreboard
from .tag_return import TagReturn
from .tags import TagAllocator
from .timer import TimeoutClock

__all__ = ["CONFIG_TAGS", "Requester"]

#: Tags kept for client 1; it has no more than these at once.
CONFIG_TAGS = 4


class Requester(wiring.Component):
    """Carry out non-posted requests: each ends exactly once, and its tag is free exactly once.

    ::

        request[0] -> Admission -+-> Issue -> tx            LinkWatch, TimeoutClock
        request[1] --------------+     |  ^                     | looks
                                entry  v  | tag                 v
        completion ---------------> Scoreboard --> FinishGate --> finish[n]
                                       | data          TagAllocator <- TagReturn <- release
                                       v
                                    ReadData <- fetch

    * `request[0]` is for reads of cores: quotas of guests and cores hold for it, and a request over
      its quota lets those of other cores and guests pass. Requests of one core to one guest keep
      their order.
      `request[1]` is for the configuration unit: it has ``CONFIG_TAGS`` tags of its own.
    * A completion counts only if it fits its request: Requester ID, tag, completer, traffic class,
      attributes, status and, with data, Byte Count, Lower Address and Length (PCIe Base, 2.3.2).
      One that contradicts it is dropped whole and recorded, and the request goes on. EP makes the
      end POISONED. Reads may be answered in pieces cut at multiples of 64 bytes.
    * A request without answer ends with TIMEOUT, at most a 16th of the period and
      ``look_every * depth`` clocks late; its tag is used again when the late answer has come, or
      after a second period less a round of looks from when its TLP was sent. Cost does not depend
      on how many requests wait.
    * If ``tx`` takes nothing for a period, further requests get a tag but are not sent, so they
      time out, too. The low two bits of limits then count as set, because up to 2 tags stay in
      quarantine until their TLPs are sent. Without time-outs, requests wait.
    * While the link is down, requests end with LINK_DOWN within ``look_every * depth`` clocks.
    * The end of what was completed is given when what was posted before it is observable.
    * `finish[0]` and `finish[1]` do not wait for each other. `completion` waits at most 3 clocks
      in a row. Errors are offered in order; one that finds no place bumps ``lost``.

    2 clocks from `request` to `tx`, 3 from the last beat of `completion` to `finish`. Throughput
    is 1 request and 1 beat per clock, less looks: at least one in ``look_every`` clocks.

    Parameters
    ----------
    data_width : :class:`int`
        Of the TLP streams: 64, 128, 256 or 512.
    pio : :class:`PioConfig`
    owner_width : :class:`int`
        Of the requests.

    Members
    -------
    request : ``In(stream.Signature(np_request(...))).array(2)``
    tx : ``Out(stream.Signature(tlp_beat(data_width)))``
        One beat per request. Must be accepted while the link is down, too.
    completion : ``In(stream.Signature(completion_beat(data_width)))``
    done : ``In(STAMP_WIDTH)``
        The count that ``stamp`` of a completion waits for.
    finish : ``Out(stream.Signature(finish(...))).array(2)``
    release : ``In(stream.Signature(...))``
        ``tag`` (``TAG_WIDTH`` bits) of an end of client 0, given back once each. Client 1 returns
        its tags by taking its ends.
    fetch : ``In(fetch_port(...))``
        Data of a tag that was not given back; earliest in the clock after ``finish`` transferred.
    error : ``Out(stream.Signature(PioError))``
        All ends but OK and RRS, and completions that were dropped.
    lost : ``Out(1)``
    requester_id : ``In(16)``
    ten_bit : ``In(1)``
        With 768 tags: use 256 to 1023, else 0 to 255. Switches when no tag is out, and lets
        nothing out until then.
    five_bit : ``In(1)``
        Use tags 0 to 31 only; switches in the same way.
    timeout_code : ``In(4)``, ``timeout_disable`` : ``In(1)``
        Device Control 2. The code takes effect when no tag is out.
    link_up : ``In(1)``
    core_limit, guest_limit : ``In(10)``
        Most tags of one core, and of one guest; 0 counts as 1. Tags in quarantine count.
    idle : ``Out(1)``
        No request and no tag is out.
    used : ``Out(range(1025))``
        Tags that are out, in quarantine or not given back.
    ready : ``Out(1)``
        Tables are cleared, 1 clock per tag after reset; until then nothing is accepted.
    """

    def __init__(self, *, data_width, pio, owner_width):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if not isinstance(pio, PioConfig):
            raise TypeError(f"Programmed I/O configuration must be a PioConfig, not {pio!r}")
        if type(owner_width) is not int or owner_width < 1:
            raise ValueError(f"Owner width must be an integer of at least 1, not {owner_width!r}")
        self.data_width  = data_width
        self.pio         = pio
        self.owner_width = owner_width
        self.depth       = 1024 if pio.tags == 768 else pio.tags
        #: Looks at tags come at least every so many clocks, so that a round is short.
        self.look_every  = max(4, 2048 // self.depth)
        request = np_request(owner_width=owner_width, max_read_bytes=pio.max_read_bytes)
        end     = finish(owner_width=owner_width)
        super().__init__({
            "request":         In(stream.Signature(request)).array(CLIENTS),
            "tx":              Out(stream.Signature(tlp_beat(data_width))),
            "completion":      In(stream.Signature(completion_beat(data_width))),
            "done":            In(STAMP_WIDTH),
            "finish":          Out(stream.Signature(end)).array(CLIENTS),
            "release":         In(stream.Signature(data.StructLayout({"tag": TAG_WIDTH}))),
            "fetch":           In(fetch_port(depth=self.depth, data_width=data_width,
                                             max_read_bytes=pio.max_read_bytes)),
            "error":           Out(stream.Signature(PioError)),
            "lost":            Out(1),
            "requester_id":    In(16),
            "ten_bit":         In(1),
            "five_bit":        In(1),
            "timeout_code":    In(4),
            "timeout_disable": In(1),
            "link_up":         In(1),
            "core_limit":      In(10),
            "guest_limit":     In(10),
            "idle":            Out(1),
            "used":            Out(range(1025)),
            "ready":           Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._create(m)
        self._connect_requests(m)
        self._connect_completions(m)
        self._connect_tags(m)
        return m

    def _create(self, m):
        pio, depth, owner = self.pio, self.depth, self.owner_width
        cores, guests = max(2, 1 << pio.core_id_bits), pio.guests
        holder = {"core_width": exact_log2(cores), "guest_width": exact_log2(guests)}
        shape  = {"data_width": self.data_width, "max_read_bytes": pio.max_read_bytes}
        m.submodules.admission = self._admission = Admission(
            owner_width=owner, max_read_bytes=pio.max_read_bytes, cores=cores, guests=guests,
            tags=depth, depth=pio.reads)
        m.submodules.config = self._config = StreamQueue(self.request[1].p.shape(), depth=2)
        m.submodules.issue = self._issue = Issue(depth=depth, owner_width=owner, **holder, **shape)
        m.submodules.tags = self._tags = TagAllocator(
            depth=depth, split=256 if pio.tags == 768 else None, reserve=CONFIG_TAGS, **holder)
        m.submodules.returns = self._returns = TagReturn(depth=depth)
        m.submodules.scoreboard = self._scoreboard = Scoreboard(
            depth=depth, owner_width=owner, look_every=self.look_every, **shape)
        m.submodules.data = self._data = ReadData(depth=depth, **shape)
        m.submodules.gate = self._gate = FinishGate(
            depth=depth, config_depth=CONFIG_TAGS, owner_width=owner, tag_values=depth)
        m.submodules.link = self._link = LinkWatch(depth=depth)
        m.submodules.time = self._time = TimeoutClock(clock_mhz=pio.clock_mhz)
        m.submodules.errors = self._errors = RecordQueue()

    def _connect_requests(self, m):
        admission, issue, link, tags = self._admission, self._issue, self._link, self._tags
        wiring.connect(m, wiring.flipped(self.request[0]), admission.i)
        wiring.connect(m, wiring.flipped(self.request[1]), self._config.i)
        wiring.connect(m, admission.o, issue.request[0])
        wiring.connect(m, self._config.o, issue.request[1])
        wiring.connect(m, issue.tx, wiring.flipped(self.tx))
        wiring.connect(m, link.look, self._scoreboard.look)
        m.d.comb += [
            link.link_up.eq(self.link_up),
            link.unsent.eq(~issue.empty),
            issue.requester_id.eq(self.requester_id),
            issue.now.eq(self._time.now),
            issue.send.eq(link.send),
            issue.hold.eq(link.hold | self._time.hold),
            issue.give_up.eq(~self.timeout_disable),
            issue.free.eq(tags.free),
            issue.permit.eq(tags.permit),
            tags.take.eq(issue.take),
            tags.holder.eq(issue.holder),
            # One tag more than those that are out until their TLPs are sent.
            admission.core_limit.eq(self.core_limit | Mux(issue.stuck, UNSENT + 1, 0)),
            admission.guest_limit.eq(self.guest_limit | Mux(issue.stuck, UNSENT + 1, 0)),
        ]

    def _connect_completions(self, m):
        scoreboard, time = self._scoreboard, self._time
        wiring.connect(m, wiring.flipped(self.completion), scoreboard.completion)
        wiring.connect(m, self._issue.allocate, scoreboard.allocate)
        wiring.connect(m, scoreboard.store, self._data.store)
        wiring.connect(m, scoreboard.result, self._gate.i)
        wiring.connect(m, scoreboard.error, self._errors.i)
        wiring.connect(m, wiring.flipped(self.fetch), self._data.fetch)
        wiring.connect(m, self._errors.o, wiring.flipped(self.error))
        for outer, inner in zip(self.finish, self._gate.finish, strict=True):
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            scoreboard.requester_id.eq(self.requester_id),
            scoreboard.done.eq(self.done),
            scoreboard.now.eq(time.now),
            *(here.eq(its) for here, its in zip(scoreboard.unsent, self._issue.unsent,
                                                strict=True)),
            scoreboard.timeout_disable.eq(self.timeout_disable),
            scoreboard.down.eq(~self._link.send),
            self._gate.done.eq(self.done),
            time.code.eq(self.timeout_code),
            time.unused.eq(self._tags.used == 0),
            self.lost.eq(self._errors.lost),
        ]

    def _connect_tags(self, m):
        scoreboard, returns, tags = self._scoreboard, self._returns, self._tags
        wiring.connect(m, scoreboard.returned, returns.returned)
        wiring.connect(m, scoreboard.ended, returns.ended)
        wiring.connect(m, scoreboard.expired, returns.expired)
        wiring.connect(m, self._gate.release, returns.release[1])
        wiring.connect(m, returns.put, tags.put)
        for part in (scoreboard, returns):
            m.d.comb += [part.clear.eq(tags.clear), part.clear_tag.eq(tags.clear_tag)]
        quiet = Signal()
        m.d.sync += quiet.eq(self._admission.idle & ~self._config.o.valid & self._issue.empty
                             & self._gate.idle)
        m.d.comb += [
            returns.release[0].valid.eq(self.release.valid),
            returns.release[0].p.tag.eq(self.release.p.tag),
            self.release.ready.eq(returns.release[0].ready),
            self._admission.freed_en.eq(tags.freed_en & (tags.freed.client == 0)),
            self._admission.freed_core.eq(tags.freed.core),
            self._admission.freed_guest.eq(tags.freed.guest),
            tags.upper.eq(self.ten_bit),
            tags.five_bit.eq(self.five_bit),
            self.idle.eq(quiet & (tags.used == 0)),
            self.used.eq(tags.used),
            self.ready.eq(tags.ready),
        ]
