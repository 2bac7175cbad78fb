"""Write Verilog, its manifest, lint waivers, the C header and the register document."""

from pathlib import Path

from ..csr.export import c_header, markdown
from ..export import manifest, module_name, to_verilog
from ..lint import waiver_file
from ..top import IOVirt
from .common import (
    UsageError,
    add_config_arguments,
    config_of,
    make_directory,
    report,
    write_json,
)


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--output", metavar="DIR", default="build/gen",
                        help="where to write, made if it is not there (default: build/gen)")


def run(options):
    """Run the verb."""
    config    = config_of(options)
    directory = make_directory("--output", options.output)
    name      = module_name(config)
    block     = IOVirt(config)
    verilog   = to_verilog(block, name=name)
    contents  = {
        "verilog":   (f"{name}.v", verilog),
        "manifest":  (f"{name}.json", manifest(config, block, verilog)),
        "waivers":   (f"{name}.vlt", waiver_file(f"{name}.v")),
        "header":    (f"{name}.h", c_header(config)),
        "registers": (f"{name}_registers.md", markdown(config)),
    }
    files = {}
    for kind, (file, text) in contents.items():
        files[kind] = path = Path(directory, file)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: file must be writable: {error.strerror}") from None
        print(f"{kind:>9}  {path}")
    write_json(options.json, report(config, files={kind: str(path)
                                                   for kind, path in files.items()}))
    return 0
