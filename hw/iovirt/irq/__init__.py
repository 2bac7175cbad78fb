"""Interrupts: the remap table, pending slots and event queues."""
