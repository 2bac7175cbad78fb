"""What the configuration space of the root port holds: addresses, values after reset, masks."""

import enum

__all__ = ["AER_ERRORS", "DEPTH", "Word", "header_words"]

#: Dwords of the configuration space that are not always 0: 512 bytes.
DEPTH = 128


class Word(enum.IntEnum):
    """Number of a Dword (PCIe Base, 7.5.1, 7.5.2, 7.5.3, 7.7.7, 7.8.4)."""

    COMMAND         = 0x04 // 4  # and status
    BUSES           = 0x18 // 4
    IO_WINDOW       = 0x1c // 4  # and secondary status
    MEMORY_WINDOW   = 0x20 // 4
    BRIDGE_CONTROL  = 0x3c // 4  # and interrupt line and pin
    DEVICE_CONTROL  = 0x48 // 4  # and status
    LINK_CONTROL    = 0x50 // 4  # and status
    ROOT_CONTROL    = 0x5c // 4  # and capabilities
    ROOT_STATUS     = 0x60 // 4
    DEVICE_CONTROL2 = 0x68 // 4
    POWER_STATE     = 0x84 // 4

    AER_STATUS      = 0x104 // 4
    AER_MASK        = 0x108 // 4
    AER_SEVERITY    = 0x10c // 4
    AER_COR_STATUS  = 0x110 // 4
    AER_COR_MASK    = 0x114 // 4
    AER_CONTROL     = 0x118 // 4
    AER_HEADER      = 0x11c // 4  # the first of 4
    AER_COMMAND     = 0x12c // 4
    AER_ROOT_STATUS = 0x130 // 4
    AER_SOURCE      = 0x134 // 4


#: Bits of the uncorrectable errors that are told apart, in all AER registers.
AER_ERRORS = {
    "surprise_down": 5,
    "poisoned":      12,
    "timeout":       14,
    "abort":         15,  # this side answered CA
    "unexpected":    16,  # completion
    "malformed":     18,
    "unsupported":   20,  # this side answered UR
    "source":        21,  # requester outside the bus range: ACS violation
}

_FATAL = 1 << AER_ERRORS["surprise_down"] | 1 << AER_ERRORS["malformed"]


def header_words(*, vendor_id, device_id, revision_id, max_payload_code, rcb_128, ten_bit_tags,
                 port_number, link_speed, link_width):
    """Return ``{Dword: (value after reset, bits that software can write)}``; all others are 0.

    Bits that hardware changes are 0 here: status, and the power state.
    """
    def both(low, high):
        return low | high << 16

    implemented = sum(1 << bit for bit in AER_ERRORS.values())
    words = {
        0x00: (both(vendor_id, device_id), 0),
        # Capability list; memory, bus master, parity response, SERR#, interrupt disable.
        0x04: (both(0, 1 << 4), 0x0546),
        0x08: (0x060400 << 8 | revision_id, 0),  # PCI-to-PCI bridge
        0x0c: (both(0, 0x01), 0xff),             # header type 1; cache line size has no effect
        0x18: (0, 0xffffff),                     # primary, secondary, subordinate
        # No window for I/O; those for memory tell software's plan, nothing here decodes them.
        0x20: (0, 0xfff0fff0),
        0x24: (0x00010001, 0xfff0fff0),          # prefetchable: 64 bits
        0x28: (0, 0xffffffff),
        0x2c: (0, 0xffffffff),
        0x34: (0x40, 0),
        # INTA, so that software without MSI finds its interrupt; parity, SERR#, bus reset.
        0x3c: (0x0100, both(0xff, 0x43)),

        # PCI Express capability, version 2, root port without a slot.
        0x40: (both(0x8010, 0x0042), 0),
        # Extended tags; errors told by role.
        0x44: (1 << 15 | 1 << 5 | max_payload_code, 0),
        0x48: (0x2910, 0x79ff),                  # extended tags on, MRRS 512, no snoop
        # Surprise down and DLL active are told; ASPM optional.
        0x4c: (port_number << 24 | 1 << 22 | 1 << 20 | 1 << 19 | link_width << 4 | link_speed, 0),
        0x50: (rcb_128 << 3, 0xd0),              # disable, common clock, extended synch
        0x58: (both(0, 1 << 6), 0),              # no slot: always present
        0x5c: (both(0, 1), 0x1f),                # RRS can be made visible
        # Completion time-outs A to D or off; ARI forwarding; 10-bit tags; one PASID prefix.
        0x64: (1 << 22 | 1 << 21 | ten_bit_tags << 17 | 1 << 16 | 0x3f, 0),
        0x68: (0, 0x3f | ten_bit_tags << 12),
        0x6c: ((1 << link_speed + 1) - 2, 0),
        0x70: (link_speed, 0xf),                 # target speed has no effect here

        # Power management, version 3: D0 and D3hot.
        0x80: (both(0x0001, 0x0003), 0),
        0x84: (1 << 3, 0),                       # no soft reset

        # Advanced error reporting, version 2.
        0x100: (0x148 << 20 | 2 << 16 | 0x0001, 0),
        0x108: (0, implemented),
        0x10c: (_FATAL, implemented),
        0x114: (1 << 13, 1 << 13),               # advisory errors masked
        0x12c: (0, 7),

        # ACS: what it asks of a port without peer-to-peer is always done.
        0x148: (1 << 16 | 0x000d, 0),
        0x14c: (0x1f, 0x1f << 16),
    }
    return {address // 4: value for address, value in words.items()}
