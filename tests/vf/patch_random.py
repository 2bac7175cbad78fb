"""Random entries that are often good, and random reads of them."""

from iovirt.vf.share_layouts import Kind
from iovirt_sim.models.sharing.layout import OPS

from .patch_bench import GUESTS, PAGE, Read

KINDS = {"prp_list": (Kind.PRP_LIST,), "typed_list": (Kind.TYPED_LIST, Kind.TYPED_LIST_8),
         "range_list": (Kind.RANGE_LIST,), "ring": (Kind.RING,)}


def likely_entry(choice, template, opcodes):
    """Return an entry that is often good."""
    entry = bytearray(choice.randbytes(template.size))
    fields = template.fields

    def put(dword, value, size=4):
        entry[4 * dword:4 * dword + size] = value.to_bytes(size, "little")

    for value in template.values:
        if value["enable"] and choice.random() < .8:
            if value["op"] in (OPS["range"], OPS["range_add"]):
                near = (0, 100, 1000, 2900, 4990, 4999, 5000, (1 << 64) - 1)
                put(value["dword"], choice.choice(near[:choice.choice((4, 8))]), 8)
            elif value["op"] == OPS["max"]:
                put(value["dword"], choice.choice((7, 8, 1460, 1461)) << value["low"])
    for field_ in (*template.values, *template.addresses):
        if field_["enable"] and field_["length_dword"] and choice.random() < .9:
            near = choice.choice((0, 1, 7, 15, 16, 32, 48, 160, 255, 2047, 2048, 4080, 4096, 4097))
            put(field_["length_dword"], near)
    for field_ in template.addresses:
        if field_["enable"] and field_["wide"] and choice.random() < .5:
            low = choice.choice((0, 4, 8, 0xf00, 0xf08, 0xff0, 0xff8, 0xffc))
            put(field_["dword"], choice.getrandbits(52) << 12 | low, 8)
    for selector in template.selectors:
        if selector["enable"] and choice.random() < .85:
            at = selector["byte"]
            entry[at] = entry[at] & ~selector["mask"] | selector["value"]
    if fields["opcode_enable"] and choice.random() < .9:
        known = [n for n in range(256) if opcodes >> 2 * n & 3]
        entry[fields["opcode_byte"]] = choice.choice(known)
    return bytes(entry)


def random_read(world, choice):
    """Return a read of some ring or list, at any place of a page."""
    place = choice.randrange(len(world.table))
    template = world.table[place]
    kind = choice.choice(KINDS[template.handler])
    others = [place]
    if template.fields["alternative_enable"]:
        others.append(template.fields["alternative"])
    shape = bytearray(8) if kind == Kind.TYPED_LIST_8 else bytearray()
    while len(shape) < PAGE:
        model = choice.choice(others)
        shape += likely_entry(choice, world.table[model], world.words[model][1])
    size = template.size // 4
    length = choice.choice((1, size, size, 2 * size, 4 * size, choice.randrange(1, 65)))
    first = choice.choice((0, size, 1024 - length, choice.randrange(1025 - length),
                           choice.randrange(1024) // size * size))
    if kind == Kind.TYPED_LIST_8 and choice.random() < .5:
        first = first // size * size + 2
    first = min(first, 1024 - length)
    void = choice.random() < .1
    return Read(place, kind, bytes(shape[:PAGE]), first, first + length - 1,
                colour=choice.randrange(GUESTS), key=choice.getrandbits(16),
                shift=choice.choice((0, 9, 12)),
                allow=choice.choice(((1 << 64) - 1, choice.getrandbits(64))),
                replace=void, blank=void and choice.random() < .5,
                synth=int(choice.random() < .05))


