"""Plan the replay of a trace: when each page is mapped, to what, and when it is cleared.

A trace has no "map" rows. A page is known to be mapped from its presence bits, and from rows that
reach it. Between two invalidations that cover a page its translation never changes, so all evidence
of that time tells of one frame. An invalidation of just that page ends its mapping; one of the
whole domain ends it only if the page comes back with another frame, or not at all.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from .traces import PAGE, TraceError

__all__ = ["Edit", "Plan", "plan_trace"]

GROUP = 8


@dataclass(slots=True)
class Edit:
    """Something to do before a row: map a page of a domain to a frame, or clear it (None)."""

    dom: int
    page: int
    frame: int | None


@dataclass
class Plan:
    """What to do before each row: ``edits[seq]``. ``invented`` frames belong to no row."""

    edits: dict
    invented: int
    mappings: int
    domains: dict   # rid: domain at its first row


@dataclass(slots=True)
class _Span:
    """Evidence of one page between two invalidations that cover it."""

    epoch: int                 # domain-wide invalidations before it
    rid: int
    first: int
    last: int
    frame: int | None = None
    present: bool = True
    changes: list = field(default_factory=list)   # (row, present) after the first
    end: int | None = None     # row of the invalidation that follows
    alone: bool = False        # and that one is of this page


class _Observer:
    """Collects spans of every page from the rows."""

    def __init__(self, path):
        self.path    = path
        self.live    = defaultdict(dict)   # domain: page: span
        self.spans   = defaultdict(list)   # (domain, page): spans
        self.flushes = defaultdict(list)   # domain: rows of domain-wide invalidations

    def look(self, row):
        """Collect what a DMA row shows of its own page, of those it goes on to, of neighbours."""
        own = row.addr // PAGE
        self._seen(row, own, row.gpa // PAGE)
        for page in range(own + 1, (row.addr + row.reach - 1) // PAGE + 1):
            self._seen(row, page, None)
        first = own // GROUP * GROUP
        for n in range(GROUP):
            if first + n != own:
                if row.present >> n & 1:
                    self._seen(row, first + n, None)
                else:
                    self._absent(row, first + n)

    def invalidate(self, row, domains):
        """Note an invalidation."""
        if row.scope != "P":
            for dom in domains if row.scope == "G" else (row.dom,):
                self.flushes[dom].append(row.seq)
            return
        live = self.live[row.dom]
        for page in range(row.addr // PAGE, (row.addr + row.length) // PAGE):
            if span := live.pop(page, None):
                if span.epoch == len(self.flushes[row.dom]):
                    span.end = row.seq
                span.alone = True

    def finish(self):
        """Fill in which domain-wide invalidation ended each span."""
        for (dom, _), spans in self.spans.items():
            flushes = self.flushes[dom]
            for span in spans:
                if span.end is None and span.epoch < len(flushes):
                    span.end = flushes[span.epoch]

    def _seen(self, row, page, frame):
        live, epoch = self.live[row.dom], len(self.flushes[row.dom])
        span = live.get(page)
        if span is None or span.epoch != epoch:
            span = live[page] = _Span(epoch, row.rid, row.seq, row.seq)
            self.spans[row.dom, page].append(span)
        elif not span.present:
            span.changes.append((row.seq, True))
        span.present, span.last = True, row.seq
        if frame is not None:
            if span.frame not in (None, frame):
                raise TraceError(f"{self.path}, line {row.seq + 1}: gpa must be in frame "
                                 f"{span.frame:#x} until IOVA {page * PAGE:#x} is invalidated, not "
                                 f"in {frame:#x}")
            span.frame = frame

    def _absent(self, row, page):
        span = self.live[row.dom].get(page)
        if span is None or not span.present:
            return
        span.present = False
        if span.epoch == len(self.flushes[row.dom]):
            span.changes.append((row.seq, False))
        else:
            span.alone = True   # gone since the invalidation: it ended the mapping


def _mappings(spans):
    """Join the spans of a page that one mapping may explain; return lists of spans."""
    joined, frame = [], None
    for span in spans:
        fits = joined and not joined[-1][-1].alone and (None in (frame, span.frame)
                                                       or frame == span.frame)
        if fits:
            joined[-1].append(span)
            frame = span.frame if frame is None else frame
        else:
            joined.append([span])
            frame = span.frame
    return joined


def plan_trace(rows, *, frames, lead=0, path="trace"):
    """Return the :class:`Plan` for a list of rows.

    ``frames`` counts the frames of memory; invented ones are taken from the top. ``lead`` maps a
    page so many DMA rows of its device before its first evidence, but never before the row that
    ended its last mapping.
    """
    observer, rows_of, domains = _Observer(path), defaultdict(list), {}
    for row in rows:
        if row.kind == "dma":
            rows_of[row.rid].append(row.seq)
            domains.setdefault(row.rid, row.dom)
            observer.look(row)
        elif row.kind == "inval":
            observer.invalidate(row, set(domains.values()))
    observer.finish()
    position = {rid: {seq: n for n, seq in enumerate(seqs)} for rid, seqs in rows_of.items()}
    edits, invented, mappings = defaultdict(list), 0, 0
    for (dom, page), spans in observer.spans.items():
        free = 0   # the first row at which the page may be mapped again
        for mapping in _mappings(spans):
            mappings += 1
            frame = next((span.frame for span in mapping if span.frame is not None), None)
            if frame is None:
                invented += 1
                frame = frames - invented
            elif frame >= frames // 2:
                raise TraceError(f"{path}: gpa must be below {frames // 2 * PAGE:#x} for this "
                                 f"configuration, not {frame * PAGE:#x}")
            first = mapping[0]
            seqs, place = rows_of[first.rid], position[first.rid][first.first]
            early = max(seqs[max(0, place - lead)], free)
            edits[min(early, first.first)].append(Edit(dom, page, frame))
            present = _changes(mapping, dom, page, frame, edits)
            last = mapping[-1]
            if present and last.end is not None:
                edits[last.end].append(Edit(dom, page, None))
            free = (last.end if last.end is not None else last.last) + 1
    return Plan(edits, invented, mappings, domains)


def _changes(mapping, dom, page, frame, edits):
    """Add the edits inside a mapping; return whether the page is present at its end."""
    present = True
    for number, span in enumerate(mapping):
        changes = span.changes if number == 0 else [(span.first, True), *span.changes]
        for seq, now in changes:
            if now != present:
                edits[seq].append(Edit(dom, page, frame if now else None))
            present = now
    return present
