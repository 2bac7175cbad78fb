"""What a root complex must do with a packet from a device: the rules, on numbers.

Takes headers as bits and not as :class:`iovirt_sim.tlp.Tlp`, because a malformed packet need not be
one. PCIe Base, 2.2 (formats) and 2.3 (handling).
"""

from dataclasses import dataclass

from ..tlp import byte_count, lower_address

__all__ = ["Decision", "decide"]

TC0_CODES = {0x00, 0x14, 0x18, 0x19, 0x1B, *range(0x20, 0x28), 0x30, 0x31, 0x33, 0x50}
#: Messages that are interrupts: PM_PME, INTx, ERR_COR, ERR_NONFATAL and ERR_FATAL.
INTERRUPT_CODES = {0x18, *range(0x20, 0x28), 0x30, 0x31, 0x33}
#: Size of an interrupt window.
WINDOW = 0x10000


@dataclass(frozen=True)
class Decision:
    """``route``: write, read, refuse (UR), completion, message, interrupt (a message that is one)
    or drop; ``cause``: record or None.

    ``begun``: a fault that shows only at the end of the payload, so that a write has been started.
    ``interrupt``: a write that is one. ``reply`` is (byte count, lower address) if refused.
    """

    route: str
    cause: str | None = None
    begun: bool = False
    reply: tuple | None = None
    interrupt: bool = False


def _class_of(fmt, kind):
    wide, has_data = fmt & 1, fmt >> 1 & 1
    if fmt >> 2:
        return None
    if kind == 0x00:
        return "write" if has_data else "read"
    if kind == 0x01:
        return None if has_data else "locked"
    if kind in (0x02, 0x04, 0x05):
        return None if wide else "config"
    if kind in (0x0A, 0x0B):
        return None if wide else "completion"
    if kind in (0x0C, 0x0D, 0x0E):
        return "atomic" if has_data else None
    if kind == 0x1B:
        return "dmwr" if has_data else None
    if kind >> 3 == 2:
        return "message" if wide else None
    return None


def _enables_wrong(length, first_be, last_be, address):
    if length == 1:
        return last_be != 0
    if not first_be or not last_be:
        return True
    if length == 2 and not address & 4:
        return False
    return first_be not in (15, 14, 12, 8) or last_be not in (15, 7, 3, 1)


def decide(header, strobes, prefix, nullify, *, max_payload=256, buses=None, windows=None):
    """Return the :class:`Decision` for a packet.

    ``strobes`` holds one list of 0 and 1 per beat, one entry per Dword; ``prefix`` is None without
    one; ``buses`` is (secondary, subordinate) to check requesters against, or None; ``windows`` are
    the addresses of interrupt windows, or None if interrupts are not recognized at all.
    """
    dw0, dw1 = header >> 96, header >> 64 & 0xFFFFFFFF
    fmt, kind, code = dw0 >> 29, dw0 >> 24 & 0x1F, dw1 & 0xFF
    tc, at, th      = dw0 >> 20 & 7, dw0 >> 10 & 3, dw0 >> 16 & 1
    attr            = dw0 >> 12 & 3 | dw0 >> 18 & 1
    length          = (dw0 & 0x3FF) or 1024
    has_data        = fmt >> 1 & 1
    address         = header & (1 << 64) - 4 if fmt & 1 else header >> 32 & 0xFFFFFFFC
    family          = _class_of(fmt, kind)

    first_be, last_be = code & 15, code >> 4
    if th and family not in ("write", "config"):
        first_be, last_be = 15, 15 if length > 1 else 0

    # What the header alone tells.
    wrong = family is None
    if has_data and 4 * length > max_payload:
        wrong = True
    if prefix is not None:
        wrong |= prefix >> 24 != 0x91 or family == "completion"
    if family in ("read", "locked", "write", "dmwr"):
        wrong |= _enables_wrong(length, first_be, last_be, address)
        wrong |= at != 1 and address % 4096 + 4 * length > 4096
    elif family == "config":
        wrong |= length != 1 or last_be != 0 or tc != 0 or attr != 0 or at != 0
    elif family == "atomic":
        operand = 2 * length if kind == 0x0E else 4 * length
        wrong |= operand not in ((4, 8, 16) if kind == 0x0E else (4, 8)) or address % operand != 0
    elif family == "message":
        wrong |= tc != 0 and code in TC0_CODES

    # What the payload tells.
    width = len(strobes[0])
    want  = length if has_data else 0
    count = max(1, -(-want // width))
    right = [[int(beat * width + n < want) for n in range(width)] for beat in range(count)]
    short = strobes != right

    inside = (family in ("read", "write", "locked", "dmwr", "atomic") and any(
        address < base + WINDOW and address + 4 * length > base for base in windows or ()))
    interrupt = (inside and family == "write" and length == 1 and first_be == 15 and at == 0
                 and prefix is None)
    denied = inside and not interrupt

    begun = family == "write" and not wrong
    if begun and (at == 3 or denied or _outside(dw1, buses)):
        begun = False
    if nullify:
        return Decision("drop", "NULLIFIED", begun, interrupt=interrupt)
    if wrong or short:
        return Decision("drop", "MALFORMED", begun, interrupt=interrupt)
    if family == "completion":
        return Decision("completion")

    posted = family in ("write", "message")
    cause  = "BUS_RANGE" if _outside(dw1, buses) else "MSI_DENIED" if denied else None
    if cause is None and (family in ("locked", "config", "atomic", "dmwr")
                          or (family in ("read", "write") and at == 3)):
        cause = "UNSUPPORTED"
    if cause is None:
        if (family == "message" and windows is not None and not has_data
                and code in INTERRUPT_CODES):
            return Decision("interrupt")
        return Decision(family, interrupt=interrupt)
    if posted:
        return Decision("drop", cause)
    if family in ("read", "locked"):
        reply = byte_count(length, first_be, last_be), lower_address(address, first_be)
    elif family == "atomic":
        reply = operand, 0
    else:
        reply = 4, 0
    return Decision("refuse", cause, reply=reply)


def _outside(dw1, buses):
    return buses is not None and not buses[0] <= dw1 >> 24 <= buses[1]
