"""A core that uses devices: configuration space and device memory through the port `pio`."""

from cocotbext.axi import AxiResp

__all__ = ["HIGH_PCIE", "LOW_PCIE", "Host"]

#: Where the windows are for cores, and what they show of PCIe: log2 of the size, base, PCIe base.
ECAM      = (28, 0x30_0000_0000)
LOW_PCIE  = 0x8000_0000
HIGH_PCIE = 0x12_0000_0000
WINDOWS   = ((24, 0x40_0000_0000, LOW_PCIE), (30, 0x41_0000_0000, HIGH_PCIE))


class Host:
    """Accesses of cores.

    Parameters
    ----------
    bench : :class:`.bench.Bench`
    """

    def __init__(self, bench):
        self.bench  = bench
        self.master = bench.pio

    async def start(self):
        """Open the windows."""
        write, address = self.bench.write, self.bench.address
        await write(address("ecam_window"), ECAM[1] | ECAM[0] << 3 | 1)
        for n, (size, base, pcie) in enumerate(WINDOWS):
            await write(address(f"target_{n}"), pcie)
            await write(address(f"extent_{n}"), (1 << size) - 1 & ~0xFFF)
            await write(address(f"window_{n}"), base | 1)
        await self.bench.poll(address("pio_status"), mask=4, value=4)

    async def read(self, rid, offset, size):
        """Read a register of a function."""
        answer = await self.master.read(ECAM[1] + (rid << 12) + offset, size,
                                        size=size.bit_length() - 1)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def write(self, rid, offset, value, size):
        """Write a register of a function."""
        answer = await self.master.write(ECAM[1] + (rid << 12) + offset,
                                         value.to_bytes(size, "little"),
                                         size=size.bit_length() - 1)
        assert answer.resp == AxiResp.OKAY

    @staticmethod
    def at(pcie):
        """Return where cores see an address of PCIe."""
        for size, base, target in WINDOWS:
            if target <= pcie < target + (1 << size):
                return base + pcie - target
        raise LookupError(f"No window shows {pcie:#x}")

    async def load(self, pcie, count, **how):
        """Read bytes of device memory; fails unless the answer is OKAY."""
        answer = await self.master.read(self.at(pcie), count, **how)
        assert answer.resp == AxiResp.OKAY, f"{pcie:#x}: {answer.resp!r}"
        return answer.data

    async def store(self, pcie, data, **how):
        """Write bytes of device memory; fails unless the answer is OKAY."""
        answer = await self.master.write(self.at(pcie), data, **how)
        assert answer.resp == AxiResp.OKAY, f"{pcie:#x}: {answer.resp!r}"
