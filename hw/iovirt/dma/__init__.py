"""DMA data path: memory TLPs of devices to and from AXI4."""
