"""Check templates of shared devices and show the words of the template table."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..vf.encoding import encode_opcodes, encode_template
from ..vf.export import c_header
from ..vf.library import LIBRARY, library_names, load_templates
from ..vf.reader import TemplateError
from ..vf.templates import read_template
from .common import UsageError, add_json_argument, tool_versions, write_json


def add_arguments(parser):
    """Add the arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE",
                        help="TOML file, or name of a template of the library; templates that it "
                        "refers to are added")
    parser.add_argument("--list", action="store_true", help="list the library")
    parser.add_argument("--header", metavar="FILE", help="write the words to FILE as a C header")
    add_json_argument(parser)


def run(options):
    """Run the verb."""
    if options.list == bool(options.files):
        raise UsageError("template: exactly one of FILE and --list must be given")
    if options.list and options.header is not None:
        raise UsageError("--header must be used with FILE, not with --list")
    try:
        return _list(options) if options.list else _compile(options)
    except TemplateError as error:
        raise UsageError(str(error)) from None


def _list(options):
    table = Table("name", "entries", "what")
    templates = [read_template(LIBRARY / f"{name}.toml") for name in library_names()]
    for template in templates:
        table.add_row(template.name, _entries(template), template.title)
    Console().print(table)
    write_json(options.json, {"versions": tool_versions(), "library": [
        {"name": template.name, "title": template.title, "file": str(template.path)}
        for template in templates]})
    return 0


def _compile(options):
    templates = load_templates(options.files)
    slots = {template.name: number for number, template in enumerate(templates)}
    records = []
    for template in templates:
        word, opcodes = encode_template(template, slots), encode_opcodes(template)
        records.append({
            "place": slots[template.name], "name": template.name, "title": template.title,
            "file": str(template.path), "word": f"{word:#0130x}", "opcodes": f"{opcodes:#0130x}",
            "classes": list(template.classes), "parameters": template.parameters})
        _show(template, records[-1])
    if options.header is not None:
        try:
            Path(options.header).write_text(c_header(templates), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--header {options.header}: file must be writable: "
                             f"{error.strerror}") from None
    write_json(options.json, {"versions": tool_versions(), "templates": records})
    return 0


def _entries(template):
    handler = template.handler.replace("_", " ").replace("prp", "PRP")
    return f"{handler}, {template.entry_bytes} bytes"


def _show(template, record):
    print(f"{record['place']}  {template.name}: {template.title} ({_entries(template)})")
    if template.classes:
        print("   classes     " + ", ".join(f"{number} {name}" for number, name in
                                            enumerate(template.classes, start=1)))
    if template.parameters:
        print("   parameters  " + ", ".join(f"{number} {name}" for name, number in
                                            template.parameters.items()))
    # Most significant bits first, 128 bits a line.
    for key in ("word", "opcodes") if template.opcodes else ("word",):
        digits = record[key].removeprefix("0x")
        for at in range(0, 128, 32):
            print(f"   {key if at == 0 else '':<11} {digits[at:at + 32]}")
