"""AXI4 and AXI4-Lite: bus signatures, and the sharing of the table port."""

from .signatures import Axi4Signature, AxiLiteSignature, Resp
from .table import (
    TableError,
    table_read_beat,
    table_read_request,
    table_write_request,
    table_write_response,
)
from .table_port import TablePort
from .table_reader import TableReader
from .table_writer import TableWriter

__all__ = ["Axi4Signature", "AxiLiteSignature", "Resp", "TableError", "TablePort", "TableReader",
           "TableWriter", "table_read_beat", "table_read_request", "table_write_request",
           "table_write_response"]
