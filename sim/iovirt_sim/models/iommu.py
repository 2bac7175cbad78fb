"""Reference model of the whole IOMMU: registers, queues, interrupts and debug interface around
:mod:`.translate`. Everything happens at once, in the order of the calls; nothing is cached.
"""

from .memory import AccessFault, Corruption, WordMemory
from .translate import Capabilities, Request, translate

__all__ = ["Iommu"]

DDTP, CQB, CQH, CQT, FQB, FQH, FQT = 16, 24, 32, 36, 40, 48, 52
CQCSR, FQCSR, IPSR, TR_IOVA, TR_CTL, TR_RESPONSE, ICVEC = 72, 76, 84, 600, 608, 616, 760
#: 64-bit registers by offset; all others are 32 bits wide.
WIDE = {0, DDTP, CQB, FQB, TR_IOVA, TR_CTL, TR_RESPONSE, ICVEC}
CQMF, CMD_TO, CMD_ILL, FENCE_W_IP = 1 << 8, 1 << 9, 1 << 10, 1 << 11
FQMF, FQOF = 1 << 8, 1 << 9
ON, IE, EN = 1 << 16, 2, 1
#: Causes that DTF does not silence.
ALWAYS_REPORTED = {256, 257, 258, 259, 268, 272, 273}


def _field(high, low):
    return (1 << high + 1) - (1 << low)


class Iommu:
    """An IOMMU with wire-signalled interrupts and the debug interface.

    Parameters
    ----------
    memory : WordMemory
    caps : Capabilities
    vectors : number of interrupt wires; limits what icvec holds.
    """

    def __init__(self, memory=None, caps=None, *, vectors=4):
        self.memory = memory if memory is not None else WordMemory()
        self.caps = caps or Capabilities()
        self.vectors = vectors
        self.regs = dict.fromkeys((DDTP, CQB, CQH, CQT, FQB, FQH, FQT, CQCSR, FQCSR, IPSR, TR_IOVA,
                                   TR_CTL, TR_RESPONSE, ICVEC), 0)
        stages = {"Sv39x4": 17, "Sv48x4": 18, "Sv57x4": 19}
        self.regs[0] = (0x10 | 1 << 28 | 1 << 31 | self.caps.pas << 32
                        | sum(1 << stages[name] for name in self.caps.second_stage))
        self.regs[8] = 2  # fctl: WSI

    # Registers

    def read_register(self, offset, size):
        """Read 4 or 8 bytes."""
        if size == 4:
            base = offset & ~7
            if offset in self.regs and offset not in WIDE:
                return self.regs[offset]
            word = self.regs.get(base, 0) if base in WIDE else 0
            return word >> (offset & 4) * 8 & 0xFFFFFFFF
        if offset in WIDE:
            return self.regs[offset]
        return self.read_register(offset, 4) | self.read_register(offset + 4, 4) << 32

    def write_register(self, offset, size, value):
        """Write 4 or 8 bytes."""
        value &= (1 << 8 * size) - 1
        base = offset & ~7
        if size == 4 and base in WIDE:
            shift = (offset & 4) * 8
            value = self.regs[base] & ~(0xFFFFFFFF << shift) | value << shift
            offset = base
        elif size == 8 and offset not in WIDE:
            self.write_register(offset, 4, value)
            self.write_register(offset + 4, 4, value >> 32)
            return
        writer = {
            DDTP: self._write_ddtp, CQB: self._write_base, FQB: self._write_base,
            CQT: self._write_index, FQH: self._write_index, CQCSR: self._write_cqcsr,
            FQCSR: self._write_fqcsr, IPSR: self._write_ipsr, TR_CTL: self._write_debug,
            TR_IOVA: self._write_iova, ICVEC: self._write_icvec,
        }.get(offset)
        if writer:
            writer(offset, value)
        self._serve()

    def _write_ddtp(self, _offset, value):
        mode = value & 0xF
        if mode > 1 + self.caps.ddt_levels:
            mode = self.regs[DDTP] & 0xF
        self.regs[DDTP] = value & _field(self.caps.pas - 3, 10) | mode

    def _write_base(self, offset, value):
        self.regs[offset] = value & (_field(self.caps.pas - 3, 10) | 0x1F)
        # The index that software owns keeps only the bits of the new size.
        index = CQT if offset == CQB else FQH
        self.regs[index] &= self._entries(offset) - 1

    def _write_index(self, offset, value):
        self.regs[offset] = value & self._entries(CQB if offset == CQT else FQB) - 1

    def _write_iova(self, offset, value):
        self.regs[offset] = value & ~0xFFF

    def _write_icvec(self, offset, value):
        field = self.vectors - 1
        self.regs[offset] = value & (field | field << 4)

    def _write_cqcsr(self, _offset, value):
        old = self.regs[CQCSR]
        errors = old & (CQMF | CMD_TO | CMD_ILL | FENCE_W_IP) & ~value
        if value & EN and not old & EN:
            self.regs[CQH], errors = 0, 0
        self.regs[CQCSR] = errors | value & (EN | IE) | (ON if value & EN else 0)

    def _write_fqcsr(self, _offset, value):
        old = self.regs[FQCSR]
        errors = old & (FQMF | FQOF) & ~value
        if value & EN and not old & EN:
            self.regs[FQT], errors = 0, 0
        self.regs[FQCSR] = errors | value & (EN | IE) | (ON if value & EN else 0)

    def _write_ipsr(self, _offset, value):
        self.regs[IPSR] &= ~value & 0xF

    def _write_debug(self, _offset, value):
        if self.regs[TR_CTL] & 1 or not value & 1:
            self.regs[TR_CTL] = value & (_field(32, 12) | _field(63, 40) | 0xE)
            return
        self.regs[TR_CTL] = value & (_field(32, 12) | _field(63, 40) | 0xE)
        answer = self.request(Request(
            device_id=value >> 40, iova=self.regs[TR_IOVA], write=not value >> 3 & 1,
            exec=bool(value >> 2 & 1 and value >> 3 & 1), pv=bool(value >> 32 & 1),
            pid=value >> 12 & 0xFFFFF, priv=bool(value >> 1 & 1)))
        self.regs[TR_RESPONSE] = 1 if answer.spa is None else (answer.spa >> 12) << 10

    def _entries(self, base):
        return 1 << (self.regs[base] & 0x1F) + 1

    def _ring(self, base):
        return (self.regs[base] >> 10 & (1 << 44) - 1) << 12

    # Transactions and faults

    def request(self, request):
        """Translate; record the fault unless silenced."""
        answer = translate(self.memory, self.caps, self.regs[DDTP], request)
        if answer.cause is not None and (not answer.dtf or answer.cause in ALWAYS_REPORTED):
            kind = {"untranslated": 0, "translated": 4, "ats": 8}[request.at]
            execute = request.exec and (request.pv or request.at == "untranslated")
            ttyp = 8 if kind == 8 else kind + (3 if request.write else 1 if execute else 2)
            pid, priv = (request.pid, request.priv) if request.pv else (0, 0)
            self._record([answer.cause | pid << 12 | request.pv << 32 | priv << 33 | ttyp << 34
                          | request.device_id << 40, 0, request.iova, answer.iotval2])
        self._serve()
        return answer

    def _record(self, words):
        csr = self.regs[FQCSR]
        if not csr & ON or csr & (FQMF | FQOF):
            return
        mask, tail = self._entries(FQB) - 1, self.regs[FQT]
        if tail + 1 & mask == self.regs[FQH]:
            self.regs[FQCSR] |= FQOF
            return
        try:
            self.memory.write(self._ring(FQB) + 32 * tail, words, limit=self.caps.limit)
        except AccessFault:
            self.regs[FQCSR] |= FQMF
            return
        self.regs[FQT] = tail + 1 & mask
        if csr & IE:
            self.regs[IPSR] |= 2

    # Commands and interrupts

    def _serve(self):
        while (self.regs[CQCSR] & ON and not self.regs[CQCSR] & (CQMF | CMD_TO | CMD_ILL)
               and self.regs[CQH] != self.regs[CQT]):
            error = self._execute()
            self.regs[CQCSR] |= error
            if not error:
                self.regs[CQH] = self.regs[CQH] + 1 & self._entries(CQB) - 1
        if self.regs[CQCSR] & IE and self.regs[CQCSR] & (CQMF | CMD_TO | CMD_ILL | FENCE_W_IP):
            self.regs[IPSR] |= 1
        if self.regs[FQCSR] & IE and self.regs[FQCSR] & (FQMF | FQOF):
            self.regs[IPSR] |= 2

    def _execute(self):
        try:
            low, high = self.memory.read(self._ring(CQB) + 16 * self.regs[CQH], 2,
                                         limit=self.caps.limit)
        except (AccessFault, Corruption):
            return CQMF
        command = low & 0x7F, low >> 7 & 7
        av, pscv, gv = low >> 10 & 1, low >> 32 & 1, low >> 33 & 1
        if command in ((1, 0), (1, 1)):
            legal = _field(9, 0) | 1 << 10 | _field(31, 12) | _field(33, 32) | _field(59, 44)
            if low & ~legal or high & ~_field(61, 10) or (command == (1, 1) and pscv):
                return CMD_ILL
            return 0
        if command == (2, 0):
            legal = _field(13, 0) | _field(63, 32)
            if low & ~legal or high & ~_field(61, 0):
                return CMD_ILL
            if av:
                try:
                    self.memory.write_half((high & _field(61, 0)) << 2, low >> 32,
                                           limit=self.caps.limit)
                except AccessFault:
                    return CQMF
            if low >> 11 & 1:
                self.regs[CQCSR] |= FENCE_W_IP
            return 0
        if command in ((3, 0), (3, 1)):
            legal = _field(9, 0) | _field(31, 12) | 1 << 33 | _field(63, 40)
            pid = low >> 12 & 0xFFFFF
            if low & ~legal or high or (command == (3, 0) and pid):
                return CMD_ILL
            if command == (3, 1) and (not gv or pid > 0xFF):
                return CMD_ILL
            return 0
        return CMD_ILL
