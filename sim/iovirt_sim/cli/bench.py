"""Measure the hardware: translations per clock, beside another open IOMMU on the same traffic."""

from rich.console import Console
from rich.table import Table

from iovirt.cli.common import UsageError, add_config_arguments, config_of, report, write_json

from ..bench.translate import LATENCIES, run_translate
from ..verilated import BuildError, CheckFailed, ToolMissing
from ..workloads import SEED
from .progress import progress_bar, say

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("what", choices=("translate",), help="translate: rand, stream and hits")
    parser.add_argument("--latency", type=int, action="append", choices=LATENCIES,
                        help="latency of table memory in clocks; may be given more than once "
                        "(default: all)")


def run(options):
    """Run the verb."""
    config = config_of(options)
    try:
        with progress_bar("workloads") as progress:
            results = run_translate(config, latencies=tuple(options.latency or LATENCIES),
                                    progress=progress, say=say)
    except (ToolMissing, BuildError) as error:
        raise UsageError(str(error)) from None
    except CheckFailed as failure:
        Console(stderr=True).print(str(failure), highlight=False)
        return 1
    # Each entry tells how to get it again, so that the file stays the plain list it is.
    write_json(options.json, [{**result, **report(config, seed=SEED)} for result in results])
    _print(config, results)
    return 0


def _print(config, results):
    latencies = sorted({result["L"] for result in results})
    table = Table(title=f"Translations per clock, {config.name} preset / zero-day-labs/riscv-iommu",
                  title_justify="left")
    table.add_column("workload")
    for latency in latencies:
        table.add_column(f"L={latency}", justify="right")
        table.add_column("peer", justify="right", style="dim")
    rows = {}
    for result in results:
        label = f"{result['workload']}({','.join(map(str, result['parameters']))})"
        peer = "" if result["peer"] is None else f"{result['peer']:.4g}"
        rows.setdefault(label, []).extend((f"{result['translations_per_clk']:.3f}", peer))
    for label, cells in rows.items():
        table.add_row(label, *cells)
    Console().print(table)
