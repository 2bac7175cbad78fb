"""Registers by name, from the register map of a configuration."""

from iovirt.csr import register_map

__all__ = ["Registers"]

PAGE = 4096


class Registers:
    """Where registers are, and which bits their fields are."""

    def __init__(self, config):
        found = register_map(config)
        self.names   = {register.name: register for register in found.registers}
        self.windows = found.windows

    def __contains__(self, name):
        return name in self.names

    def offset(self, name):
        """Return the byte offset of a register."""
        return self.names[name].address

    def size(self, name):
        """Return its size in bytes."""
        return self.names[name].width // 8

    def window(self, name):
        """Return the byte offset of the pages that a block serves itself."""
        return self.windows[name][0] * PAGE

    def pack(self, name, **fields):
        """Return the value of a register with these fields; ``base`` and ``mask`` are of bytes."""
        value = 0
        for key, content in fields.items():
            field = self.names[name][key]
            if key in ("base", "mask"):
                content >>= field.low
            if content >> field.width:
                raise ValueError(f"Field {name}.{key} must fit {field.width} bits, not be "
                                 f"{content:#x}")
            value |= content << field.low
        return value

    def unpack(self, name, value):
        """Return {field: content}."""
        return {field.name: value >> field.low & (1 << field.width) - 1
                for field in self.names[name].fields}
