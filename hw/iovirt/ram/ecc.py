"""Single-error correction and double-error detection."""

from amaranth import *

__all__ = ["Secded"]


class Secded:
    """Code words with an extended Hamming code: one wrong bit is corrected, two are detected.

    The methods make combinational logic, so that the user can put registers between the steps. A
    check bit is a parity of about half the data bits.

    The code word of 0 is all zeros.

    Parameters
    ----------
    width : :class:`int`
        Of the data, at least 1.

    Raises
    ------
    ValueError
        If ``width`` is not an integer of at least 1.
    """

    def __init__(self, *, width):
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"Width of data must be an integer of at least 1, not {width!r}")
        self.width  = width
        self.checks = 2
        while 1 << self.checks < width + self.checks + 1:
            self.checks += 1
        # Each data bit has a number with more than one bit set; check bit `n` has the number 2^n.
        # Bit 0 of the syndrome is the parity of the whole word.
        numbers = (n for n in range(3, 1 << self.checks) if n & (n - 1))
        self._numbers = [next(numbers) for _ in range(width)]
        #: Width of a code word: the data, then the check bits, then the parity.
        self.code_width = width + self.checks + 1

    def encode(self, value):
        """Return the code word of ``value``."""
        value  = Cat(Value.cast(value))
        checks = self._check_bits(value)
        # The parity bit makes the number of ones even. Each data bit is in as many check bits as
        # its number has ones, so it counts in the parity if that and itself make an odd number.
        parity = self._parity(value[n] for n, number in enumerate(self._numbers)
                              if number.bit_count() % 2 == 0)
        return Cat(value, checks, parity)

    def syndrome(self, code):
        """Return what is wrong with ``code``, to be given to the other methods; 0 if nothing is."""
        value  = code[:self.width]
        stored = code[self.width:self.width + self.checks]
        return Cat(code.xor(), self._check_bits(value) ^ stored)

    def correct(self, code, syndrome):
        """Return the data of ``code`` with the one wrong bit corrected, if there is one."""
        return Cat(code[n] ^ (syndrome == Cat(C(1, 1), C(number, self.checks)))
                   for n, number in enumerate(self._numbers))

    def is_single(self, syndrome):
        """Return whether one bit is wrong, and so corrected."""
        # The numbers are dense: all up to the highest belong to a bit, 0 to the parity.
        return syndrome[0] & (syndrome[1:] <= self._numbers[-1])

    def is_fatal(self, syndrome):
        """Return whether more bits are wrong, so that the data cannot be trusted."""
        return syndrome.any() & ~self.is_single(syndrome)

    def _check_bits(self, value):
        return Cat(self._parity(value[n] for n, number in enumerate(self._numbers)
                                if number >> bit & 1) for bit in range(self.checks))

    def _parity(self, bits):
        bits = list(bits)
        return Cat(bits).xor() if bits else C(0, 1)
