"""Synthesise: LUT, FF and RAM of each block, and Fmax on request."""

from rich.console import Console
from rich.table import Table

from ..export import module_name, verilog_of
from ..synthesis import (
    COLUMNS,
    TARGETS,
    SynthesisError,
    area_by_block,
    find_nextpnr,
    place_ecp5,
    synthesize,
)
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
    parser.add_argument("--target", choices=TARGETS, default="ecp5", help="default: ecp5")
    parser.add_argument("--depth", type=int, default=2, metavar="N",
                        help="levels of the hierarchy to keep apart and show; each costs some "
                        "area, because logic does not move between them (default: 2)")
    parser.add_argument("--fmax", action="store_true",
                        help="place and route for ECP5-5G 45k speed 8 (board extra; minutes)")
    parser.add_argument("--output", metavar="DIR", default="build/synth",
                        help="where to leave netlist and log (default: build/synth)")


def run(options):
    """Run the verb."""
    config, target = config_of(options), options.target
    if options.fmax and target != "ecp5":
        raise UsageError(f"--fmax must be used with --target ecp5, not {target!r}")
    if options.depth < 0:
        raise UsageError(f"--depth must be at least 0, not {options.depth}")
    directory = make_directory("--output", f"{options.output}/{config.name}_{target}")
    console, top = Console(), module_name(config)
    try:
        if options.fmax:
            find_nextpnr()
        with Console(stderr=True).status(f"Synthesising {top} for {target}, one to five minutes"):
            stat  = synthesize(verilog_of(config), top=top, target=target, depth=options.depth,
                               directory=directory)
            areas = area_by_block(stat, top=top, target=target, depth=options.depth)
        with Console(stderr=True).status("Placing and routing, some minutes"):
            fmax  = place_ecp5(directory) if options.fmax else None
    except SynthesisError as error:
        raise UsageError(str(error)) from None
    table = Table("block", *COLUMNS, title=f"{top} for {target}")
    for name, area in areas.items():
        path = name.split(".")
        table.add_row("  " * (len(path) - 1) + path[-1], *(f"{area[column]:g}"
                                                           for column in COLUMNS))
    console.print(table)
    if target == "generic":
        console.print("LUT: two-input gates. block RAM: memories, kept as they are.")
    if fmax is not None:
        console.print(f"Fmax {fmax:.1f} MHz (LFE5UM5G-45F speed 8, out of context, seed 1)")
    write_json(options.json, report(config, target=target, area=areas, fmax_mhz=fmax))
    return 0
