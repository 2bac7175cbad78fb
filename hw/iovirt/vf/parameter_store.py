"""The guests' parameters of templates."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..csr.port import RegisterPortSignature
from .parity_memory import ParityMemory
from .share_layouts import COLOUR_WIDTH

__all__ = ["ParameterStore"]


class ParameterStore(wiring.Component):
    """Fetch the three numbers that the entries of a guest are checked against.

    A fetch takes 3 clocks. Its numbers replace the older ones 2, 3 and 4 clocks after ``start``, in
    the order in which the stages of a pipeline that started with it look at them.

    Parameters
    ----------
    guests, parameters : :class:`int`
        Guests, and parameters of each: powers of two of at least 2.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        8 ``parameters`` bytes for each guest.
    free : ``Out(1)``
        A fetch can be started.
    start : ``In(1)``
        Start one for:
    colour : ``In(8)``, ``value``, ``range`` : ``In(4)``
        The guest, the parameter of the first value, and the base of the second one's range, whose
        limit is the parameter after it.
    value_is : ``Out(64)``, ``value_good`` : ``Out(1)``
        The first value's parameter, from 3 clocks after ``start``, and whether there is one with
        the right parity.
    base_is, base_good, limit_is, limit_good
        The same, from 4 and 5 clocks after ``start``.
    """

    def __init__(self, *, guests, parameters, data_width, address_width):
        for name, value in ("guests", guests), ("parameters", parameters):
            if type(value) is not int or value < 2 or value & (value - 1):
                raise ValueError(f"Number of {name} must be a power of two of at least 2, not "
                                 f"{value!r}")
        self.guests     = guests
        self.parameters = parameters
        self._words = ParityMemory(words=guests * parameters, data_width=data_width,
                                   address_width=address_width)
        super().__init__({
            "port": In(RegisterPortSignature(data_width=data_width, address_width=address_width)),
            "free":       Out(1),
            "start":      In(1),
            "colour":     In(COLOUR_WIDTH),
            "value":      In(4),
            "range":      In(4),
            "value_is":   Out(64),
            "value_good": Out(1),
            "base_is":    Out(64),
            "base_good":  Out(1),
            "limit_is":   Out(64),
            "limit_good": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = self._words
        wiring.connect(m, words.port, wiring.flipped(self.port))

        step, colour, base = Signal(2), Signal(range(self.guests)), Signal(4)
        number, there = Signal(5), Signal()
        width = (self.parameters - 1).bit_length()
        m.d.comb += [
            self.free.eq(((step == 0) | (step == 3)) & ~words.wait),
            words.en.eq(step != 0),
            words.address.eq(Cat(number[:width], colour)),
        ]
        with m.If(self.start):
            m.d.sync += [
                step.eq(1),
                colour.eq(self.colour),
                there.eq(self.colour < self.guests),
                number.eq(self.value),
                base.eq(self.range),
            ]
        with m.Elif(step != 0):
            m.d.sync += [
                step.eq(step + 1),
                number.eq(Mux(step == 1, base, base + 1)),
            ]
        # What was read in the clock before.
        got, exists = Signal(2), Signal()
        m.d.sync += [got.eq(step), exists.eq(there & (number < self.parameters))]
        good = words.good.all() & exists
        for turn, name in enumerate(("value", "base", "limit"), start=1):
            with m.If(got == turn):
                m.d.sync += [
                    getattr(self, f"{name}_is").eq(words.data),
                    getattr(self, f"{name}_good").eq(good),
                ]
        return m
