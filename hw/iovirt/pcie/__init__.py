"""PCIe transaction layer: the TLP streams and what they carry."""
