"""Programmed I/O: accesses of cores to devices."""
