"""The interrupt block on a table port of its own, as it is simulated alone."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from iovirt.axi import Axi4Signature, TablePort
from iovirt.config import IrqConfig
from iovirt.irq.engine import InterruptEngine

from .verilated.component import open_component

__all__ = ["IRQ", "EngineOnPort", "notice_address", "open_engine", "ring_base"]

ADDRESS_WIDTH, REGISTER_WIDTH = 46, 21
INNER = ("write_request", "write_response")

#: What tests and benchmarks share, so that it is compiled once for each width of the table port.
IRQ = IrqConfig(entries=128, queues=8, record_slots=32, wires=4, tick_log2=4)

# 32-bit registers of a queue, for the hypervisor and for the guest.
(BASE_LOW, BASE_HIGH, CONTROL, MODERATION, NOTIFY_LOW, NOTIFY_HIGH, NOTIFY_DATA, NOTIFY_KIND,
 STATUS, ACCEPTED, TAIL, HEAD, ARM, DROPPED, FORGED, LOST) = range(16)
G_HEAD, G_ARM, G_MASK, G_TAIL, G_STATUS, G_SIZE = range(0, 12, 2)
COUNT = (1 << 32) - 1
#: Interrupts are forwarded to addresses from here on.
FORWARDS = 0x30_0000_0000


def ring_base(queue):
    """Return the address of the ring of a queue."""
    return 0x10_0000_0000 + (queue << 21)


def notice_address(queue):
    """Return the address at which a queue is notified."""
    return 0x20_0000_0000 + (queue << 12)


class EngineOnPort(wiring.Component):
    """An :class:`InterruptEngine` and the table port that it writes through, and nothing else."""

    def __init__(self, irq, *, table_width):
        self.irq    = irq
        self.engine = InterruptEngine(
            irq, address_width=ADDRESS_WIDTH, table_width=table_width, register_data_width=64,
            register_address_width=REGISTER_WIDTH)
        self.port = TablePort(readers=1, writers=3, data_width=table_width, read_tag_width=0,
                              address_width=ADDRESS_WIDTH,
                              write_tag_width=self.engine.write_tag_width)
        super().__init__({
            **{name: member for name, member in self.engine.signature.members.items()
               if name not in INNER},
            "bus": Out(Axi4Signature(data_width=table_width, address_width=ADDRESS_WIDTH,
                                     id_width=self.port.id_width)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.port   = port   = self.port
        for n in range(3):
            wiring.connect(m, engine.write_request[n], port.write_request[n])
            wiring.connect(m, port.write_response[n], engine.write_response[n])
        wiring.connect(m, port.bus, wiring.flipped(self.bus))
        for name, member in self.engine.signature.members.items():
            if name in INNER:
                continue
            inner, outer = getattr(engine, name), getattr(self, name)
            if member.is_signature:
                for one, other in zip(*(x if isinstance(x, list) else [x]
                                        for x in (inner, outer)), strict=True):
                    wiring.connect(m, one, wiring.flipped(other))
            else:
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        return m


def open_engine(irq, *, table_width):
    """Return a Verilated :class:`EngineOnPort`."""
    return open_component(lambda: EngineOnPort(irq, table_width=table_width),
                          name=f"interrupts_{table_width}", key=repr((irq, table_width)))
