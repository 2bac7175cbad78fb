"""What a completion says, and whether it answers a request."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import CompletionStatus
from ..pcie.tlp import CompletionHeader, Type
from .layouts import FinishStatus, NpKind
from .request_layouts import CompletionFacts, status_of, tag_entry, tag_progress

__all__ = ["CompletionDecode", "CompletionMatch"]


class CompletionDecode(wiring.Component):
    """State the facts of the header of a completion (PCIe Base, 2.2.9). Combinational.

    Parameters
    ----------
    tag_bits : :class:`int`
        Bits of a tag in use, at most 10.

    Members
    -------
    hdr : ``In(128)``
    requester_id : ``In(16)``
    facts : ``Out(CompletionFacts)``
    """

    def __init__(self, *, tag_bits):
        self.tag_bits = tag_bits
        super().__init__({
            "hdr":          In(128),
            "requester_id": In(16),
            "facts":        Out(CompletionFacts),
        })

    def elaborate(self, platform):
        m = Module()
        header, facts = CompletionHeader(self.hdr), self.facts
        dw0 = header.dw0

        # Bytes that Length covers, less those that are left; a payload begins with the Dword of the
        # first byte.
        excess = Signal(signed(15))
        tag    = Cat(header.tag, dw0.tag_8, dw0.tag_9)
        length = Cat(dw0.length, dw0.length == 0)
        count  = Cat(header.byte_count, header.byte_count == 0)
        m.d.comb += [
            facts.tag.eq(tag),
            facts.ours.eq((header.rid == self.requester_id) & ~tag[self.tag_bits:].any()),
            facts.plain.eq((dw0.type == Type.COMPLETION) & (dw0.tc == 0) & (dw0.attr() == 0)),
            facts.success.eq(header.status == CompletionStatus.SC),
            facts.unready.eq(header.status == CompletionStatus.RRS),
            facts.status.eq(status_of(header.status)),
            facts.has_data.eq(dw0.has_data()),
            facts.poisoned.eq(dw0.has_data() & dw0.ep),
            facts.byte_count.eq(count),
            facts.lower_addr.eq(header.lower_addr),
            facts.length_dw.eq(length),
            excess.eq(Cat(C(0, 2), length) - header.lower_addr[:2] - count),
            facts.remains.eq(-excess),
            facts.ends.eq((excess >= 0) & (excess[2:14] == 0)),
            facts.cut.eq((excess < 0) & ((header.lower_addr[2:6] + dw0.length)[:4] == 0)),
        ]
        return m


class CompletionMatch(wiring.Component):
    """Compare a completion with the request of its tag. Combinational.

    Byte Count and Lower Address are compared if data come; devices disagree about them in
    completions without data. Completer ID: the bits that the request does not mask.

    Parameters
    ----------
    owner_width, max_read_bytes : :class:`int`
        Shape entries.

    Members
    -------
    facts : ``In(CompletionFacts)``, ``completer`` : ``In(16)``
        The completion.
    entry : ``In(tag_entry(...))``, ``progress`` : ``In(tag_progress(...))``
        The request, and what has become of it.
    fresh : ``In(1)``
        Nothing has: ``progress`` is of an earlier request.
    matches : ``Out(1)``
        It answers the request.
    final : ``Out(1)``
        Then it ends it.
    status : ``Out(FinishStatus)``
        With this status.
    poisoned : ``Out(1)``
        Data up to and with this completion had EP.
    """

    def __init__(self, *, owner_width, max_read_bytes):
        self.max_read_bytes = max_read_bytes
        super().__init__({
            "facts":     In(CompletionFacts),
            "completer": In(16),
            "entry":     In(tag_entry(owner_width=owner_width, max_read_bytes=max_read_bytes)),
            "progress":  In(tag_progress(max_read_bytes=max_read_bytes)),
            "fresh":     In(1),
            "matches":   Out(1),
            "final":     Out(1),
            "status":    Out(FinishStatus),
            "poisoned":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        facts, entry, progress = self.facts, self.entry, self.progress

        # Both sets of values are compared, and then one result is chosen, to keep paths short.
        fits = [(facts.byte_count == state.left) & (facts.lower_addr == state.position[:7])
                for state in (_Start(entry), progress)]
        extent, completer = Signal(), Signal()
        m.d.comb += [
            extent.eq(Mux(self.fresh, *fits) & (facts.ends | (facts.cut
                                                & (entry.kind == NpKind.MEMORY_READ)))),
            completer.eq(((self.completer ^ entry.completer) & ~entry.completer_mask) == 0),
            self.poisoned.eq(facts.poisoned | (progress.poisoned & ~self.fresh)),
            self.final.eq(facts.ends | ~facts.has_data),
        ]
        with m.If(~facts.success):
            m.d.comb += self.matches.eq(facts.plain & completer & ~facts.has_data)
        with m.Elif(entry.kind == NpKind.CONFIG_WRITE):
            m.d.comb += self.matches.eq(facts.plain & completer & ~facts.has_data)
        with m.Else():
            m.d.comb += self.matches.eq(facts.plain & completer & facts.has_data & extent)

        with m.If(facts.unready & (entry.kind != NpKind.MEMORY_READ)):
            m.d.comb += self.status.eq(FinishStatus.RRS)
        with m.Elif(facts.success & self.poisoned):
            m.d.comb += self.status.eq(FinishStatus.POISONED)
        with m.Else():
            m.d.comb += self.status.eq(facts.status)
        return m


class _Start:
    """State of a request to which nothing has happened yet."""

    def __init__(self, entry):
        self.left, self.position = entry.count, entry.position
