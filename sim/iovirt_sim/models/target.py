"""The reference model as something that vectors can be run on."""

from .iommu import Iommu
from .memory import WordMemory
from .translate import Request

__all__ = ["ModelTarget"]


class ModelTarget:
    """Run vectors on :class:`.Iommu`."""

    def __init__(self, caps):
        self.caps = caps

    def reset(self, words, bad):
        """Start anew."""
        self.memory = WordMemory(words, bad)
        self.iommu  = Iommu(self.memory, self.caps)
        self.before = dict(self.memory.words)

    def write_memory(self, words):
        """Write as software."""
        self.memory.words.update(words)
        self.before.update(words)

    def read_word(self, address):
        """Read as software."""
        return self.memory.load(address)

    def changed(self):
        """Return and forget what the model has written."""
        words = {address: word for address, word in self.memory.words.items()
                 if word != self.before.get(address, 0)}
        self.before = dict(self.memory.words)
        return words

    def settle(self):
        """Nothing is ever under way."""

    def write_register(self, offset, size, value):
        """Write a register."""
        self.iommu.write_register(offset, size, value)

    def read_register(self, offset, size):
        """Read a register."""
        return self.iommu.read_register(offset, size)

    def request(self, op):
        """Run one transaction."""
        answer = self.iommu.request(Request(
            device_id=int(op["did"], 16), iova=int(op["iova"], 16), write=bool(op["write"]),
            exec=bool(op["exec"]), at=op["at"], pv=bool(op["pv"]), pid=int(op["pid"], 16),
            priv=bool(op["priv"])))
        if answer.spa is not None:
            return "ok", answer.spa, None
        # Everything that translation denies is answered UR, but an ATS request whose table is
        # corrupt or cannot be read is answered CA.
        abort = op["at"] == "ats" and answer.cause in (1, 5, 7, 268, 274)
        return "ca" if abort else "ur", None, answer.cause
