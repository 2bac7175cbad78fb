"""Registers in flip-flops: storage, decode, read and write."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .port import RegisterPortSignature
from .rdl import FieldKind, RegisterMapError

__all__ = ["RegisterFile", "register_members"]


def _field_members(field):
    width = field.width
    members = {
        FieldKind.CONSTANT: {},
        FieldKind.STORAGE:  {"value": Out(width)},
        FieldKind.WIRE:     {"read": In(width)},
        FieldKind.STICKY:   {"value": Out(width), "set": In(width)},
        FieldKind.PULSE:    {"value": Out(width)},
        FieldKind.OUTSIDE:  {"write": Out(1), "data": Out(width), "mask": Out(width),
                             "read": In(width)},
        FieldKind.COUNTER:  {"increment": In(1)},
    }[field.kind]
    return {**members, "clear": In(1)} if field.hw_clears else members


def register_members(registers):
    """Return the interface members of ``registers``: one per register, with one per field.

    ========== ==================================================================================
    kind       members of the field
    ========== ==================================================================================
    constant   none
    storage    ``value``: what software wrote
    wire       ``read``: what software reads
    sticky     ``value``, and ``set``: bits to set now; with hw_clears also ``clear``: clear all
    pulse      ``value``: for one clock, the bits written as 1
    outside    ``write``: pulse, the field is written; ``data``, ``mask``: bits written as 1, and
               all bits written, 0 without ``write``; ``read``: what software reads
    counter    ``increment``: count this clock
    ========== ==================================================================================
    """
    members = {}
    for register in registers:
        if register.name in ("bus", "port"):
            raise RegisterMapError(f"Register must not have the name of a port, {register.name!r}")
        fields = {field.name: Out(wiring.Signature(_field_members(field)))
                  for field in register.fields if _field_members(field)}
        if fields:
            members[register.name] = Out(wiring.Signature(fields))
    return members


class RegisterFile(wiring.Component):
    """Serve accesses to the registers of a map that are not counters.

    A write changes the bits whose byte strobe is set, so that a 64-bit register takes one access
    or two, and two narrow registers in one lane can be written together. Addresses without a
    register read 0 and ignore writes; a write to a page in which nothing can be written answers
    with an error. Only accesses to pages of the map may be given.

    Latency is 3 clocks from an offered request to the offered response: decode, execute, respond.
    The request is taken in the second, in which a write takes effect and a read samples.
    Throughput is one access per 3 clocks. Strobes of fields outside are combinational from
    registers that select one register.

    Parameters
    ----------
    register_map : :class:`RegisterMap`
        Registers; counters are left out.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses.
    <register> : ``Out(...)``
        One member per register with a field that is not constant; see :func:`register_members`.
    """

    def __init__(self, register_map, *, data_width, address_width):
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.register_map  = register_map
        self.data_width    = data_width
        self.address_width = address_width
        counters = register_map.counters
        self.registers = [register for register in register_map.registers
                          if register not in counters]
        super().__init__({"port": In(port), **register_members(self.registers)})

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response

        # Decode: one select per lane that holds a register, so that what follows is shallow.
        lane_bytes = self.data_width // 8
        lanes  = sorted({bit // self.data_width for register in self.registers
                         for bit in (8 * register.address,
                                     8 * register.address + register.width - 1)})
        select = {lane: Signal(name=f"select_{lane * lane_bytes:x}") for lane in lanes}
        read_only = Signal()
        address = request.p.address
        m.d.sync += read_only.eq(Cat(address[12:] == page
                                     for page in self.register_map.read_only_pages).any())
        for lane, selected in select.items():
            m.d.sync += selected.eq(address[lane_bytes.bit_length() - 1:] == lane)

        execute = Signal()
        with m.FSM():
            with m.State("DECODE"):
                with m.If(request.valid):
                    m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += [execute.eq(1), request.ready.eq(1)]
                m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += response.valid.eq(1)
                with m.If(response.ready):
                    m.next = "DECODE"

        # Bits that this clock writes, if their lane is selected.
        strobes = Signal(self.data_width)
        m.d.comb += strobes.eq(Cat(strobe.replicate(8) for strobe in request.p.strobe)
                               & (execute & request.p.write).replicate(self.data_width))
        words = {lane: Signal(self.data_width, name=f"word_{lane * lane_bytes:x}")
                 for lane in lanes}
        for register in self.registers:
            for field in register.fields:
                pieces = list(self._pieces(register.address * 8 + field.low, field.width))
                mask  = Cat(strobes[low:high] & select[lane].replicate(high - low)
                            for lane, low, high, _ in pieces)
                data  = Cat(request.p.data[low:high] for _, low, high, _ in pieces)
                value = self._field(m, register, field, mask, data)
                m.d.comb += [words[lane][low:high].eq(value[start:start + high - low])
                             for lane, low, high, start in pieces]

        with m.If(execute):
            # A tree, because a chain over all lanes would be deep.
            terms = [word & select[lane].replicate(self.data_width) for lane, word in words.items()]
            while len(terms) > 1:
                terms = [reduce(or_, terms[n:n + 4]) for n in range(0, len(terms), 4)]
            read = terms[0]
            m.d.sync += [
                response.p.data.eq(Mux(request.p.write, 0, read)),
                response.p.error.eq(request.p.write & read_only),
            ]
        return m

    def _pieces(self, low, width):
        """Yield ``(lane, low, high, start)`` for each lane that the bits from ``low`` on touch."""
        bit = low
        while bit < low + width:
            lane, first = divmod(bit, self.data_width)
            last = min(self.data_width, low + width - lane * self.data_width)
            yield lane, first, last, bit - low
            bit = (lane + 1) * self.data_width

    def _field(self, m, register, field, mask, data):
        """Build ``field``, of which the bits of ``mask`` are written now. Return what it reads."""
        if field.kind is FieldKind.CONSTANT:
            return Const(field.reset, field.width)
        port = getattr(getattr(self, register.name), field.name)
        name = f"{register.name}_{field.name}"
        if field.kind is FieldKind.WIRE:
            return port.read
        if field.kind is FieldKind.OUTSIDE:
            m.d.comb += [port.write.eq(mask.any()), port.mask.eq(mask), port.data.eq(data & mask)]
            return port.read

        value = Signal(field.width, init=field.reset, name=name)
        m.d.comb += port.value.eq(value)
        if field.kind is FieldKind.PULSE:
            m.d.sync += value.eq(data & mask)
            return Const(0, field.width)
        if field.kind is FieldKind.STICKY:
            kept = value & ~(data & mask)
            if field.hw_clears:
                kept = Mux(port.clear, 0, kept)
            m.d.sync += value.eq(kept | port.set)
        elif field.legal_max is None:
            m.d.sync += value.eq((value & ~mask) | (data & mask))
        else:
            with m.If(mask.any() & (data <= field.legal_max)):
                m.d.sync += value.eq(data)
        return value
