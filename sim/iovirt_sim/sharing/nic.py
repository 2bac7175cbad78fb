"""A ring NIC in the bench, and guests' drivers of its rings."""

from iovirt_sim.drivers import endpoint

from .agent import Agent

__all__ = ["NicDevice", "NicGuest"]

TRANSMIT, RECEIVE, STRIDE, SPLIT_SIZES = 0x3800, 0x2800, 0x100, 0x2170
LOW, HIGH, LENGTH, CONTROL, TAIL, ENABLE = 0, 4, 8, 0xC, 0x18, 0x28
ENABLED = SPLIT = 1 << 25
BAR_BYTES, QUEUES = 0x4000, 8


class NicDevice(Agent):
    """A NIC behind the link with up to eight pairs of rings, and its manager.

    What is sent on a queue is received on its peer, at first itself.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`.
    number, rid : of its function.
    bar : its registers on PCIe; ``window`` is where cores have them.
    shared : whether the block writes doorbells, too.
    options : see ``cpp/sharing/nic.h``.
    """

    REPORT, COUNTS, OPTIONS = "nic", 5, 7

    def __init__(self, system, *, window, bar=0xC000_0000, number=0, rid=0x0100, segment=0,
                 shared=False, **options):
        super().__init__(system, number)
        self.window, self.rid, self.bar, self.segment = window, rid, bar, segment
        function = endpoint(rid & 255, device=0x10D3, bars={0: BAR_BYTES}, at={0: bar},
                            bus=rid >> 8)
        function.shared = shared
        system.program.function(number, function)
        system.program.nic(number, rid, segment=segment)
        self.set(**options)

    def _set(self, options):
        self.program.nic_options(self.number, options)

    def write(self, register, value):
        """Write a register."""
        self.program.pio_write(self.window + register, value.to_bytes(4, "little"))

    def peer(self, queue, other):
        """Let packets sent on a queue be received on another one."""
        self.program.peer(self.number, queue, other)

    def create(self, queue, *, tx, rx, depth=64, guest=0, split=False, header=128, buffer=2048):
        """Switch the rings of a queue on, which the device has at ``tx`` and ``rx``."""
        size = 32 if split else 16
        self.write(SPLIT_SIZES, header // 128 | 1 << 8 | 1 << 16 | 1 << 24)
        for side, (block, base, length) in enumerate(((TRANSMIT, tx, 16 * depth),
                                                      (RECEIVE, rx, size * depth))):
            at = block + STRIDE * queue
            self.program.issuer(self.number, queue + QUEUES * side, guest)
            for register, value in ((ENABLE, 0), (LOW, base & 0xffff_ffff), (HIGH, base >> 32),
                                    (LENGTH, length), (CONTROL, split * SPLIT | buffer),
                                    (ENABLE, ENABLED)):
                self.write(at + register, value)
        self.program.wait()

    def delete(self, queue):
        """Switch the rings of a queue off."""
        for block in (TRANSMIT, RECEIVE):
            self.write(block + STRIDE * queue + ENABLE, 0)
        self.program.wait()

    @staticmethod
    def doorbell_offset(queue, side=0):
        """Return the offset of a tail in the BAR; ``side`` 1: that of receiving."""
        return (RECEIVE if side else TRANSMIT) + STRIDE * queue + TAIL

    def doorbell(self, queue, side=0):
        """Return where cores have a tail."""
        return self.window + self.doorbell_offset(queue, side)


class NicGuest(Agent):
    """A driver of a pair of rings, in the bench, that checks what it receives.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`.
    number : of this driver; those of NVMe count, too.
    pages : where its pages are in memory, two for each descriptor of a ring; it has them at
        ``gpa``.
    options : see ``cpp/sharing/nic_guest.h``. Rings, doorbells and ``gpa`` are needed.
    """

    REPORT, COUNTS, OPTIONS = "nic_guest", 6, 8

    def __init__(self, system, number, pages, **options):
        super().__init__(system, number)
        system.program.nic_guest(number, pages)
        self.set(**{"guest": number, "seed": number, **options})
        if len(pages) < 2 * self.values["depth"]:
            raise ValueError(f"Pages must be {2 * self.values['depth']} or more, not {len(pages)}")
        self.restart()

    def _set(self, options):
        self.program.nic_guest_options(self.number, options)

    def go(self, packets):
        """Let it send that many packets more, and receive."""
        self.program.go(self.number, packets)

    def restart(self):
        """Let it start afresh, with empty rings, after a reset."""
        self.program.restart(self.number)
