"""The self-test: the block, and all it needs to be tested on a chip of its own."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from iovirt.config import Config
from iovirt.top import IOVirt, csr_address_width

from .checker import Checker
from .driver import Driver
from .generator import Generator
from .image import BASE, SIZE, accesses, faults_of, memory_words, register_program
from .memory import BlockMemory

__all__ = ["SelfTest"]

BLINK = 25  # bits of the clock count whose highest is the heartbeat


class SelfTest(wiring.Component):
    """The block between a generator and a checker of TLPs, with block RAM as memory.

    ::

        Generator --rx--> IOVirt --tx--> Checker
            ^             ^  |  |           |
            '--- run -----|--|--|-----------'
        Driver ----csr----'  |  |
                          dma|  |table
                         BlockMemory

    A round switches the remap engine on, drops what it has cached, sends the requests of two
    devices and of an unknown one, checks the answers and the number of faults, and switches it off
    again. Rounds follow each other for ever; the first failure stops them.

    Parameters
    ----------
    config : :class:`~iovirt.config.Config`
        With 64 bits of data, table and register width, at least 2 levels of the directory.
        Interrupts and programmed I/O are left out: this tests the DMA.
    rounds : :class:`int`
        After how many rounds the test has passed; it goes on.
    patience : :class:`int`
        Clocks that a step may take, a power of two.

    Members
    -------
    spoil : ``In(1)``
        Break the memory: the test must fail.
    running : ``Out(1)``
        Requests are under way.
    passed, failed : ``Out(1)``
        ``rounds`` rounds are over and nothing has failed; something has failed.
    heartbeat : ``Out(1)``
        Blinks while there is a clock.
    causes : ``Out(4)``
        Why: a step took too long; a register access was answered with an error; a wrong header
        of a completion; wrong data.
    """

    def __init__(self, config, *, rounds=2, patience=1 << 16):
        if not isinstance(config, Config):
            raise TypeError(f"Configuration must be a Config, not {config!r}")
        widths = (config.data_width, config.table_width, config.csr.data_width)
        if set(widths) != {64}:
            raise ValueError(f"Widths of data, tables and registers must be 64, not {widths!r}")
        if config.remap.ddt_levels < 2:
            raise ValueError("Levels of the directory must be at least 2, not "
                             f"{config.remap.ddt_levels!r}")
        self.config   = config.replace(irq={"enable": False}, pio={"enable": False})
        self.rounds   = rounds
        self.patience = patience
        super().__init__({
            "spoil": In(1), "running": Out(1), "passed": Out(1), "failed": Out(1),
            "heartbeat": Out(1), "causes": Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        words, directory = memory_words()
        script  = accesses()
        program = register_program(directory, faults_of(script))
        m.submodules.block     = block     = IOVirt(self.config)
        m.submodules.driver    = driver    = Driver(
            program, address_width=csr_address_width(self.config), rounds=self.rounds,
            patience=self.patience)
        m.submodules.generator = generator = Generator(script,
                                                       credits=self.config.pcie.np_credits)
        m.submodules.checker   = checker   = Checker(script)
        m.submodules.memory    = memory    = BlockMemory(
            base=BASE, size=SIZE, contents=words,
            buses=[block.dma.signature, block.table.signature])

        connect(m, generator.tlp, block.rx)
        connect(m, block.tx, checker.tlp)
        connect(m, driver.bus, block.csr)
        connect(m, block.dma, memory.bus_0)
        connect(m, block.table, memory.bus_1)
        m.d.comb += [
            *(getattr(block, f"tx_fc_{kind}").eq(~0)  # infinite
              for kind in ("ph", "pd", "nph", "npd", "cplh", "cpld")),
            block.link_up.eq(1),
            generator.np_release.eq(block.np_release),
            generator.answered.eq(checker.answered),
            *(part.eq(driver.run) for part in (generator.run, checker.run, self.running)),
            *(part.eq(driver.round) for part in (generator.round, checker.round)),
            driver.done.eq(checker.done),
            driver.mismatch.eq(checker.bad_header | checker.bad_data),
            memory.spoil.eq(self.spoil),
            self.passed.eq(driver.passed),
            self.failed.eq(driver.failed),
            self.causes.eq(Cat(driver.stuck, driver.refused, checker.bad_header,
                               checker.bad_data)),
        ]
        clocks = Signal(BLINK)
        m.d.sync += clocks.eq(clocks + 1)
        m.d.comb += self.heartbeat.eq(clocks[-1])
        return m
