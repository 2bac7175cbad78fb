"""Operations of programmed I/O, of devices that answer it, and of interrupts."""

from dataclasses import dataclass

__all__ = ["ACTIONS", "EXPECT", "Function", "IoOperations", "PioAnswer", "Record"]

M64 = (1 << 64) - 1
(PIO, WINDOW, FUNCTION, RULE, RELEASE, BAR_WRITE, BAR_READ, SIGNAL, RING, TOLERATE) = range(24, 34)

#: What must become of an access of a core. "auto" is what the device says: its data, or, if it
#: fails, all ones or SLVERR. A write of "ones" must be dropped.
EXPECT  = {"auto": 0, "ones": 1, "error": 2, "poison": 3, "any": 4, "decerr": 5}
ACTIONS = {"ok": 0, "ur": 1, "ca": 2, "rrs": 3, "poison": 4, "none": 5}
KINDS   = {"read": 1, "config_read": 2, "config_write": 4}
FORGED  = {None: 0, "before": 1, "after": 2, "instead": 3}
SERVICE = {"manual": 0, "poll": 1, "msi": 2, "wire": 3}
NOBODY  = 0xffff
KEEP    = 0xffff_ffff


@dataclass
class Function:
    """A function behind the link.

    ``config`` is {Dword: (value, bits that can be written)}; ``bars`` is {number: size}, those of
    ``wide`` have 64-bit addresses. ``parent`` is the number of the bridge that it is behind. To one
    that is ``shared``, the block writes by itself.
    """

    devfn:  int
    config: dict
    bars:   dict
    wide:   tuple = ()
    parent: int = NOBODY
    bridge: bool = False
    bus:    int = 0
    shared: bool = False


@dataclass(slots=True)
class PioAnswer:
    """End of an access of a core. Clocks: AR or AW offered, taken; first TLP; last completion
    taken; response taken. ``data`` is what was read.
    """

    resp:      int
    poisoned:  bool
    tlps:      int
    offered:   int
    accepted:  int
    asked:     int
    answered:  int
    responded: int
    data:      bytes

    @classmethod
    def of(cls, event):
        """Make it from an event ``pio``."""
        flags, *clocks, count = event.values[:7]
        data = b"".join(word.to_bytes(8, "little") for word in event.values[7:])[:count]
        return cls(flags & 3, bool(flags >> 2 & 1), flags >> 8, *clocks, data)

    @property
    def value(self):
        """What was read, as a number."""
        return int.from_bytes(self.data, "little")


@dataclass(slots=True)
class Record:
    """Record of an event queue. ``visible`` and ``consumed`` are clocks."""

    ring:        int
    count:       int
    cookie:      int
    merge_count: int
    index:       int
    rid:         int
    segment:     int
    guest:       int
    more:        bool
    data:        int
    sequence:    int
    time:        int
    type:        int
    priority:    int
    visible:     int
    consumed:    int

    @classmethod
    def of(cls, event):
        """Make it from an event ``record``."""
        ring, count, *words, visible, consumed = event.values
        return cls(ring, count, *cls.fields(words), visible, consumed)

    @staticmethod
    def fields(words):
        """Return the fields, from the cookie to the priority, of four 64-bit words."""
        a, b, c, d = words
        return (a & 0xffff_ffff, a >> 32 & 0xffff, a >> 48, b & 0xffff, b >> 16 & 0xff,
                b >> 24 & 0xffff, bool(b >> 40 & 1), c & 0xffff_ffff, c >> 32, d & (1 << 56) - 1,
                d >> 56 & 31, d >> 61 & 3)


class IoOperations:
    """The part of a :class:`Program` that only the fast simulation executes."""

    # Cores

    def pio_read(self, address, size=4, *, beats=1, id=0, group=0, expect="auto", report=True,
                 burst=1):
        """Let a core read ``beats`` beats of ``size`` bytes: event ``pio`` if ``report``.

        It is handed over and not waited for. What comes back must be what the device said.
        """
        return self._add(PIO, group | report << 17 | EXPECT[expect] << 18, address,
                         _shape(size, beats, id, burst))

    def pio_write(self, address, data, *, size=None, strobes=None, id=0, group=0, expect="auto",
                  report=False, burst=1):
        """Let a core write the bytes ``data``, in as many beats of ``size`` bytes as it takes.

        Without ``size`` it is one beat. ``strobes`` has a bit per byte. Each byte must come to the
        device once, before anything that the core asks for after the response.
        """
        data = bytes(data)
        if size is None:
            size = 1 << max(len(data) - 1, 0).bit_length()
        aligned = address & -size
        beats = -(-(address - aligned + len(data)) // size)
        total = aligned + beats * size - address
        if strobes is None and total != len(data):
            strobes = (1 << len(data)) - 1
        words = _words(data.ljust(total, b"\0"))
        if strobes is not None:
            words += [strobes >> 64 * n & M64 for n in range(-(-total // 64))]
        return self._add(PIO, group | 1 << 16 | report << 17 | EXPECT[expect] << 18, address,
                         _shape(size, beats, id, burst), *words)

    def window(self, address, size, target, *, configuration=False):
        """Say which addresses of cores are which of PCIe; of an ECAM window, ``target`` is the
        offset of its first byte.
        """
        return self._add(WINDOW, configuration, address, size, target)

    def clear_windows(self):
        """Forget the windows."""
        return self._add(WINDOW, 2, 0, 0, 0)

    # Devices

    def function(self, number, function):
        """Put a :class:`Function` behind the link, or replace the one with this number."""
        bars = [word for bar, size in function.bars.items()
                for word in (bar | (bar in function.wide) << 8, size)]
        config = [word for at, (value, mask) in function.config.items()
                  for word in (at | value << 32, mask)]
        return self._add(FUNCTION, number, function.parent | function.devfn << 16
                         | function.bus << 24 | function.bridge << 32 | function.shared << 33
                         | len(function.bars) << 40,
                         *bars, *config)

    def rule(self, action="ok", *, kinds=("read", "config_read", "config_write"), function=None,
             low=0, high=M64, count=0, delay=20, jitter=0, split=0, piece=0, hold=False,
             late=False, forged=None, flip=(0, 0, 0), dwords=0):
        """Let devices answer some requests in another way; the first rule that fits is used.

        It fits requests of these ``kinds``, to this ``function``, to addresses (or offsets in the
        configuration space of the hierarchy) ``low`` to ``high``, ``count`` of them (0: all).
        Their pieces are answered ``delay`` and up to ``jitter`` random clocks later, split at
        multiples of ``split`` bytes (0: only at the largest payload), or held for `release`.
        ``action`` is "ok", "ur", "ca", "rrs", "poison" (data with EP) or "none" (no answer), from
        the piece with number ``piece`` on. ``late`` says that the core will have given up.

        ``forged`` sends a forged completion, too, "before" or "after" each genuine one, or
        "instead": with ``flip`` XORed to Dwords 0 to 2 of the header, and ``dwords`` more payload.
        """
        target = NOBODY if function is None else function
        return self._add(
            RULE, 0, low, high,
            sum(KINDS[kind] for kind in kinds) | ACTIONS[action] << 8 | FORGED[forged] << 16
            | piece << 24 | hold << 32 | late << 33 | target << 48,
            count | split << 32, delay | jitter << 32, flip[0] | flip[1] << 32,
            flip[2] | (dwords & 0xffff_ffff) << 32)

    def clear_rules(self):
        """Let devices answer as usual."""
        return self._add(RULE, 1)

    def release(self, order="as they came"):
        """Send what rules held back: "as they came", "reversed", or "shuffled"."""
        return self._add(RELEASE, ("as they came", "reversed", "shuffled").index(order))

    def write_bar(self, function, bar, offset, words):
        """Write 64-bit words to the memory of a BAR, from the side of the device."""
        return self._add(BAR_WRITE, function | bar << 16, offset, *words)

    def read_bar(self, function, bar, offset, count=1):
        """Read 64-bit words of the memory of a BAR: event ``memory``."""
        return self._add(BAR_READ, function | bar << 16, offset, count)

    # Interrupts

    def signal(self, header, payload=(), *, rid, index=None, data=None, forward=None, group=0,
               segment=0, prefix=None):
        """Send a posted TLP that is an interrupt.

        With ``index``, of its table entry, a record must come that has its ``data`` (None: any);
        with ``forward``, (address, data), that must be written. `wait` waits for either. The write
        must be issued after all earlier writes of the source were answered.
        """
        payload = list(payload)
        meta = (prefix or 0) | (prefix is not None) << 32 | segment << 40 | len(payload) << 48
        packed = [payload[n] | (payload[n + 1] if n + 1 < len(payload) else 0) << 32
                  for n in range(0, len(payload), 2)]
        kind = 2 if forward else 0 if index is None else 1
        address, wanted = forward or (0, data or 0)
        about = (kind | (data is not None) << 8 | (index or 0) << 16 | rid << 32 | segment << 48)
        return self._add(SIGNAL, group, header >> 64, header & M64, meta, *packed, about, wanted,
                         address)

    def ring(self, queue, base, log2, *, registers, service="msi", notify=0, wire=0, clear=0,
             pause=1, burst=KEEP, report=False, start=None):
        """Watch the ring of an event queue, and serve it.

        ``registers`` is the offset of its guest's page. ``service`` "msi" reads records after a
        write to ``notify``, "wire" after the wire rises (``clear`` is the register that clears it),
        "poll" all the time, "manual" never. At most ``burst`` records are read every ``pause``
        clocks. Event ``record`` per record if ``report``. ``start`` is the count of the first
        record; None keeps what is known of a ring that is watched already.
        """
        return self._add(RING, queue, base, registers, notify, clear,
                         log2 | wire << 8 | SERVICE[service] << 16 | report << 24,
                         pause | burst << 32, KEEP if start is None else start)

    def tolerate(self, index):
        """Accept records of this index that no `signal` asked for."""
        return self._add(TOLERATE, index)


def _shape(size, beats, number, burst):
    if size & size - 1 or not 1 <= size <= 128 or not 1 <= beats <= 256:
        raise ValueError(f"Beats must be 1..256 of 1..128 bytes, not {beats} of {size}")
    return size.bit_length() - 1 | beats - 1 << 8 | number << 16 | burst << 32


def _words(data):
    return [int.from_bytes(data[n:n + 8], "little") for n in range(0, len(data), 8)]
