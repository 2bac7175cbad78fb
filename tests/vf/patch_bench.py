"""A bench for the patcher: the interpreter of templates says what must come out."""

import random
from dataclasses import dataclass, field

from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import load_templates
from iovirt.vf.patcher import Patcher
from iovirt.vf.share_layouts import Kind
from iovirt_sim.harness import simulate
from iovirt_sim.models.sharing.address import AddressLayout
from iovirt_sim.models.sharing.data import Owner
from iovirt_sim.models.sharing.template import Template

PAGE, READS, GUESTS, PARAMETERS = 4096, 8, 4, 4
RINGS = ("nvme_prp", "nvme_cq", "e1000e_tx", "e1000e_rx")
OTHERS = ("e1000e_tx_vlan", "e1000e_rx_split", "virtio_desc", "nvme_sgl")


class World:
    """Templates, guests and the layout of addresses."""

    def __init__(self, names=RINGS, *, offset_bits=40, key_bits=12, seed=1, off=()):
        loaded = load_templates(names)
        self.slots = {template.name: place for place, template in enumerate(loaded)}
        self.words = [(encode_template(template, self.slots), encode_opcodes(template))
                      for template in loaded]
        self.table = [Template(*words) for words in self.words]
        self.settings = {"offset_bits": offset_bits, "key_bits": key_bits}
        self.layout = AddressLayout(
            offset=(0, offset_bits), guard=(offset_bits, 1), kind=(offset_bits + 1, 3),
            colour=(offset_bits + 4, 8), key=(offset_bits + 12, key_bits))
        self.off = frozenset(off)
        choice = random.Random(seed)
        self.parameters = [[choice.choice((7, 1460, 1 << 31)), 1 + guest, choice.getrandbits(40),
                            5000] for guest in range(GUESTS)]

    def owner(self, read):
        key = read.key & (1 << self.settings["key_bits"]) - 1
        return Owner(self.layout, read.colour, key, tuple(self.parameters[read.colour] + [0] * 13),
                     read.shift, self.off)


@dataclass
class Read:
    """A read of a ring or list, and what memory has in its page."""

    template: int
    kind: Kind
    page: bytes
    first: int               # Dwords
    last: int
    colour: int = 1
    key: int = 0xABC
    shift: int = 9
    allow: int = (1 << 64) - 1
    replace: int = 0
    blank: int = 0
    synth: int = 0
    pieces: tuple = ()       # (first, last) Dwords that are sent; all by default
    slot: int = 0
    charges: list = field(default_factory=list)
    denials: list = field(default_factory=list)


def _entries(read, size):
    """Yield (start, number) of the entries that a read touches, in bytes; start may be -8."""
    phase = 8 if read.kind == Kind.TYPED_LIST_8 else 0
    begin, end = 4 * read.first, 4 * read.last + 4
    start = (begin - phase) // size * size + phase
    for number, at in enumerate(range(start, end, size)):
        yield at, number


def expected(world, read):
    """Return what each 8 bytes of the page become, by place; and note charges and denials."""
    template, owner = world.table[read.template], world.owner(read)
    poison = owner.poison.to_bytes(8, "little")
    begin, end = 4 * read.first, 4 * read.last + 4
    result, void = {}, read.replace or read.synth
    for at, number in _entries(read, template.size):
        words = [word for word in range(at // 8, (at + template.size) // 8) if 0 <= word < 512]
        if void and (read.kind != Kind.RING or (read.replace and read.blank)):
            result |= dict.fromkeys(words, poison)
            continue
        if template.handler == "prp_list":
            pointer = int.from_bytes(read.page[at:at + 8], "little")
            barred = at == 4088 and not template.fields["last_slot"]
            value = owner.poison if barred else owner.address(0, pointer, 12)
            if at == 4088 and "slot_511" in world.off:
                value = pointer
            result[at // 8] = value.to_bytes(8, "little")
            continue
        if len(words) * 8 < template.size:
            result |= dict.fromkeys(words, poison)
            continue
        entry = bytes(template.size) if void else read.page[at:at + template.size]
        whole = begin <= at and at + template.size <= end
        used = template
        other = template.other(read.page[at:at + template.size])
        if other is not None and not void:
            used = world.table[other]
        if read.kind == Kind.RING:
            allowed = bool(number < 64 and read.allow >> number & 1) and (
                whole or (template.partial == "widen" and not template.fields["once"]))
        else:
            allowed = whole or "halves" in world.off or (used.handler != "range_list"
                                                         and used.halves(entry))
        data, replaced = used.patch(entry, owner, allowed and not void)
        for n, word in enumerate(words):
            result[word] = data.value[8 * n:8 * n + 8]
        if replaced and not void:
            read.denials.append((at, read.colour))
        if not replaced and read.kind == Kind.RING and (cost := used.cost(entry, owner)):
            read.charges.append((read.colour, min(cost, (1 << 21) - 1)))
    return result


def beats(world, read, width):
    """Return the beats of a read, piece after piece: whole entries around what is sent."""
    size, step, rows = world.table[read.template].size, width // 8, []
    phase = 8 if read.kind == Kind.TYPED_LIST_8 else 0
    for first, last in read.pieces or ((read.first, read.last),):
        start = max((4 * first - phase) // size * size + phase, 0)
        end   = min(-(-(4 * last + 4 - phase) // size) * size + phase, PAGE)
        for base in range(start // step * step, end, step):
            rows.append({
                "data": int.from_bytes(read.page[base:base + step], "little"), "slot": read.slot,
                "base": base // 4, "synth": read.synth, "first": base <= start,
                "last": base + step >= end, "sent": (first, last)})
    return rows


def check(world, read, rows, got, width):
    """Compare the lanes that are sent."""
    want = expected(world, read)
    for row, data in zip(rows, got, strict=True):
        for n in range(width // 64):
            word = row["base"] // 2 + n
            first, last = row["sent"]
            if first // 2 <= word <= last // 2:
                value = (data >> 64 * n & (1 << 64) - 1).to_bytes(8, "little")
                assert value == want[word], (
                    f"{read.kind} template {read.template} word {word} of {read.first}.."
                    f"{read.last}: {value.hex()} instead of {want[word].hex()}, memory "
                    f"{read.page[8 * word:8 * word + 8].hex()}")


async def access(ctx, port, address, data=None):
    """Write or read 64 bits of a window."""
    ctx.set(port.request.p, {"address": address, "write": data is not None, "data": data or 0,
                             "strobe": 0 if data is None else 255})
    ctx.set(port.request.valid, 1)
    await ctx.tick().until(port.request.ready)
    ctx.set(port.request.valid, 0)
    ctx.set(port.response.ready, 1)
    (answer,) = await ctx.tick().sample(port.response.p).until(port.response.valid)
    ctx.set(port.response.ready, 0)
    return answer.data, answer.error


async def set_up(ctx, dut, world):
    """Fill the tables, and wait until they are in use."""
    ctx.set(dut.settings, world.settings)
    for place, words in enumerate(world.words):
        for half, word in enumerate(words):
            for n in range(8):
                if part := word >> 64 * n & (1 << 64) - 1:
                    await access(ctx, dut.templates, 128 * place + 64 * half + 8 * n, part)
    for guest, values in enumerate(world.parameters):
        for n, value in enumerate(values):
            await access(ctx, dut.parameters, 8 * (PARAMETERS * guest + n), value)
    await ctx.tick().repeat(140)


def context_of(world, read):
    size = world.table[read.template].fields["entry_size"]
    return {"kind": read.kind, "colour": read.colour, "key": read.key, "template": read.template,
            "size_log2": size, "shift": read.shift, "replace": read.replace, "blank": read.blank,
            "first": read.first, "last": read.last, "allow": read.allow}


def run(world, reads, width, *, seed=0, busy=1.0, free=1.0, deadline=30_000, clocks=None):
    """Patch ``reads`` and check them. ``busy``, ``free``: how often beats come and may go."""
    weak = bool(world.off)
    dut  = Patcher(data_width=width, reads=READS, guests=GUESTS, parameters=PARAMETERS, weak=weak)
    rows = []
    for number, read in enumerate(reads):
        read.slot = number % READS
        rows.append(beats(world, read, width))
    choice, got, times, charges, denials, lost = random.Random(seed), [], [], [], [], []
    taken = [0]

    async def source(ctx):
        await set_up(ctx, dut, world)
        if weak:
            for name in world.off:
                ctx.set(getattr(dut.weaken, name), 1)
        for number, (read, items) in enumerate(zip(reads, rows, strict=True)):
            # A slot is used again only when nothing of it is under way.
            while sum(map(len, rows[:max(number - READS + 1, 0)])) > len(got):
                await ctx.tick()
            ctx.set(dut.context.slot, read.slot)
            ctx.set(dut.context.data, context_of(world, read))
            ctx.set(dut.context.en, 1)
            await ctx.tick()
            ctx.set(dut.context.en, 0)
            for item in items:
                while choice.random() > busy:
                    await ctx.tick()
                ctx.set(dut.i.p, {key: value for key, value in item.items() if key != "sent"})
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)
            taken[0] += 1

    async def sink(ctx):
        async for _, _, valid, ready, item, *rest in ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.p, dut.charge.valid, dut.charge.ready,
                dut.charge.p, dut.denial.valid, dut.denial.ready, dut.denial.p, dut.lost):
            if valid and ready:
                got.append(item.data)
            if rest[0] and rest[1]:
                charges.append((rest[2].colour, rest[2].bytes))
            if rest[3] and rest[4]:
                denials.append((rest[5].address, rest[5].colour))
            lost.append(rest[6])
            times.append(valid and ready)
            ctx.set(dut.o.ready, choice.random() < free)
            ctx.set(dut.charge.ready, choice.random() < free)
            ctx.set(dut.denial.ready, 1)

    async def finish(ctx):
        while len(got) < sum(map(len, rows)):
            await ctx.tick()
        await ctx.tick().repeat(4)

    simulate(dut, source, finish, background=(sink,), deadline=deadline)
    at = 0
    for read, items in zip(reads, rows, strict=True):
        check(world, read, items, got[at:at + len(items)], width)
        at += len(items)
    if not weak and not any(read.pieces for read in reads):
        assert charges == [item for read in reads for item in read.charges]
        assert len(denials) + sum(lost) == sum(len(read.denials) for read in reads)
        if not any(lost):
            assert denials == [item for read in reads for item in read.denials]
    if clocks is not None:
        clocks.extend(times)
