"""Replay recorded DMA of Linux through the whole block and check every address and every byte."""

import sys
from pathlib import Path

from iovirt.cli.common import UsageError, add_config_arguments, config_of, report, write_json

from ..trace_simulation import TraceFailed, simulate_trace
from ..traces import TraceError
from ..verilated import BuildError, ToolMissing
from .progress import progress_bar, say, two_columns

__all__ = ["DEMONSTRATION", "add_arguments", "run"]

DEMONSTRATION = Path(__file__).parent.parent / "data" / "demo.csv.zst"
#: Without a C++ compiler the Amaranth simulator takes over, which is some hundred times slower.
SLOW_ROWS = 40


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--trace", metavar="FILE", type=Path, default=DEMONSTRATION,
                        help=".csv or .csv.zst (default: the demonstration that comes with iovirt)")
    parser.add_argument("--rows", type=_count, metavar="N", help="replay only the first N rows")
    parser.add_argument("--map-lead", type=_count, default=0, metavar="N",
                        help="map a page N rows of its device before its first use (default: 0)")
    parser.add_argument("--latency", type=_count, default=20, metavar="CLOCKS",
                        help="latency of memory (default: 20)")
    parser.add_argument("--seed", type=_count, default=1,
                        help="seed of the bench's random choices (default: 1)")
    parser.add_argument("--simulator", choices=("auto", "verilator", "amaranth"), default="auto",
                        help="auto uses Verilator, and without a C++ compiler the slow Amaranth "
                        f"simulator on at most {SLOW_ROWS} rows")
    waves = parser.add_mutually_exclusive_group()
    waves.add_argument("--vcd", metavar="FILE", help="write waveforms")
    waves.add_argument("--fst", metavar="FILE", help="write waveforms, compressed (needs zlib)")


def _count(text):
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def run(options):
    """Run the verb."""
    config = config_of(options)
    slow, rows = options.simulator == "amaranth", options.rows
    while True:
        if slow:
            rows = min(rows or SLOW_ROWS, SLOW_ROWS)
        try:
            with progress_bar("rows") as progress:
                result = simulate_trace(
                    config, options.trace, rows=rows, lead=options.map_lead,
                    latency=options.latency, seed=options.seed, vcd=options.vcd, fst=options.fst,
                    progress=progress, say=say, slow=slow)
            break
        except ToolMissing as missing:
            if options.simulator == "verilator" or options.fst:
                raise UsageError(str(missing)) from None
            say(f"{missing}. Falling back to the Amaranth simulator on {SLOW_ROWS} rows")
            slow = True
        except (TraceError, BuildError) as error:
            raise UsageError(str(error)) from None
        except TraceFailed as failure:
            print(failure, file=sys.stderr)
            write_json(options.json, report(config, seed=options.seed, failed=str(failure)))
            return 1
    write_json(options.json, report(config, seed=options.seed, **result))
    two_columns(f"{Path(options.trace).name} on {config.name}: every address and byte is right",
                _rows(result))
    return 0


def _rows(result):
    """Return (name, value) of what a reader wants to know."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in result["rows_by_kind"].items())
    histogram = ", ".join(f"{clocks}: {count}"
                          for clocks, count in result["latency_histogram"].items())
    reads = ", ".join(f"{count} {kind}" for kind, count in result["memory_reads"].items())
    return [
        ("rows", kinds),
        ("requests (TLPs)", result["requests"]),
        ("bytes moved and checked", result["bytes_checked"]),
        ("clocks", result["cycles"]),
        ("translations/clock", result["translations_per_clk"]),
        ("bytes/clock", result["bytes_per_clk"]),
        ("hit rate per row, per TLP", f"{result['row_hit_rate']}, {result['tlp_hit_rate']}"),
        ("demand misses", result["demand_misses"]),
        ("walks, on demand and ahead",
         f"{result['demand_walks']}, {result['prefetch_walks']}"),
        ("prefetches useful/late/useless", f"{result['prefetches_useful']}/"
         f"{result['prefetches_late']}/{result['prefetches_useless']}"),
        ("reads of the table port", reads),
        ("memory reads per walk, per miss",
         f"{result['memory_reads_per_walk']}, {result['memory_reads_per_miss']}"),
        ("commands, fences, clocks per fence",
         f"{result['commands']}, {result['fences']}, {result['clocks_per_fence']}"),
        ("clocks to memory", histogram),
        ("faults", sum(result["faults"].values())),
        *_io_rows(result),
        ("simulated clocks/second", result["cycles_per_second"]),
    ]


def _io_rows(result):
    rows = []
    if irq := result.get("interrupts"):
        rows += [("interrupts, recorded, behind DMA of their source",
                  f"{irq['sent']}, {irq['recorded']}, {irq['behind_dma']}"),
                 ("clocks to the record, notifications",
                  f"{irq['clocks_to_record']}, {irq['notifications']}")]
    if pio := result.get("programmed_io"):
        rows += [("reads, writes of cores", f"{pio['reads']}, {pio['writes']}"),
                 ("clocks each, in order behind DMA",
                  f"{pio['clocks']}, {pio['order_checked']}")]
    return rows
