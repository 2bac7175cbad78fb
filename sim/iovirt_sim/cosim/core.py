"""A PCIe core in root-port mode, between the block and devices of cocotbext-pcie."""

from collections import deque

import cocotb
from cocotb.queue import Queue
from cocotb.triggers import RisingEdge
from cocotbext.pcie.core.dllp import FcType
from cocotbext.pcie.core.port import SimPort

from .completion_check import CompletionCheck
from .tlps import complete_fields, header_of, tlp_of, to_beats

__all__ = ["CREDIT_LAG", "PcieCore"]

#: Clocks by which a count of credits may be late (docs/interfaces.md).
CREDIT_LAG = 4
#: Credits that the core advertises to devices: headers and data of posted requests.
POSTED_HEADERS, POSTED_DATA = 16, 256
POOLS = {"ph": 8, "pd": 12, "nph": 8, "npd": 12, "cplh": 8, "cpld": 12}


class PcieCore:
    """Connects the streams `rx` and `tx` of the block to a link with a model of a device.

    Holds the block to docs/interfaces.md: offers that stay, framing, credits that are never
    overdrawn, non-posted credits that are given back once. Behaves as badly as that page allows:
    counts of credits fall as late as they may, and ``stall`` delays every beat.

    Parameters
    ----------
    dut : the simulated block.
    pcie : section of its configuration.
    stall : called before each beat of `rx` and in each clock of `tx`; true makes it wait a clock.
    """

    def __init__(self, dut, pcie, *, stall=lambda: False):
        self.dut, self.stall = dut, stall
        self.data_width = len(dut.rx__data)
        self.received   = []   # TLPs of devices, in link order
        self.sent       = []   # TLPs of the block, in link order
        self.port = SimPort(fc_init=[[POSTED_HEADERS, POSTED_DATA, *[pcie.np_credits] * 2, 0, 0]]
                            * 8)
        self.port.rx_handler = self._receive
        self._check    = CompletionCheck(pcie.max_payload_bytes)
        self._fc       = self.port.fc_state[0]
        self._to_block = deque()   # beats of TLPs of the device
        self._to_link  = Queue()   # TLPs of the block
        self._held     = deque()   # non-posted TLPs whose credits the block holds
        self._late     = deque(maxlen=CREDIT_LAG)
        self._requests = {}        # non-posted requests of the block without a completion
        for name in ("valid", "data", "strb", "hdr", "prefix", "prefix_valid", "segment", "first",
                     "last", "nullify"):
            self._rx(name).value = 0
        dut.tx__ready.value = 0
        for name in POOLS:
            getattr(dut, f"tx_fc_{name}").value = 0

    def connect(self, device):
        """Connect a device or a switch; to be called before time passes."""
        device.connect(self.port)

    def start(self):
        """Start; to be called when the block is out of reset."""
        for process in (self._feed, self._release, self._transmit, self._forward):
            cocotb.start_soon(process())

    def _rx(self, name):
        return getattr(self.dut, f"rx__{name}")

    async def _receive(self, tlp):
        """Queue a TLP of the device for the block; credits bound the queue."""
        if tlp.is_completion():
            key = int(tlp.requester_id), tlp.tag
            if key in self._requests:
                complete_fields(tlp, self._requests[key])
        self.received.append(tlp)
        self._to_block.extend((beat, tlp) for beat in to_beats(tlp, self.data_width))

    async def _feed(self):
        """Give beats to the block. The link keeps its own time, so only this process drives."""
        offered = None
        while True:
            await RisingEdge(self.dut.clk)
            if offered is not None and self._rx("ready").value:
                if not offered.is_nonposted() and self._rx("last").value:
                    offered.release_fc()
                offered = None
            if offered is None and self._to_block and not self.stall():
                beat, offered = self._to_block.popleft()
                if offered.is_nonposted():
                    self._held.append(offered)
                    self._check.asked(offered)
                for name, value in beat.items():
                    self._rx(name).value = value
            self._rx("valid").value = int(offered is not None)

    async def _release(self):
        """Give non-posted credits back to the device."""
        while True:
            await RisingEdge(self.dut.clk)
            for _ in range(int(self.dut.np_release.value)):
                assert self._held, "the block gave back a credit that it did not hold"
                self._held.popleft().release_fc()

    async def _transmit(self):
        """Take the TLPs of the block."""
        names = ("data", "strb", "hdr", "prefix_valid", "first", "last")
        signals = {name: getattr(self.dut, f"tx__{name}") for name in names}
        valid, ready = self.dut.tx__valid, self.dut.tx__ready
        beats, waiting = [], None
        while True:
            self._show_credits()
            await RisingEdge(self.dut.clk)
            taken = bool(ready.value)
            ready.value = int(not self.stall())
            if not valid.value:
                assert waiting is None, "an offer was withdrawn"
                continue
            beat = {name: int(signal.value) for name, signal in signals.items()}
            assert waiting in (None, beat), "an offer changed while it was stalled"
            waiting = None if taken else beat
            if not taken:
                continue
            beats.append(beat)
            if len(beats) == 1:
                self._take_credits(beat)
            if beat["last"]:
                self._to_link.put_nowait(tlp_of(beats, self.data_width))
                beats = []

    def _take_credits(self, beat):
        """Deduct the credits of a TLP at its first beat."""
        tlp = header_of(beat)
        pool, units = tlp.get_fc_type(), -(-tlp.length // 4) if tlp.has_data() else 0
        assert self._fc.initialized.is_set(), "a TLP was sent before there were credits"
        assert self._fc.tx_has_credit(pool, units), f"no credit for {tlp!r}"
        self._fc.tx_consume_fc(pool, units)

    async def _forward(self):
        """Put TLPs on the link; their credits have been taken."""
        while True:
            tlp = await self._to_link.get()
            if tlp.get_fc_type() is FcType.NP:
                key = int(tlp.requester_id), tlp.tag
                self._requests[key] = tlp
            elif tlp.is_completion():
                self._check.sent(tlp)
            self.sent.append(tlp)
            await self.port.tx_queue.put(tlp)
            self.port.tx_queue_sync.set()

    def _show_credits(self):
        """Show the block the counts of credits, as late as they may be."""
        self._late.append(self._available())
        for name, value in self._late[0].items():
            getattr(self.dut, f"tx_fc_{name}").value = value

    def _available(self):
        if not self._fc.initialized.is_set():
            return dict.fromkeys(POOLS, 0)
        counts = {}
        for name, bits in POOLS.items():
            pool, infinite = getattr(self._fc, name), (1 << bits) - 1
            counts[name] = (infinite if pool.tx_is_infinite()
                            else min(pool.tx_credits_available, infinite - 1))
        return counts
