"""Attribution of DMA requests to the guests of shared functions."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.stream import CreditQueue, StreamArbiter, StreamQueue

from .attribution_check import AttributionCheck
from .attribution_exit import AttributionExit
from .attribution_layouts import Checked, CheckRequest, leaving, owner_write, slot_write
from .function_match import FunctionMatch, check_functions
from .guest_layouts import guest_read
from .share_layouts import (
    COLOUR_WIDTH,
    AddressSettings,
    Denial,
    Function,
    RingAccess,
    RingVerdict,
    Weaken,
    access,
    attributed,
    context_write,
    read_share,
    write_share,
)

__all__ = ["Attribution"]


class Attribution(wiring.Component):
    """Find out on whose behalf a device acts, and stop what is not allowed.

        i -> match -+-> arbiter -> o                        requests of other functions
                    +-> requests ----> exit -> arbiter      those of shared ones
                    +-> check -> checks ^ ^
                          |  +-> rings -> ring -> verdict
                        table

    Requests of a function that is not shared go on unchanged. Those of a shared function are
    checked, see :class:`AttributionCheck`; a ring is then asked whether the access is right. What
    is permitted goes on with the ``device_id`` of its guest and without any of its colours; what is
    denied is contained: ``bypass`` and ``contain``. Denials are recorded, and a guest whose request
    is denied for its address, or because its entry is broken, is frozen. Interrupts (``bypass``)
    keep their place and are not looked at.

    Requests of one function come in order. Functions that are not shared have a latency of 1 clock,
    shared ones of 10; a ring is asked after 9, and its access goes on 1 clock after the verdict.
    Throughput is 1 request per clock, as long as no more than ``depth`` of shared functions are
    under way. With ``link_order`` all requests come in order, and others wait for shared ones.

    Parameters
    ----------
    id_width : :class:`int`
        Width of what is returned with a request.
    reads, writes : :class:`int`
        Slots of the data path, 2 to 256.
    functions : :class:`int`
        Number of functions that can be shared, 1 to 4.
    depth : :class:`int`
        Requests of shared functions under way, at least 10 for full throughput of data.
    link_order : :class:`bool`
        All requests are of one ordering source.
    weak : :class:`bool`
        There is a member ``weaken`` for tests; ``key``, ``guard``, ``manager``, ``state``, ``at``
        and ``contain`` are looked at.

    Members
    -------
    settings : ``In(AddressSettings)``, ``functions`` : ``In(Function).array(functions)``
        Change them only while there are no requests of the functions concerned.
    i : ``In(stream.Signature(access(id_width)))``
        Requests.
    o : ``Out(stream.Signature(attributed(id_width)))``
        The same, to translation.
    share_read, share_write : ``Out(slot_write(...))``
        What the data path has to know, written in the clock in which a request is first offered.
    context : ``Out(context_write(reads))``
        What the patcher has to know of a read with ``patch``, written before.
    owner : ``Out(owner_write())``
        Whose an access of a shared function is; with ``context``.
    table : ``Out(guest_read())``
        The guest table.
    ring : ``Out(stream.Signature(RingAccess))``, ``verdict`` : ``In(stream.Signature(...))``
        The rings; one :class:`RingVerdict` for each access, in order. Verdicts may have to wait.
    denial : ``Out(stream.Signature(Denial))``, ``lost`` : ``Out(1)``
        Records of what was denied; for one clock: one was lost.
    freeze : ``Out(stream.Signature(COLOUR_WIDTH))``
        Guests to freeze. None is lost: requests wait.
    """

    def __init__(self, *, id_width, reads, writes, functions, depth=16, link_order=False,
                 weak=False):
        check_functions(functions)
        for name, slots in ("reads", reads), ("writes", writes):
            if not isinstance(slots, int) or not 2 <= slots <= 256:
                raise ValueError(f"Number of {name} must be an integer in 2..256, not {slots!r}")
        if not isinstance(depth, int) or depth < 2:
            raise ValueError(f"Depth must be an integer of at least 2, not {depth!r}")
        self.id_width   = id_width
        self.reads      = reads
        self.writes     = writes
        self.count      = functions
        self.depth      = depth
        self.link_order = link_order
        self.weak       = weak
        super().__init__({
            "settings":    In(AddressSettings),
            "functions":   In(Function).array(functions),
            "i":           In(stream.Signature(access(id_width))),
            "o":           Out(stream.Signature(attributed(id_width))),
            "share_read":  Out(slot_write(read_share(), reads)),
            "share_write": Out(slot_write(write_share(), writes)),
            "context":     Out(context_write(reads)),
            "owner":       Out(owner_write()),
            "table":       Out(guest_read()),
            "ring":        Out(stream.Signature(RingAccess)),
            "verdict":     In(stream.Signature(RingVerdict)),
            "denial":      Out(stream.Signature(Denial)),
            "lost":        Out(1),
            "freeze":      Out(stream.Signature(COLOUR_WIDTH)),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        arrived = data.StructLayout({"hit": self.count, "request": access(self.id_width)})
        m.submodules.match    = match    = FunctionMatch(functions=self.count)
        m.submodules.arrivals = arrivals = StreamQueue(arrived, depth=2)
        m.submodules.requests = requests = CreditQueue(access(self.id_width), depth=self.depth)
        m.submodules.check    = check    = AttributionCheck(weak=self.weak)
        m.submodules.checks   = checks   = CreditQueue(Checked, depth=self.depth)
        m.submodules.rings    = rings    = CreditQueue(RingAccess, depth=self.depth)
        m.submodules.exit     = exit     = AttributionExit(id_width=self.id_width,
                                                           reads=self.reads, weak=self.weak)
        m.submodules.arbiter  = arbiter  = StreamArbiter(leaving(self.id_width), ports=2)

        connect(m, requests.o, exit.i)
        connect(m, checks.o, exit.checked)
        connect(m, check.o, checks.i)
        connect(m, check.ring, rings.i)
        connect(m, rings.o, flipped(self.ring))
        connect(m, flipped(self.verdict), exit.verdict)
        connect(m, exit.o, arbiter.i[1])
        connect(m, exit.context, flipped(self.context))
        connect(m, exit.owner, flipped(self.owner))
        connect(m, exit.denial, flipped(self.denial))
        connect(m, exit.freeze, flipped(self.freeze))
        m.d.comb += [
            self.lost.eq(exit.lost),
            exit.settings.eq(self.settings),
            check.settings.eq(self.settings),
            *(inner.eq(outer) for inner, outer in zip(match.functions, self.functions,
                                                      strict=True)),
        ]
        if self.weak:
            m.d.comb += [check.weaken.eq(self.weaken), exit.weaken.eq(self.weaken)]
        self._arrive(m, match, arrivals)
        self._enter(m, match, arrivals.o, requests, checks, rings, check, exit, arbiter.i[0])
        self._leave(m, arbiter.o)
        return m

    def _arrive(self, m, match, arrivals):
        m.d.comb += [
            match.device_id.eq(self.i.p.device_id),
            arrivals.i.p.hit.eq(match.hit),
            arrivals.i.p.request.eq(self.i.p),
            arrivals.i.valid.eq(self.i.valid),
            self.i.ready.eq(arrivals.i.ready),
        ]

    def _enter(self, m, match, i, requests, checks, rings, check, exit, direct):
        """Send requests of shared functions to the check, and others straight on."""
        request, shared, detour, enter = i.p.request, Signal(), Signal(), Signal()
        empty = Signal()
        m.d.comb += [
            shared.eq(i.p.hit.any()),
            empty.eq((requests.level == 0) & exit.idle),
            detour.eq(shared | (~empty if self.link_order else 0)),
            enter.eq(i.valid & detour & requests.free & ~self.table.hold),
            i.ready.eq(Mux(detour, enter, direct.ready)),

            direct.valid.eq(i.valid & ~detour),
            *(direct.p.request[name].eq(request[name]) for name, _ in attributed(self.id_width)
              if name not in ("shared", "contain")),
            direct.p.access.eq(~request.bypass),
            direct.p.slot.eq(request.slot),

            requests.reserve.eq(enter),
            requests.i.valid.eq(enter),
            requests.i.p.eq(request),
            checks.reserve.eq(enter),
            # Rings are asked by requests that have a place already.
            rings.reserve.eq(check.ring.valid),

            check.i.valid.eq(enter),
            check.i.p.rid.eq(request.device_id),
            *(check.i.p[name].eq(request[name]) for name, _ in CheckRequest.as_shape()
              if name != "rid"),
            match.chosen.eq(i.p.hit),
            check.rule.eq(match.rule),
            check.shared.eq(shared),

            self.table.valid.eq(check.table.valid),
            self.table.guest.eq(check.table.guest),
            self.table.idle.eq(empty),
            check.table.found.eq(self.table.found),
        ]

    def _leave(self, m, o):
        """Tell the data path what it has to know of a request as long as it is offered."""
        m.d.comb += [
            self.o.p.eq(o.p.request),
            self.o.valid.eq(o.valid),
            o.ready.eq(self.o.ready),
            self.share_read.en.eq(o.valid & o.p.access & ~o.p.request.write),
            self.share_read.slot.eq(o.p.slot),
            self.share_read.data.eq(o.p.read),
            self.share_write.en.eq(o.valid & o.p.access & o.p.request.write),
            self.share_write.slot.eq(o.p.slot),
            self.share_write.data.eq(o.p.write),
        ]
