"""What a template says, as Python objects: names and numbers as in its file."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Address", "ClassRule", "Length", "Opcodes", "Selector", "Template", "Value"]


@dataclass(frozen=True)
class Length:
    """Where the entry says how long something is. ``shift`` None: the block size of the queue."""

    byte:       int
    form:       str
    zero_based: bool = False
    shift:      int | None = 0


@dataclass(frozen=True)
class Selector:
    """A named comparison: ``entry[byte] & mask == value``."""

    name:  str
    byte:  int
    mask:  int
    value: int


@dataclass(frozen=True)
class Opcodes:
    """Opcodes by the name of their class, at most three; all others have none."""

    byte:    int
    classes: dict


@dataclass(frozen=True)
class ClassRule:
    """The entry has class ``name`` if this is the first rule that holds. ``opcode`` None: any."""

    name:   str
    opcode: str | None
    when:   tuple
    unless: tuple


@dataclass(frozen=True)
class Address:
    """A pointer of the entry."""

    name:       str
    byte:       int
    bits:       int
    classes:    tuple
    aligned_to: int
    rule:       str
    child:      str | None
    length:     Length | None
    reference:  str | None
    max_length: int | None


@dataclass(frozen=True)
class Value:
    """A number of the entry: ``width`` bits from bit ``low`` of the doubleword at ``byte``."""

    name:      str
    byte:      int
    low:       int
    width:     int
    op:        str
    parameter: str | None
    classes:   tuple
    length:    Length | None


@dataclass(frozen=True)
class Template:
    """What the entries of one kind of ring or list look like, and what is done to them."""

    path:          Path
    name:          str
    title:         str
    handler:       str
    entry_bytes:   int
    device_writes: bool
    once:          bool
    partial:       str
    aligned_to:    int
    within:        int
    max_entries:   int
    last_slot:     bool
    alternative:   str | None
    zero:          tuple
    keep_byte:     int
    keep_bytes:    int
    safe_opcode:   int
    opcodes:       Opcodes | None
    parameters:    dict
    selectors:     tuple
    rules:         tuple
    addresses:     tuple
    values:        tuple
    placement:     object = None  # where hardware has all this
    classes:       tuple = field(init=False)  # names, class 1 first

    def __post_init__(self):
        names = dict.fromkeys(rule.name for rule in self.rules)
        object.__setattr__(self, "classes", tuple(names))

    @property
    def references(self):
        """Names of the templates that this one speaks of, and the keys that do."""
        names = {}
        if self.alternative is not None:
            names[self.alternative] = "alternative"
        for number, address in enumerate(self.addresses):
            if address.child is not None:
                names[address.child] = f"address[{number}].child"
        return names
