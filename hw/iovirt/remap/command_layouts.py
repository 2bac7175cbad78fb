"""Commands of the command queue (RISC-V IOMMU 1.0, 3.1). 16 bytes, little-endian."""

from amaranth import *
from amaranth.lib import data, enum

__all__ = ["Directory", "Fence", "Invalidation", "Opcode"]


class Opcode(enum.Enum, shape=7):
    """Major group of a command."""

    IOTINVAL = 1
    IOFENCE  = 2
    IODIR    = 3
    ATS      = 4  # unsupported


class Invalidation(data.Struct):
    """IOTINVAL.VMA (func3 0) and IOTINVAL.GVMA (func3 1)."""

    opcode:  Opcode
    func3:   3
    av:      1
    rsvd_11: 1
    pscid:   20
    pscv:    1
    gv:      1
    nl:      1   # non-leaf entries too; reserved without capability NL
    rsvd_35: 9
    gscid:   16
    rsvd_60: 4
    rsvd_64: 9
    s:       1   # address range; reserved without capability S
    address: 52  # [12:64]
    rsvd_126: 2

    def legal(self):
        """Return whether this is a supported command, given its opcode."""
        reserved = Cat(self.rsvd_11, self.nl, self.rsvd_35, self.rsvd_60, self.rsvd_64, self.s,
                       self.rsvd_126)
        return ~reserved.any() & ((self.func3 == 0) | (self.func3 == 1) & ~self.pscv)


class Fence(data.Struct):
    """IOFENCE.C (func3 0)."""

    opcode:  Opcode
    func3:   3
    av:      1   # write `data` to `address`
    wsi:     1   # set fence_w_ip; reserved if fctl.WSI is 0
    pr:      1
    pw:      1
    rsvd_14: 18
    data:    32
    address: 62  # [2:64]
    rsvd_126: 2

    def legal(self, *, wsi):
        """Return whether this is a supported command, given its opcode and fctl.WSI."""
        reserved = Cat(self.rsvd_14, self.rsvd_126, self.wsi & ~wsi)
        return ~reserved.any() & (self.func3 == 0)


class Directory(data.Struct):
    """IODIR.INVAL_DDT (func3 0) and IODIR.INVAL_PDT (func3 1)."""

    opcode:    Opcode
    func3:     3
    rsvd_10:   2
    pid:       20
    rsvd_32:   1
    dv:        1
    rsvd_34:   6
    device_id: 24
    rsvd_64:   64

    def legal(self, *, device_id_bits, pid_bits):
        """Return whether this is a supported command, given its opcode and the widest ids."""
        reserved = Cat(self.rsvd_10, self.rsvd_32, self.rsvd_34, self.rsvd_64)
        wide_device = self.device_id[device_id_bits:].any() & self.dv
        return ~reserved.any() & ~wide_device & (
            (self.func3 == 0) & ~self.pid.any() |
            (self.func3 == 1) & ~self.pid[pid_bits:].any() & self.dv)
