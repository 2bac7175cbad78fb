"""Reference model of translation, written from the RISC-V IOMMU architecture 1.0.

Second stage only, base-format device contexts; every absent option makes a context misconfigured.
Section numbers are those of the specification's chapters on the data structures and the process to
translate an IOVA.
"""

from dataclasses import dataclass

from .memory import AccessFault, Corruption

__all__ = ["Answer", "Capabilities", "Fault", "Request", "translate"]

PAGE = 4096


@dataclass(frozen=True)
class Capabilities:
    """What the modelled IOMMU can do."""

    pas: int = 46
    second_stage: tuple = ("Sv39x4", "Sv48x4")
    ddt_levels: int = 3

    def modes(self):
        """Return {iohgatp.MODE: number of levels}."""
        return {8 + n: 3 + n for n, name in enumerate(("Sv39x4", "Sv48x4", "Sv57x4"))
                if name in self.second_stage}

    @property
    def limit(self):
        """First address beyond the physical address space."""
        return 1 << self.pas


@dataclass(frozen=True)
class Request:
    """An inbound transaction. ``at`` is "untranslated", "translated" or "ats"."""

    device_id: int
    iova: int
    write: bool = False
    exec: bool = False
    at: str = "untranslated"
    pv: bool = False
    pid: int = 0
    priv: bool = False

    def fault_by_type(self, execute, read, write):
        """Pick a cause by the kind of access."""
        return write if self.write else execute if self.exec else read


@dataclass(frozen=True)
class Answer:
    """``spa`` of a permitted access, or ``cause``. ``dtf`` silences translation faults."""

    spa: int | None = None
    cause: int | None = None
    iotval2: int = 0
    dtf: bool = False


class Fault(Exception):
    """A translation ends with ``cause``."""

    def __init__(self, cause, iotval2=0):
        super().__init__(cause)
        self.cause, self.iotval2 = cause, iotval2


def _bits(value, high, low):
    return value >> low & (1 << high - low + 1) - 1


def _read(memory, caps, address, count, access, corrupt):
    try:
        return memory.read(address, count, limit=caps.limit)
    except AccessFault:
        raise Fault(access) from None
    except Corruption:
        raise Fault(corrupt) from None


def find_context(memory, caps, ddtp, device_id):
    """Process to locate the device context; return its four doublewords."""
    levels = (ddtp & 0xF) - 1
    indices = [_bits(device_id, 6, 0), _bits(device_id, 15, 7), _bits(device_id, 23, 16)]
    if any(indices[levels:]):
        raise Fault(260)
    table = _bits(ddtp, 53, 10) * PAGE
    for index in reversed(indices[1:levels]):
        entry, = _read(memory, caps, table + 8 * index, 1, 257, 268)
        if not entry & 1:
            raise Fault(258)
        if _bits(entry, 9, 1) or _bits(entry, 63, 54):
            raise Fault(259)
        table = _bits(entry, 53, 10) * PAGE
    context = _read(memory, caps, table + 32 * indices[0], 4, 257, 268)
    if not context[0] & 1:
        raise Fault(258)
    if misconfigured(caps, context):
        raise Fault(259)
    return context


def misconfigured(caps, context):
    """Device-context configuration checks, with every optional capability absent."""
    tc, iohgatp, ta, fsc = context
    en_ats, en_pri, t2gpa, _dtf, pdtv, prpr, gade, sade, dpe, sbe, sxl = (
        _bits(tc, n, n) for n in range(1, 12))
    mode = _bits(iohgatp, 63, 60)
    return any((
        _bits(tc, 23, 12), _bits(tc, 63, 32),
        en_ats, en_pri, t2gpa, prpr,         # no ATS
        dpe and not pdtv,
        gade, sade,                          # no hardware A/D update
        sbe, sxl,                            # little-endian, 64-bit only
        mode != 0 and mode not in caps.modes(),
        mode != 0 and _bits(iohgatp, 1, 0),  # root is 16 KiB aligned
        _bits(ta, 11, 0), _bits(ta, 63, 32),
        _bits(fsc, 63, 60), _bits(fsc, 59, 44),  # iosatp or pdtp Bare only
    ))


def second_stage(memory, caps, iohgatp, request):
    """Translate a GPA by the second stage (RISC-V Privileged, address translation of SvNx4)."""
    gpa = request.iova
    levels = caps.modes()[_bits(iohgatp, 63, 60)]
    page_fault = Fault(request.fault_by_type(20, 21, 23), gpa & ~3)
    access = request.fault_by_type(1, 5, 7)
    if gpa >> 12 + 9 * levels + 2:
        raise page_fault
    table = _bits(iohgatp, 43, 0) * PAGE
    for level in reversed(range(levels)):
        width = 11 if level == levels - 1 else 9
        index = gpa >> 12 + 9 * level & (1 << width) - 1
        pte, = _read(memory, caps, table + 8 * index, 1, access, 274)
        ppn = _bits(pte, 53, 10)
        v, r, w, x, u, _g, a, d = (_bits(pte, n, n) for n in range(8))
        napot = pte >> 63
        if not v or (w and not r) or _bits(pte, 62, 54):
            raise page_fault
        if r or x:
            break
        if level == 0 or d or a or u or napot:
            raise page_fault
        table = ppn * PAGE
    allowed = w if request.write else x if request.exec else r
    if not allowed or not u:
        raise page_fault
    if ppn & (1 << 9 * level) - 1 and level:
        raise page_fault
    if napot:
        if level or ppn & 0xF != 8:
            raise page_fault
        ppn = ppn & ~0xF | gpa >> 12 & 0xF
    if not a or (request.write and not d):
        raise page_fault
    offset = (1 << 12 + 9 * level) - 1
    spa = ppn * PAGE & ~offset | gpa & offset
    if spa >= caps.limit:
        raise Fault(access)
    return spa


def translate(memory, caps, ddtp, request):
    """Process to translate an IOVA; return an `Answer`."""
    dtf = False
    try:
        mode = ddtp & 0xF
        if mode == 0:
            raise Fault(256)
        if mode == 1:
            if request.at != "untranslated":
                raise Fault(260)
            if request.iova >= caps.limit:
                raise Fault(request.fault_by_type(1, 5, 7))
            return Answer(spa=request.iova)
        context = find_context(memory, caps, ddtp, request.device_id)
        dtf = bool(context[0] >> 4 & 1)
        if request.at != "untranslated" or (request.pv and not context[0] >> 5 & 1):
            raise Fault(260)
        if context[1] >> 60 == 0:
            if request.iova >= caps.limit:
                raise Fault(request.fault_by_type(1, 5, 7))
            return Answer(spa=request.iova, dtf=dtf)
        return Answer(spa=second_stage(memory, caps, context[1], request), dtf=dtf)
    except Fault as fault:
        return Answer(cause=fault.cause, iotval2=fault.iotval2, dtf=dtf)
