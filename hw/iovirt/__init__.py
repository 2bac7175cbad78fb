"""iovirt: the I/O-virtualization layer of a PCIe root complex."""

from .config import PRESETS, Config, ConfigError, preset

__all__ = ["PRESETS", "Config", "ConfigError", "preset"]
__version__ = "0.1.0"
