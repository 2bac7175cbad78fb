"""DMA data path: memory TLPs of devices to and from AXI4."""

from .engine import DmaEngine
from .layouts import retire_signature, translation_request, translation_result

__all__ = ["DmaEngine", "retire_signature", "translation_request", "translation_result"]
