"""Tables scattered over the whole memory, defects to put into them, and a memory to read them."""

from .models.memory import AccessFault, Corruption, WordMemory
from .models.translate import Capabilities
from .tables import PAGE, TableBuilder

__all__ = ["DEFECTS", "ScatteredTables", "TableMemory"]

V, R, W, X, U, A, D = (1 << n for n in (0, 1, 2, 3, 4, 6, 7))
NAPOT = 1 << 63

#: Changes of an entry, by name: (mask to clear, mask to toggle).
DEFECTS = {
    "invalid":  (V, 0),
    "reserved": (0, 1 << 54),
    "software": (0, 1 << 60),
    "pbmt":     (0, 1 << 61),
    "not_user": (U, 0),
    "old":      (A, 0),
    "clean":    (D, 0),
    "napot":    (0, NAPOT),
    "no_read":  (R, 0),
    "no_write": (W, 0),
    "no_exec":  (X, 0),
    "pointer":  (R | W | X, 0),
    "far":      (0, 1 << 53),
    "odd":      (0, 1 << 10),
}


class ScatteredTables(TableBuilder):
    """A `TableBuilder` whose pages are anywhere in the physical address space.

    Parameters
    ----------
    rng : random.Random
    caps : Capabilities
    levels : of the device directory.
    """

    def __init__(self, rng, caps=None, *, levels=3):
        self.rng    = rng
        self.caps   = caps or Capabilities()
        self.levels = levels
        self.words  = WordMemory()
        self._used  = set()
        self._directory_pages = set()
        super().__init__(self.words.words, base=0, limit=self.caps.limit, classify=self._note)
        self.ddtp = self.directory(levels) >> 12 << 10 | 1 + levels

    def allocate(self, pages=1, *, align=1):
        """Return the address of unused pages."""
        while True:
            first = self.rng.randrange(self.limit // PAGE) // align * align
            taken = set(range(first, first + pages))
            if not taken & self._used:
                self._used |= taken
                return first * PAGE

    def _note(self, address, kind, _domain, _iova):
        if kind == "ddt":
            self._directory_pages.add(address)

    def device(self, device_id, **fields):
        """Write the context of a device; return its address."""
        return self.device_context(self.ddtp >> 10 << 12, self.levels, device_id, **fields)

    def places(self):
        """Return the addresses of all words that are set, of directories and of other tables."""
        in_directory = lambda place: place & -PAGE in self._directory_pages
        return ([place for place in sorted(self.memory) if in_directory(place)],
                [place for place in sorted(self.memory) if not in_directory(place)])

    def damage(self, share):
        """Break a ``share`` of the words, and half as many more by errors of the memory."""
        directory, others = self.places()
        for place in directory + others:
            if self.rng.random() < share:
                # Two roots with one GSCID are an error of software that may have any effect, so
                # the bits of iohgatp.GSCID stay as they are.
                bit = self.rng.choice([*range(44), *range(60, 64)])
                clear, toggle = self.rng.choice(
                    [(V, 0), (0, 1 << bit), (0xF << 60, 0)]
                    if place in directory else list(DEFECTS.values()))
                self.memory[place] = self.memory[place] & ~clear ^ toggle
            if self.rng.random() < share / 2:
                self.words.bad.append((place, 8, self.rng.choice(["access", "poison"])))


class TableMemory:
    """Answer `table_read_request` with `table_read_beat`, with latency and in any order.

    Beats of one read come in order; those of several are mixed at random if ``mixed``. The data of
    a read is that at the time of its acceptance.

    Parameters
    ----------
    memory : WordMemory
    rng : random.Random
    data_width : width of a beat.
    latency : function that returns the latency of the next read, in clocks.
    accept : function that says whether a read is accepted in the next clock.
    mixed : mix the beats of different reads.
    """

    def __init__(self, memory, rng, *, data_width, latency=lambda: 10, accept=lambda: True,
                 mixed=True):
        self.memory, self.rng = memory, rng
        self.data_width = data_width
        self.latency, self.accept, self.mixed = latency, accept, mixed
        self.queue = []   # [due, tag, beats]
        self.reads = []   # (address, bytes) in order of acceptance

    def beats(self, address, size, tag):
        """Return the beats of a read, as dicts."""
        width, result = self.data_width // 8, []
        assert address % size == 0
        for start in range(address // width * width, address + size, width):
            value, error = 0, 0
            for place in range(start, start + width, 8):
                if not address <= place < address + size:
                    value |= self.rng.getrandbits(64) << 8 * (place - start)
                    continue
                try:
                    word, = self.memory.read(place, limit=1 << 56)
                    value |= word << 8 * (place - start)
                except AccessFault:
                    error = 1
                except Corruption:
                    error = error or 2
            if error:
                value = self.rng.getrandbits(self.data_width)
            result.append({"data": value, "error": error, "tag": tag, "last": 0})
        result[-1]["last"] = 1
        return result

    async def serve(self, ctx, read, beats):
        """Testbench (background) of the ports ``read`` and ``beats``."""
        clock, offered = 0, None
        ctx.set(read.ready, 1)
        async for _, reset, valid, ready, request, taken in ctx.tick().sample(
                read.valid, read.ready, read.payload, beats.ready):
            clock += 1
            if reset:
                self.queue.clear()
                offered = None
                ctx.set(beats.valid, 0)
                continue
            if valid and ready:
                size = 1 << request.size_log2
                self.reads.append((request.address, size))
                assert all(tag != request.tag for _, tag, _ in self.queue), "two reads of one walk"
                self.queue.append([clock + self.latency(), request.tag,
                                   self.beats(request.address, size, request.tag)])
            if offered is not None and taken:
                offered[2].pop(0)
                if not offered[2]:
                    self.queue.remove(offered)
                offered = None if self.mixed or not offered[2] else offered
            if offered is None:
                due = [entry for entry in self.queue if entry[0] <= clock]
                offered = self.rng.choice(due) if due else None
            ctx.set(beats.valid, offered is not None)
            if offered is not None:
                ctx.set(beats.payload, offered[2][0])
            ctx.set(read.ready, self.accept())
