"""Memory structures of the RISC-V IOMMU architecture 1.0, as hardware reads them."""

from amaranth.lib import data

__all__ = ["DEVICE_CONTEXT_BYTES", "DEVICE_INDEX", "GATP_MODES", "DirectoryEntry", "FirstStage",
           "GuestTranslation", "Pte", "TranslationAttributes", "TranslationControl"]

#: Base-format device context (capabilities.MSI_FLAT is 0).
DEVICE_CONTEXT_BYTES = 32

#: Bits of device_id that index the device directory, leaf level first (2.1.3, base format).
DEVICE_INDEX = (slice(0, 7), slice(7, 16), slice(16, 24))

#: iohgatp.MODE of the modes of the second stage, while fctl.GXL is 0.
GATP_MODES = {"Sv39x4": 8, "Sv48x4": 9, "Sv57x4": 10}


class Pte(data.Struct):
    """Page-table entry of Sv39, Sv48, Sv57 and of their x4 forms."""

    v:        1
    r:        1
    w:        1
    x:        1
    u:        1
    g:        1
    a:        1
    d:        1
    rsw:      2   # for software
    ppn:      44
    reserved: 7   # includes bits 60:59, which only Svrsw60t59b gives to software
    pbmt:     2   # Svpbmt; reserved without it
    n:        1   # Svnapot

    def is_malformed(self):
        """Not valid, or an encoding that is reserved at every level."""
        return ~self.v | (self.w & ~self.r) | self.reserved.any() | self.pbmt.any()

    def is_pointer(self):
        """Points to the next table, if well formed."""
        return ~self.r & ~self.x

    def is_pointer_with_attributes(self):
        """Of a pointer: has one of the bits set that are reserved in pointers."""
        return self.d | self.a | self.u | self.n

    def is_napot_64k(self):
        """Of a level-0 leaf with N set: the only size that Svnapot defines."""
        return self.ppn[:4] == 0b1000


class DirectoryEntry(data.Struct):
    """Non-leaf entry of the device directory (2.1.1)."""

    v:        1
    reserved: 9
    ppn:      44
    high:     10  # reserved

    def is_misconfigured(self):
        """A reserved bit is set."""
        return self.reserved.any() | self.high.any()


class TranslationControl(data.Struct):
    """First doubleword of a device context (2.1.3.1)."""

    v:        1
    en_ats:   1
    en_pri:   1
    t2gpa:    1
    dtf:      1   # disable translation fault reporting
    pdtv:     1   # fsc is a pdtp
    prpr:     1
    gade:     1
    sade:     1
    dpe:      1   # default process_id
    sbe:      1
    sxl:      1
    reserved: 12
    custom:   8   # not checked
    high:     32  # reserved

    def is_misconfigured(self):
        """A reserved bit, or what needs an option that this IOMMU does not have."""
        options = (self.en_ats | self.en_pri | self.t2gpa | self.prpr  # ATS
                   | self.gade | self.sade                             # AMO_HWAD
                   | self.sbe | self.sxl)                              # END, GXL
        return options | (self.dpe & ~self.pdtv) | self.reserved.any() | self.high.any()


class GuestTranslation(data.Struct):
    """iohgatp (2.1.3.2)."""

    ppn:   44  # of the root, which has 16 KiB
    gscid: 16
    mode:  4

    def is_misconfigured(self, modes):
        """Mode is none of ``modes`` and not Bare, or the root is not aligned to its size."""
        known = self.mode == 0
        for name in modes:
            known |= self.mode == GATP_MODES[name]
        return ~known | ((self.mode != 0) & self.ppn[:2].any())


class TranslationAttributes(data.Struct):
    """ta (2.1.3.3). RCID and MCID are reserved without QOSID."""

    reserved: 12
    pscid:    20
    high:     32  # reserved, with RCID and MCID

    def is_misconfigured(self):
        """A reserved bit is set."""
        return self.reserved.any() | self.high.any()


class FirstStage(data.Struct):
    """fsc (2.1.3.4): iosatp, or pdtp if tc.PDTV."""

    ppn:      44
    reserved: 16
    mode:     4

    def is_misconfigured(self):
        """A reserved bit is set, or a first stage or process directory is asked for."""
        return self.reserved.any() | self.mode.any()
