"""Adversarial model of a shared, unmodified device: patcher, devices, hostile memory, scheduler."""
