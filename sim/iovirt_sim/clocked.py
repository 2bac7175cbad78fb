"""Agents around one component, written as generators that are resumed once per clock.

An agent is ``def agent(io): ...; yield; ...``. ``io["port__name"] = value`` drives an input from
this clock on; after ``yield``, ``io["port__name"]`` is any port as it was at the clock edge that
has just passed. Names are those of the Verilog ports. The same agents run on a
:class:`.verilated.component.ComponentModel` and, by :func:`simulate_clocked`, on the Amaranth
simulator.
"""

from amaranth.hdl import Value
from amaranth.lib import data

from .harness import simulate

__all__ = ["AmaranthPorts", "Packer", "receive", "run_clocked", "send", "simulate_clocked"]


class Packer:
    """Numbers from fields of a layout, and back."""

    def __init__(self, layout):
        self.fields = {}
        self._collect(data.Layout.cast(layout), "", 0)

    def _collect(self, layout, prefix, offset):
        for name, field in layout:
            try:
                inner = data.Layout.cast(field.shape)
            except TypeError:
                self.fields[f"{prefix}{name}"] = (offset + field.offset, (1 << field.width) - 1)
            else:
                self._collect(inner, f"{prefix}{name}__", offset + field.offset)

    def pack(self, **values):
        """Return the number with these fields; others are 0."""
        return sum((value & self.fields[name][1]) << self.fields[name][0]
                   for name, value in values.items())

    def unpack(self, number):
        """Return all fields of a number."""
        return {name: number >> offset & mask for name, (offset, mask) in self.fields.items()}


def send(io, stream, payload):
    """Transfer one payload."""
    io[f"{stream}__payload"] = payload
    io[f"{stream}__valid"] = 1
    yield
    while not io[f"{stream}__ready"]:
        yield
    io[f"{stream}__valid"] = 0


def receive(io, stream):
    """Take one payload and return it."""
    io[f"{stream}__ready"] = 1
    yield
    while not io[f"{stream}__valid"]:
        yield
    io[f"{stream}__ready"] = 0
    return io[f"{stream}__payload"]


def _resume(agents):
    """Resume all agents; return those that are not done."""
    left = []
    for agent in agents:
        try:
            next(agent)
        except StopIteration:
            continue
        left.append(agent)
    return left


def run_clocked(model, agents, *, background=(), deadline=1_000_000, settle=0):
    """Run ``agents`` to their end on a model; return the clocks that passed.

    Those in ``background`` end with them; ``settle`` more clocks pass with these alone.
    """
    agents, background, clocks = _resume(agents), _resume(background), 0
    while agents or settle:
        if clocks == deadline:
            raise TimeoutError(f"Simulation did not finish in {deadline} cycles")
        if not agents:
            settle -= 1
        model.tick()
        clocks += 1
        background = _resume(background)
        agents = _resume(agents)
    return clocks


class AmaranthPorts:
    """Ports of a component in the Amaranth simulator, by name."""

    def __init__(self, component):
        self.component = component
        self.signals = {"__".join(map(str, path)): Value.cast(value) for path, _, value
                        in component.signature.flatten(component)}
        self.values  = dict.fromkeys(self.signals, 0)
        self.changed = {}
        self.pokes   = []

    def __getitem__(self, name):
        return self.values[name]

    def __setitem__(self, name, value):
        self.values[name] = self.changed[name] = value

    def poke(self, place, change):
        """Replace what is in ``place``, a word of a memory, by ``change`` of it."""
        self.pokes.append((place, change))


def simulate_clocked(io, agents, *, background=(), deadline=10_000):
    """Run agents on the component of ``io``, an :class:`AmaranthPorts`; check stream rules."""
    async def testbench(ctx):
        left, aside = _resume(agents), _resume(background)
        while left:
            for name, value in io.changed.items():
                ctx.set(io.signals[name], value)
            for place, change in io.pokes:
                ctx.set(place, change(ctx.get(place)))
            io.changed.clear()
            io.pokes.clear()
            _, _, *values = await ctx.tick().sample(*io.signals.values())
            io.values = dict(zip(io.signals, values, strict=True))
            aside = _resume(aside)
            left  = _resume(left)

    simulate(io.component, testbench, deadline=deadline)
