"""What agents of the bench report."""

from dataclasses import dataclass

__all__ = ["USES", "Breach", "Completion", "DeviceDma", "Mismatch", "events_of"]

#: What a device uses an address for.
USES = ("entry", "prp_list", "sgl", "ranges", "read", "write", "completion", "interrupt", "forged")


def _bytes(words, count):
    return b"".join(word.to_bytes(8, "little") for word in words)[:count]


@dataclass(frozen=True)
class Completion:
    """A completion that a guest found in its ring."""

    guest:  int
    cycle:  int
    result: int
    sqhd:   int
    sqid:   int
    cid:    int
    phase:  int
    status: int     # without the phase: SCT << 8 | SC, do not retry is bit 14

    @classmethod
    def of(cls, event):
        """Make it from an event ``completion``."""
        guest, cycle, low, high = event.values
        return cls(guest, cycle, low, high & 0xffff, high >> 16 & 0xffff, high >> 32 & 0xffff,
                   high >> 48 & 1, high >> 49)


@dataclass(frozen=True)
class DeviceDma:
    """An access of a device: ``data`` is what it wrote or got; 0 is a successful ``status``."""

    cycle:    int
    use:      str
    write:    bool
    guest:    int
    queue:    int
    address:  int
    status:   int
    poisoned: bool
    data:     bytes

    @classmethod
    def of(cls, event):
        """Make it from an event ``device_dma``."""
        cycle, what, address, length, status, *words = event.values
        return cls(cycle, USES[what & 255], bool(what >> 8 & 1), what >> 16 & 0xffff, what >> 32,
                   address, status & 255, bool(status >> 8), _bytes(words, length))


@dataclass(frozen=True)
class Mismatch:
    """A word that an honest guest read, and what it should have been."""

    guest:  int
    block:  int
    word:   int
    seen:   int
    wanted: int

    @classmethod
    def of(cls, event):
        """Make it from an event ``mismatch``."""
        return cls(*event.values)


@dataclass(frozen=True)
class Breach:
    """Something that must not be: the number of the counter, the guest, two words about it."""

    counter: int
    guest:   int
    first:   int
    second:  int

    @classmethod
    def of(cls, event):
        """Make it from an event ``breach``."""
        return cls(*event.values)


def events_of(kind, events):
    """Return the events of a class, made of events of a run."""
    names = {Completion: "completion", DeviceDma: "device_dma", Mismatch: "mismatch",
             Breach: "breach"}
    return [kind.of(event) for event in events if event.kind == names[kind]]
