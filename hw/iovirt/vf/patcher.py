"""Check on fetch: what a device reads of rings and lists is judged and rewritten on its way."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..csr.port import RegisterPortSignature
from ..stream import StreamQueue
from .parameter_store import ParameterStore
from .patch_capture import PatchCapture
from .patch_intake import PatchIntake
from .patch_judge import PatchJudge
from .patch_lanes import PatchLanes, piece_data
from .patch_layouts import (
    ADDRESS_BITS,
    CLASS_BITS,
    LANE_BITS,
    SELECT_BITS,
    TAP_BITS,
    VALUE_BITS,
    Job,
    Verdict,
)
from .share_layouts import (
    AddressSettings,
    Charge,
    Denial,
    Weaken,
    context_write,
    patch_beat,
    patched_beat,
)
from .template_store import TemplateStore

__all__ = ["Patcher"]

#: Entries that may be under way between their last beat and the writing of their verdict.
ENTRIES = 16

#: What of a template each part looks at.
PARTS = {"taps": TAP_BITS, "select": SELECT_BITS, "values": VALUE_BITS, "classes": CLASS_BITS,
         "addresses": ADDRESS_BITS, "lane": LANE_BITS}


class Patcher(wiring.Component):
    """Judge the entries of rings and lists that a shared device reads, and rewrite their addresses.

    No 64 bits that a template calls an address leave without the key and the colour of the owner,
    whatever is in memory, in a template, or in the tables of parameters. Beats keep their order.

    An entry is known by its kind of address, and judged as its template says: see docs/sharing.md.
    Entries of which a read has only a part are replaced, if parts could be put together to what was
    never checked.

    Latency is 17 clocks from the last beat of an entry to its first. Throughput is a beat per clock
    for entries of 64 bytes and for PRP lists, and an entry per clock for smaller ones; there are 3
    clocks between the first entries of two pieces.

    Parameters
    ----------
    data_width : :class:`int`
        Width of the beats: 64, 128, 256 or 512.
    reads : :class:`int`
        Reads of which there is a context, at least 2.
    guests, parameters : :class:`int`
        Guests, and parameters of each, powers of two.
    register_width, address_width : :class:`int`
        Of the windows, as of :class:`RegisterPortSignature`.
    weak : :class:`bool`
        Give it ``weaken``, to show in tests what each defence is good for.

    Members
    -------
    i : ``In(stream.Signature(patch_beat(...)))``
        Beats from memory. ``synth`` is the same in all beats of a piece.
    o : ``Out(stream.Signature(patched_beat(data_width)))``
        The same beats, to be given to the device.
    context : ``In(context_write(reads))``
        What is known of each read.
    settings : ``In(AddressSettings)``
        Layout of addresses; constant while there are beats.
    templates, parameters : ``In(RegisterPortSignature(...))``
        Windows: 128 bytes for each template, its word and its opcode map; 8 bytes for each
        parameter of each guest.
    charge : ``Out(stream.Signature(Charge))``
        Bytes that a good entry of a ring moves, if its template tells.
    denial : ``Out(stream.Signature(Denial))``, ``lost`` : ``Out(1)``
        Entries that were replaced; the address has their offset in the page. ``lost`` pulses for
        one that came while another waited.
    """

    def __init__(self, *, data_width, reads, guests, parameters, register_width=64,
                 address_width=16, weak=False):
        self._intake     = PatchIntake(data_width=data_width, reads=reads)
        self._capture    = PatchCapture(data_width=data_width)
        self._judge      = PatchJudge(weak=weak)
        self._lanes      = PatchLanes(data_width=data_width, weak=weak)
        port = {"data_width": register_width, "address_width": address_width}
        self._templates  = TemplateStore(PARTS, **port)
        self._parameters = ParameterStore(guests=guests, parameters=parameters, **port)
        self.data_width  = data_width
        self.weak        = weak
        super().__init__({
            "i": In(stream.Signature(patch_beat(data_width=data_width, reads=reads))),
            "o":          Out(stream.Signature(patched_beat(data_width))),
            "context":    In(context_write(reads)),
            "settings":   In(AddressSettings),
            "templates":  In(RegisterPortSignature(**port)),
            "parameters": In(RegisterPortSignature(**port)),
            "charge":     Out(stream.Signature(Charge)),
            "denial":     Out(stream.Signature(Denial)),
            "lost":       Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.intake     = intake     = self._intake
        m.submodules.capture    = capture    = self._capture
        m.submodules.judge      = judge      = self._judge
        m.submodules.lanes      = lanes      = self._lanes
        m.submodules.templates  = templates  = self._templates
        m.submodules.parameters = parameters = self._parameters
        # Places for the beats of the entries whose verdicts are awaited.
        m.submodules.beats = beats = StreamQueue(piece_data(self.data_width),
                                                 depth=32 if self.data_width < 256 else 16)
        m.submodules.jobs     = jobs     = StreamQueue(Job, depth=8)
        m.submodules.verdicts = verdicts = StreamQueue(Verdict, depth=ENTRIES)

        connect, outside = wiring.connect, wiring.flipped(self)
        connect(m, intake.i, wiring.flipped(self.i))
        connect(m, intake.context, wiring.flipped(self.context))
        connect(m, intake.o, capture.i)
        connect(m, beats.o, lanes.beats)
        connect(m, jobs.o, lanes.jobs)
        connect(m, verdicts.o, lanes.verdicts)
        connect(m, templates.port, outside.templates)
        connect(m, parameters.port, outside.parameters)
        for name in ("o", "charge", "denial"):
            connect(m, getattr(lanes, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [self.lost.eq(lanes.lost), lanes.settings.eq(self.settings)]
        if self.weak:
            m.d.comb += [judge.weaken.eq(self.weaken), lanes.weaken.eq(self.weaken)]

        self._queues(m, beats, jobs, verdicts)
        self._tables(m)
        return m

    def _queues(self, m, beats, jobs, verdicts):
        capture, judge = self._capture, self._judge
        # The judge cannot wait: each entry has a place for its verdict before it is judged.
        awaited = Signal(range(ENTRIES + 1))
        m.d.sync += awaited.eq(awaited + capture.reserve
                               - (verdicts.o.valid & verdicts.o.ready))
        m.d.comb += [
            capture.room.eq(beats.i.ready & jobs.i.ready),
            beats.i.valid.eq(capture.beat),
            beats.i.p.data.eq(capture.i.p.data),
            beats.i.p.last.eq(capture.i.p.last),
            jobs.i.valid.eq(capture.piece),
            jobs.i.p.eq(capture.job),
            capture.verdict_room.eq((awaited != ENTRIES) & ~self._templates.wait),
            judge.token_valid.eq(capture.token_valid),
            judge.token.eq(capture.token),
            judge.taken.eq(capture.taken),
            judge.main.eq(capture.main),
            verdicts.i.valid.eq(judge.verdict_valid),
            verdicts.i.p.eq(judge.verdict),
        ]

    def _tables(self, m):
        intake, capture, judge, lanes = self._intake, self._capture, self._judge, self._lanes
        templates, parameters = self._templates, self._parameters
        job, taps = capture.i.p.job, templates.taps
        m.d.comb += [
            templates.taps_en.eq(intake.coming),
            templates.taps_place.eq(intake.place),
            capture.taps.eq(taps),
            capture.usable.eq(templates.usable.bit_select(job.template, 1)),
            templates.lane_en.eq(lanes.lane_en),
            templates.lane_place.eq(lanes.lane_place),
            lanes.lane.eq(templates.lane),
            lanes.usable.eq(templates.usable),
            templates.map_en.eq(judge.map_en),
            templates.map_place.eq(judge.map_place),
            templates.opcode.eq(judge.opcode),
            judge.opcode_class.eq(templates.opcode_class),
            judge.map_good.eq(templates.map_good),
            judge.usable.eq(templates.usable),
            capture.fetch_room.eq(parameters.free),
            parameters.start.eq(capture.fetch),
            parameters.colour.eq(job.colour),
            parameters.value.eq(taps.values[0].parameter),
            parameters.range.eq(taps.values[1].parameter),
        ]
        for name in ("select", "values", "classes", "addresses"):
            m.d.comb += [
                getattr(templates, f"{name}_en").eq(1),
                getattr(templates, f"{name}_place").eq(getattr(judge, f"{name}_place")),
                getattr(judge, name).eq(getattr(templates, name)),
            ]
        for name in ("value", "base", "limit"):
            m.d.comb += [getattr(judge, f"{name}_{what}").eq(getattr(parameters, f"{name}_{what}"))
                         for what in ("is", "good")]
