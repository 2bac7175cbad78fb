"""Register file in plain Python, as the register map describes it."""

OKAY, SLVERR = 0, 2


class RegisterModel:
    """What software sees of a register map through a bus of ``lane`` bytes.

    ``wires`` holds what hardware shows in wire fields, by (register, field); fields outside are
    taken to be kept as plain storage, or cleared by writing 1.
    """

    def __init__(self, register_map, *, lane):
        self.map, self.lane = register_map, lane
        self.wires  = {}
        self.values = {(register.name, field.name): field.reset
                       for register, field in self.fields()}

    def fields(self):
        for register in self.map.registers:
            for field in register.fields:
                yield register, field

    def value(self, register, field):
        if field.kind.value == "wire":
            return self.wires.get((register.name, field.name), 0)
        if field.kind.value == "pulse":
            return 0
        return self.values[register.name, field.name]

    def read(self, address):
        if address // 4096 not in self.map.pages:
            return 0, SLVERR
        base = address // self.lane * self.lane
        data = 0
        for register, field in self.fields():
            shift = (register.address - base) * 8 + field.low
            value = self.value(register, field)
            data |= value << shift if shift >= 0 else value >> -shift
        return data & ((1 << 8 * self.lane) - 1), OKAY

    def write(self, address, data, strobe):
        if address // 4096 not in self.map.pages or address // 4096 in self.map.read_only_pages:
            return SLVERR
        base = address // self.lane * self.lane
        mask = sum(0xff << 8 * n for n in range(self.lane) if strobe >> n & 1)
        for register, field in self.fields():
            shift = (register.address - base) * 8 + field.low
            place = lambda bits, shift=shift, field=field: (
                (bits >> shift if shift >= 0 else bits << -shift) & ((1 << field.width) - 1))
            self._write(register, field, place(data), place(mask),
                        touched=base <= register.address < base + self.lane
                        or base <= register.address + 4 * (register.width == 64) < base + self.lane)
        return OKAY

    def _write(self, register, field, data, mask, *, touched):
        key  = register.name, field.name
        old  = self.values[key]
        kind = field.kind.value
        new  = old & ~mask | data & mask
        if field.w1c:
            self.values[key] = old & ~(data & mask)
        elif kind == "counter" and touched:
            self.values[key] = 0
        elif kind == "outside" or (
                kind == "storage" and (field.legal_max is None or new <= field.legal_max)):
            self.values[key] = new
