"""Whole-system simulation: the exported RTL compiled by Verilator, driven in batches from Python.

A *design* is what to simulate: a component with its configuration. It is built once (the library is
cached by what it is made of) and opened as a *simulation*. A *program* is a list of operations that
the C++ bench executes at full speed; it returns events and statistics. ::

    from iovirt_sim.verilated import Design, Program, open_simulation

    design = Design.of_remap(config)          # iovirt.remap_top.RemapTop(config)
    # or     Design.of_full(config)           # iovirt.top.IOVirt(config)

    with open_simulation(design) as sim:      # or open_simulation(design, vcd="waves.vcd")
        sim.set(table_latency=20)             # knobs, see `Simulation.set`
        sim.reset()                           # memory and queues of the bench are kept
        sim.write_memory(0x1000, [1, 2, 3])   # 64-bit words; everything else reads 0
        sim.fail(0x9000, 64, "access")        # or "poison": any access of the block fails there
        sim.write_csr(16, 0x402, size=8)      # one AXI4-Lite write (two, if the port is 32 bits)
        value = sim.read_csr(16, size=8)
        value = sim.poll_csr(76, mask=1 << 17, value=0, size=4)
        answer = sim.translate(device_id=0x100, iova=0x1000, write=True)   # of_remap only
        answer.ok, answer.ca, answer.cause, answer.spa, answer.accepted, answer.returned
        sim.command_ring(0x20000, 6)          # base, log2(entries); the tail starts at 0
        done = sim.command(lo, hi)            # puts it in the ring, writes cqt, waits
        done.cqh, done.cqcsr, done.cycles
        words = sim.read_memory(0x2000, 4)    # what the bench's memory holds now
        changed = sim.take_table_writes()     # [(address, 64-bit word after the write), ...] since
                                              # the last call, of the table port, in order
        sim.wsi()                             # the interrupt wires now
        sim.clear_memory()                    # all zero again, no failing ranges

Each of these calls is a program of one operation. For speed, make a `Program`, which has the same
names as methods (they return the number of the operation), and run it at once: ::

        p = Program()
        p.write_csr(...); p.translate(...); p.translate(...)     # back to back, not waited for
        p.wait()                                                 # for every answer
        p.dma(rid=0x100, iova=0x1000, length=4096, write=True, spa=0x8000_0000, group=3)
        p.wait(group=3)
        events = sim.run(p)                   # list of `Event`; event.op is the operation number
        sim.statistics()                      # dict of counts, see `Simulation.statistics`

Cores, devices that answer them, and interrupts (fast simulation only; `iovirt_sim.drivers` sets
the block up for them): ::

        p.window(0x20_0000_0000, 1 << 20, 0xC000_0000)        # what cores' addresses are on PCIe
        p.function(0, endpoint(0, bars={0: 4096}, at={0: 0xC000_0000}))
        p.rule("ur", kinds=("read",), count=1)                # how devices answer: badly, late...
        op = p.pio_read(0x20_0000_0000, 8, id=3)
        p.pio_write(0x20_0000_0008, bytes(4))
        p.signal(header, payload, rid=0x100, index=5, data=7) # an MSI; a record must come of it
        p.wait()                                              # for all of them
        answers = {e.op: PioAnswer.of(e) for e in sim.run(p) if e.kind == "pio"}

The bench checks while it runs: the AXI4 rules on all ports; that every DMA goes to the expected
address with the expected bytes, in the order of rule S12; every completion (status, byte count,
lower address, boundaries, payload). Of programmed I/O: every TLP, its legality and its tag, that
data are what the device said, that no request passes an earlier write, and rule S4. Of interrupts:
that each leads to one record (or forwarded write) with its data and source, issued after all
earlier writes of its source were answered (S3, S7); that records overwrite none that is unread, and
that tails do not run ahead of them. A violation raises `CheckFailed` naming it.

`ToolMissing` is raised if there is no C++ compiler or no Verilator, and says what to install.
``open_simulation(design, slow=True)`` needs neither: the same interface on the Amaranth simulator,
for short runs.
"""

from .build import BuildError, Design, build, cache_directory
from .operations import Function, PioAnswer, Record
from .program import Command, Event, Program, Transfer, Translation
from .simulation import CheckFailed, Simulation, Timeout, open_simulation
from .tools import ToolMissing

__all__ = ["BuildError", "CheckFailed", "Command", "Design", "Event", "Function",
           "PioAnswer", "Program", "Record", "Simulation", "Timeout", "ToolMissing", "Transfer",
           "Translation", "build", "cache_directory", "open_simulation"]
