"""What `make` says at its end: run as ``python -m iovirt_sim.summary --preset NAME``."""

import argparse
import json
import sys
from pathlib import Path

__all__ = ["SummaryError", "main", "summary"]


class SummaryError(ValueError):
    """A report is missing or cannot be read. Names the file, and what writes it."""


def _report(path, target, key):
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SummaryError(f"{path}: report must be readable: {error.strerror}; `make {target}` "
                           "writes it") from None
    except ValueError:
        raise SummaryError(f"{path}: report must be JSON; remove it, and `make {target}` writes it "
                           "again") from None
    if key not in report:
        raise SummaryError(f"{path}: report must be one with {key!r}; remove it, and "
                           f"`make {target}` writes it again")
    return report


def summary(name, build):
    """Return lines about the preset ``name`` from the reports below the directory ``build``."""
    simulation = _report(build / "sim" / f"{name}.json", "demo", "translations_per_clk")
    synthesis  = _report(build / "synth" / f"{name}_ecp5.json", "synth", "area")
    total      = synthesis["area"][f"iovirt_{name}"]
    module     = build / "gen" / f"iovirt_{name}"
    lines = [
        ("simulation", f"{simulation['requests']} TLPs of {Path(simulation['trace']).name} with "
                       f"{simulation['bytes_checked']} bytes: every address and every byte is "
                       "right"),
        ("", f"{simulation['translations_per_clk']} translations and "
             f"{simulation['bytes_per_clk']} bytes per clock in {simulation['cycles']} clocks, "
             f"hit rate {simulation['row_hit_rate']} per row, {simulation['tlp_hit_rate']} per "
             "TLP"),
        *_io(simulation),
        *_sharing(_report(build / "sim" / f"{name}_sharing.json", "demo", "guests")),
        ("area, ECP5", ", ".join(f"{total[column]:g} {column}" for column in total)),
        ("", _largest(synthesis["area"], f"iovirt_{name}")),
        ("Verilog", f"{module}.v, beside it the manifest, the C header and the registers"),
        ("reports", f"{build / 'sim' / name}.json, {build / 'synth' / name}_ecp5.json"),
        ("next", "docs/interfaces.md to connect it, `iovirt --help`, `make test`"),
    ]
    heading = f"== iovirt {name}, configuration {simulation['configuration_hash']}"
    return [heading, *(f"{what:>10}  {text}" for what, text in lines if text)]


def _io(simulation):
    """Tell of interrupts and of programmed I/O, if the simulation had them."""
    lines = []
    if irq := simulation.get("interrupts"):
        lines.append(("interrupts", f"{irq['sent']} sent, {irq['recorded']} recorded, each after "
                      f"the DMA before it, {irq['clocks_to_record']} clocks later on average"))
    if pio := simulation.get("programmed_io"):
        lines.append(("cores", f"{pio['reads']} reads and {pio['writes']} writes of a device: "
                      "every byte and the order behind DMA are right"))
    return lines


def _sharing(report):
    """Tell of guests that share a device, if the preset has that."""
    if not report["guests"]:
        return []
    return [("sharing", f"{report['guests']} guests of one NVMe device that knows nothing of them: "
             f"{report['commands']} commands in {report['clocks']} clocks"),
            ("", f"{report['bytes_checked']} bytes compared, each guest in its own blocks and "
             "memory: all right")]


def _largest(areas, top):
    """Name the blocks right below the top that hold most LUTs."""
    blocks = sorted(((area["LUT"], path.split(".")[1]) for path, area in areas.items()
                     if path.startswith(top) and path.count(".") == 1), reverse=True)
    return ", ".join(f"{block} {count:g} LUT" for count, block in blocks[:4])


def main(arguments=None):
    """Print the summary; return 2 if a report is missing."""
    parser = argparse.ArgumentParser(prog="iovirt_sim.summary", description=__doc__)
    parser.add_argument("--preset", default="default", metavar="NAME")
    parser.add_argument("--build", type=Path, default=Path("build"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(summary(options.preset, options.build)))
    except SummaryError as error:
        print(f"iovirt_sim.summary: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
