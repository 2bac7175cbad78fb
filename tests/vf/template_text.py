"""A ring template that uses every key, for tests that change one thing in it."""

import re

from iovirt.vf.templates import read_template

RING = """
title         = "Ring"
handler       = "ring"
entry_bytes   = 128
device_writes = true
once          = true
partial       = "widen"
aligned_to    = 512
last_slot     = true
zero          = ["8..11", 60, 61]

[opcode]
byte = 0
[opcode.classes]
move = [1, "0x10..0x12"]
idle = [2]

[replace]
keep_byte  = 2
keep_bytes = 2
opcode     = 0x60

[parameters]
owner = 1
block = 4

[[selector]]
name  = "plain"
byte  = 1
mask  = 0xC3
value = 0x41
[[selector]]
name  = "odd"
byte  = 5
mask  = 1
value = 1

[[class]]
name   = "move"
opcode = "move"
when   = ["plain"]
unless = ["odd"]
[[class]]
name   = "idle"
opcode = "any"
when   = ["odd"]

[[address]]
name       = "first"
byte       = 16
classes    = ["move"]
rule       = "data"
aligned_to = 4
length     = { byte = 48, form = "low16", zero_based = true, shift = "queue" }
max_length = 65536
[[address]]
name       = "second"
byte       = 24
classes    = ["move"]
rule       = "prp2"
reference  = "first"
child      = "pages"
aligned_to = 8
length     = { byte = 48, form = "low16", zero_based = true, shift = "queue" }
[[address]]
name = "third"
byte = 32
rule = "none"

[[value]]
name      = "owner"
byte      = 12
low       = 4
width     = 20
op        = "force"
parameter = "owner"
classes   = ["move", "idle"]
[[value]]
name      = "block"
byte      = 40
width     = 64
op        = "range_add"
parameter = "block"
classes   = ["move"]
length    = { byte = 52, form = "high16" }
"""

PAGES = """
title       = "Pages"
handler     = "prp_list"
entry_bytes = 8
aligned_to  = 8
"""

RANGES = """
title       = "Ranges"
handler     = "range_list"
entry_bytes = 16
aligned_to  = 16
[parameters]
block = 4
[[class]]
name = "range"
[[value]]
name      = "block"
byte      = 8
width     = 64
op        = "range_add"
parameter = "block"
classes   = ["range"]
length    = { byte = 4, form = "full32" }
"""


#: Changes that make a ring of what hardware can do.
_FITTED = {
    "entry_bytes   = 128": "entry_bytes   = 64",
    "low       = 4\nwidth     = 20": "width     = 32",
    "{ byte = 52, form = \"high16\" }": "{ byte = 48, form = \"low16\", zero_based = true }",
}


def change(text, old, new):
    """Replace the first ``old``, which may have other spacing, and must be there."""
    pattern = r"\s+".join(map(re.escape, old.split()))
    changed, count = re.subn(pattern, lambda match: new, text, count=1)
    assert count == 1, old
    return changed


def read(directory, text, name="ring"):
    """Write a template and read it."""
    path = directory / f"{name}.toml"
    path.write_text(text)
    return read_template(path)


def fitted():
    """Return the text of a ring, and of its pages, that hardware can do."""
    text = RING
    for old, new in _FITTED.items():
        text = change(text, old, new)
    return text, change(PAGES, "aligned_to  = 8", "aligned_to  = 8\nlast_slot = true")
