"""Registers: the SystemRDL source, the bank behind AXI4-Lite, and the documents made from it."""

from .bank import RegisterBank
from .port import RegisterPortSignature, register_request, register_response
from .rdl import FieldKind, RegisterMap, RegisterMapError, load, register_map

__all__ = ["FieldKind", "RegisterBank", "RegisterMap", "RegisterMapError", "RegisterPortSignature",
           "load", "register_map", "register_request", "register_response"]
