"""C header and document of the register map."""

import argparse
import html
import re
import tempfile
from pathlib import Path

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_markdown.exporter import MarkdownExporter

from iovirt.config import PRESETS, preset

from .rdl import document_map, register_map

__all__ = ["c_header", "markdown", "write_c_header", "write_markdown"]


def c_header(config):
    """Return the text of the C header of ``config``: offsets, bits and reset values."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "iovirt.h")
        CHeaderExporter().export(register_map(config).node, str(path), reuse_typedefs=False)
        return _tidy(path.read_text())


def markdown(config):
    """Return the text of the register document of ``config``."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "registers.md")
        MarkdownExporter().export(document_map(config).node, str(path))
        # Descriptions come as HTML; Markdown needs no tags for paragraphs.
        return html.unescape(re.sub("</?p>", "", _tidy(path.read_text())))


def _tidy(text):
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip() + "\n"


def write_c_header(config, path):
    """Write the C header of ``config`` to ``path``."""
    Path(path).write_text(c_header(config))


def write_markdown(config, path):
    """Write the register document of ``config`` to ``path``."""
    Path(path).write_text(markdown(config))


def main(arguments=None):
    """Write the register document of a preset; run as ``python -m iovirt.csr.export FILE``."""
    parser = argparse.ArgumentParser(description="Write the register document of a preset.")
    parser.add_argument("--preset", choices=list(PRESETS), default="default")
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    write_markdown(preset(options.preset), options.file)


if __name__ == "__main__":
    main()
