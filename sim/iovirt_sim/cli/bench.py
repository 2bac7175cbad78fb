"""Measure the hardware: translations, interrupts, programmed I/O, sharing."""

from rich.console import Console
from rich.table import Table

from iovirt.cli.common import UsageError, add_config_arguments, config_of, report, write_json

from ..bench.interrupts import run_interrupts
from ..bench.pio import run_pio
from ..bench.sharing import run_sharing
from ..bench.translate import LATENCIES, run_translate
from ..verilated import BuildError, CheckFailed, ToolMissing
from ..workloads import SEED
from .progress import progress_bar, say

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("what", choices=tuple(_BENCHES),
                        help="translate: translations per clock, beside another open IOMMU on the "
                        "same traffic; interrupts: records per clock, latency, moderation, storms, "
                        "at three widths of the table port; pio: latency and rates of programmed "
                        "I/O; sharing: shares of guests, bandwidth, added latency, "
                        "reset of a guest")
    parser.add_argument("--latency", type=int, action="append", choices=LATENCIES,
                        help="translate: latency of table memory in clocks; may be given more than "
                        "once (default: all)")


def run(options):
    """Run the verb."""
    config = config_of(options)
    measure, print_results = _BENCHES[options.what]
    try:
        results = measure(config, options)
    except (ToolMissing, BuildError) as error:
        raise UsageError(str(error)) from None
    except CheckFailed as failure:
        Console(stderr=True).print(str(failure), highlight=False)
        return 1
    # Each entry tells how to get it again, so that the file stays the plain list it is.
    write_json(options.json, [{**result, **report(config, seed=SEED)} for result in results])
    print_results(config, results)
    return 0


def _translate(config, options):
    with progress_bar("workloads") as progress:
        return run_translate(config, latencies=tuple(options.latency or LATENCIES),
                             progress=progress, say=say)


def _print_translate(config, results):
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


def _interrupts(config, options):
    say("compiling the interrupt block for each width (once; it is cached)")
    with progress_bar("widths of the table port") as progress:
        return run_interrupts(progress=progress)


def _print_interrupts(config, results):
    table = Table(title=f"Interrupts, memory latency {results[0]['L']} clocks",
                  title_justify="left")
    table.add_column("table port, bits")
    for result in results:
        table.add_column(str(result["table_width"]), justify="right")
    rows = {
        "clocks per record, goal": [f"{r['goal']}" for r in results],
        "clocks per record, 8 queues": [f"{r['clocks_per_record']:.3f}" for r in results],
        "clocks per record, one queue": [f"{r['clocks_per_record_one_queue']:.3f}"
                                         for r in results],
        "clocks to the record, beyond memory": [f"{r['clocks_to_record']:g}" for r in results],
        "then to the notification": [f"{r['clocks_to_notification']:g}" for r in results],
        "clocks of quiet sources": [f"{r['quiet_clocks']:.2f}" for r in results],
        "the same, 64 others storming": [f"{r['quiet_clocks_in_storm']:.2f}" for r in results],
    }
    for setting in results[0]["notifications_per_1000"]:
        rows[f"notifications per 1000 events: {setting}"] = [
            f"{r['notifications_per_1000'][setting]:g}" for r in results]
    for label, cells in rows.items():
        table.add_row(label, *cells)
    Console().print(table)


def _pio(config, options):
    if not config.pio.enable:
        raise UsageError("Configuration must have programmed I/O (pio.enable) to be measured")
    return run_pio(config, say=say)


def _sharing(config, options):
    if not config.vf.enable:
        raise UsageError("Configuration must have sharing (vf.enable) to be measured")
    return run_sharing(config, say=say)


def _print_pio(config, results):
    _print_goals(f"Programmed I/O, {config.name} preset", results)


def _print_sharing(config, results):
    _print_goals(f"Sharing, {config.name} preset", results)


def _print_goals(title, results):
    table = Table(title=title, title_justify="left")
    for column in ("what", "", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for result in results:
        goal = "" if result["goal"] is None else f"{result['goal']:g}"
        table.add_row(result["what"], f"{result['value']:g} {result['unit']}", goal)
    Console().print(table)


_BENCHES = {
    "translate":  (_translate, _print_translate),
    "interrupts": (_interrupts, _print_interrupts),
    "pio":        (_pio, _print_pio),
    "sharing":    (_sharing, _print_sharing),
}
