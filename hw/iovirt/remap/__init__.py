"""DMA remapping: RISC-V IOMMU architecture 1.0."""
