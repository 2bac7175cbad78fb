"""Write Verilog, its manifest, the C header and the register document."""

from pathlib import Path

from ..csr.export import write_c_header, write_markdown
from ..export import manifest, module_name, to_verilog
from ..top import IOVirt
from .common import UsageError, add_config_arguments, config_of, report, write_json


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--output", metavar="DIR", default="build/gen",
                        help="default: build/gen")


def run(options):
    """Run the verb."""
    config    = config_of(options)
    directory = Path(options.output)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output {directory}: must be a directory that can be made: "
                         f"{error.strerror}") from None
    name    = module_name(config)
    verilog = to_verilog(IOVirt(config), name=name)
    files   = {
        "verilog": directory / f"{name}.v",
        "manifest": directory / f"{name}.json",
        "header": directory / f"{name}.h",
        "registers": directory / f"{name}_registers.md",
    }
    files["verilog"].write_text(verilog)
    files["manifest"].write_text(manifest(config, IOVirt(config), verilog))
    write_c_header(config, files["header"])
    write_markdown(config, files["registers"])
    for kind, path in files.items():
        print(f"{kind:>9}  {path}")
    write_json(options.json, report(config, files={kind: str(path)
                                                   for kind, path in files.items()}))
    return 0
