"""The interface of the fast simulation on the Amaranth simulator, for machines without a compiler.

It executes the same programs, clock by clock, and checks less: that data arrives at the right
address with the right bytes, and that every answer comes.
"""

from collections import Counter

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from . import program as ops
from .ports import describe
from .program import Event
from .simulation import Calls, CheckFailed
from .slow_agents import Axi, Csr, Memory
from .slow_devices import Device, Requests

__all__ = ["SlowSimulation"]

PERIOD = 4e-9
CQH, CQT, CQCSR, CQ_ERRORS = 32, 36, 72, 0x700
#: Statistics of the fast simulation that this one does not have are 0.
NO_LATENCY = [0] * 32


class SlowSimulation(Calls):
    """A design that runs in the Amaranth simulator."""

    def __init__(self, design, *, vcd=None):
        component = design.make()
        self.description = describe(component)
        self.component, self.memory = component, Memory()
        self.settings = {"table_latency": 20, "table_write_latency": 20, "dma_latency": 20,
                         "dma_write_latency": 20, "np_limit": 32, "mps": 256, "mrrs": 512,
                         "timeout": 20_000}
        self.counts, self.events, self.errors, self.written = Counter(), [], [], {}
        self.now = self.op = 0
        members = component.signature.members
        self.csr      = Csr(component.csr)
        self.device   = Device(self, component) if "rx" in members else None
        self.requests = Requests(self, component) if "request" in members else None
        # Devices come before the memory that they write to.
        self.agents   = [agent for agent in (self.device, self.requests, self.csr) if agent]
        self.agents.append(Axi(self, component.table, "table", None))
        if "dma" in members:
            self.agents.append(Axi(self, component.dma, "dma", self.device))
        self.ring, self.work = None, None
        m = Module()
        m.domains.sync = self.domain = ClockDomain()
        m.submodules.dut = component
        self.sim = Simulator(m)
        self.sim.add_clock(PERIOD)
        self.sim.add_testbench(self._bench)
        self._waves = self.sim.write_vcd(str(vcd)) if vcd else None
        if self._waves:
            self._waves.__enter__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Finish the waveform file."""
        if self._waves:
            self._waves.__exit__(None, None, None)
            self._waves = None

    def set(self, **values):
        """Set the knobs that this simulation has; others do nothing."""
        self.settings.update(values)

    def statistics(self):
        """Return the counts that this simulation has; the others are 0."""
        return Counter({**self.counts, "latency": NO_LATENCY})

    def clear_statistics(self):
        """Set all counts to 0."""
        self.counts.clear()

    def event(self, kind, op, *values):
        """Note that something happened."""
        self.events.append(Event(kind, op, list(values)))

    def complain(self, text):
        """Note that the design did something wrong."""
        self.errors.append(text)

    def run(self, program):
        """Execute a program; return its events. See the fast simulation."""
        self.work = self._execute(program.words)
        while self.work is not None:
            self.sim.advance()
        events, errors = self.events, self.errors
        self.events, self.errors = [], []
        if errors:
            raise CheckFailed("\n".join(errors[:100]))
        return events

    async def _bench(self, ctx):
        """Each clock: drive the inputs, look at the handshakes, go on with the program."""
        self.ctx = ctx
        if "link_up" in self.component.signature.members:
            ctx.set(self.component.link_up, 1)
        while True:
            for agent in self.agents:
                agent.drive(ctx)
            for agent in self.agents:
                agent.sample(ctx)
            await ctx.tick()
            self.now += 1
            self.counts["cycles"] += 1
            if self.work is not None and (self.errors or next(self.work, self) is self):
                self.work = None

    def _execute(self, words):
        at = self.op = 0
        while at < len(words):
            length, argument = words[at] >> 8 & 0xffffff, words[at] >> 32
            yield from self._operation(words[at] & 255, argument, words[at + 1:at + length])
            at, self.op = at + length, self.op + 1

    def _operation(self, opcode, argument, w):
        """Yield once for each clock that an operation takes."""
        if opcode == ops.RESET:
            yield from self._reset(argument)
        elif opcode == ops.RUN:
            for _ in range(w[0]):
                yield
        elif opcode == ops.MEMORY_WRITE:
            for n, word in enumerate(w[1:]):
                self.memory.words[w[0] + 8 * n] = word
        elif opcode == ops.MEMORY_READ:
            self.event("memory", self.op, *(self.memory.read(w[0] + 8 * n) for n in range(w[1])))
        elif opcode == ops.MEMORY_CLEAR:
            self.memory.clear()
        elif opcode == ops.BACKGROUND:
            self.memory.range = tuple(w)
        elif opcode == ops.FAIL:
            self.memory.failing.append((w[0], w[0] + w[1], argument & 3, argument >> 2))
        elif opcode == ops.CSR_WRITE:
            _, resp = yield from self.csr.access(w[0], argument & 15, w[1])
            if resp:
                self.event("csr", self.op, 0, 0, resp)
        elif opcode == ops.CSR_READ:
            value, resp = yield from self.csr.access(w[0], argument & 15)
            self.event("csr", self.op, value, 0, resp)
        elif opcode == ops.CSR_POLL:
            yield from self._poll(argument & 15, *w)
        elif opcode == ops.TRANSLATE:
            self._translate(argument, w)
        elif opcode == ops.DMA:
            self.device.start(self.op, group=argument & 0xffff, write=argument >> 16 & 1,
                              rid=w[0] & 0xffff, length=w[0] >> 32, iova=w[1], spa=w[2], seed=w[3])
        elif opcode == ops.WAIT:
            yield from self._wait(argument, w[0])
        elif opcode == ops.COMMAND_RING:
            self.ring, self.entries, self.tail = w[0], 1 << w[1], 0
        elif opcode == ops.COMMAND:
            yield from self._command(w)
        elif opcode == ops.COMMAND_WAIT:
            yield from self._command_wait(argument, w[0])
        elif opcode == ops.MARK:
            self.event("mark", self.op, self.now, self.ctx.get(self.component.wsi))
        elif opcode == ops.TABLE_WRITES:
            for address in self.written:
                self.event("table_write", self.op, address, self.memory.read(address))
            self.written = {}
        elif opcode not in (ops.SET, ops.CLASSIFY, ops.FORGET, ops.ALLOW):
            self.complain(f"operation {self.op} needs the fast simulation")

    def _reset(self, clocks):
        for agent in self.agents:
            agent.reset()
        self.ctx.set(self.domain.rst, 1)
        for _ in range(clocks):
            yield
        self.ctx.set(self.domain.rst, 0)
        self.tail = 0

    def _poll(self, size, offset, mask, wanted, timeout):
        start = self.now
        while True:
            value, resp = yield from self.csr.access(offset, size)
            if value & mask == wanted or resp >= 2:
                break
            if self.now - start > timeout:
                self.event("timeout", self.op, self.now)
                break
        self.event("csr", self.op, value, self.now - start, resp)

    def _translate(self, argument, w):
        flags = w[0] >> 44
        access = {"device_id": w[0] & 0xffffff, "pid": w[0] >> 24 & 0xfffff, "pv": flags & 1,
                  "priv": flags >> 1 & 1, "exec": flags >> 2 & 1, "write": flags >> 3 & 1,
                  "at": flags >> 4 & 3, "iova": w[1]}
        self.requests.queue.append({
            "op": self.op, "payload": {"access": access, "source": w[2]},
            "wanted": w[3] if argument >> 1 & 3 else None})

    def _outstanding(self, kind, group):
        if kind == 1:
            return self.device.groups[group] if self.device else 0
        return sum(agent.outstanding for agent in (self.device, self.requests) if agent)

    def _wait(self, kind, group):
        start, before = self.now, None
        while left := self._outstanding(kind, group):
            if left != before:
                start, before = self.now, left
            if self.now - start > self.settings["timeout"]:
                self.complain(f"nothing has moved for {self.settings['timeout']} clocks while "
                              f"operation {self.op} waits")
                return
            yield

    def _command(self, w):
        while True:
            head, _ = yield from self.csr.access(CQH, 4)
            if (self.tail + 1) % self.entries != head:
                break
        for n, word in enumerate(w):
            self.memory.words[self.ring + self.tail * 16 + n * 8] = word
        self.tail = (self.tail + 1) % self.entries
        self.counts["commands"] += 1
        yield from self.csr.access(CQT, 4, self.tail)

    def _command_wait(self, report, timeout):
        start = self.now
        while True:
            head, _ = yield from self.csr.access(CQH, 4)
            state, _ = yield from self.csr.access(CQCSR, 4)
            if head == self.tail or state & CQ_ERRORS or self.now - start > timeout:
                break
        self.counts["command_waits"] += 1
        self.counts["command_wait_clocks"] += self.now - start
        if report:
            self.event("commands", self.op, head, state, self.now - start)
        elif head != self.tail:
            self.complain(f"command queue stopped at {head} of {self.tail}, cqcsr {state:x} "
                          f"(operation {self.op})")
