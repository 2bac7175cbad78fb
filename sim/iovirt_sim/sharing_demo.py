"""One NVMe device and as many guests as there can be: what `make` shows of sharing.

Run as ``python -m iovirt_sim.sharing_demo --preset NAME --json FILE``.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from iovirt.cli.common import UsageError, report, write_json
from iovirt.config import PRESETS

from .cli.progress import say
from .sharing import SharedSystem
from .verilated import BuildError, CheckFailed, Design, ToolMissing, open_simulation

__all__ = ["DemoFailed", "main", "share_device"]

COMMANDS = 40


class DemoFailed(AssertionError):
    """A guest got something wrong, or did not get on."""


def share_device(config, *, guests=None, commands=COMMANDS, say=None):
    """Let guests of one device do reads and writes, each in its own blocks; return figures.

    Raises
    ------
    DemoFailed
        If a byte was wrong, a guest stuck, or an address of a guest that of another.
    """
    guests = guests or min(config.vf.guests - 1, config.vf.pairs)
    with open_simulation(Design.of_full(config), say=say) as sim:
        system = SharedSystem(sim, config, engines=32, latency=400)
        for _ in range(guests):
            system.add(pages=40, depth=32, in_flight=8)
        system.run()
        before = sim.statistics()["cycles"]
        events, stuck = system.play(commands)
        clocks = sim.statistics()["cycles"] - before
        wrong, breaches = system.wrongs_of(events), system.breaches()
        counts = [guest.counts() for guest in system.guests.values()]
        if wrong or stuck or breaches:
            raise DemoFailed(f"Sharing must be clean, not: {len(wrong)} wrong data, {breaches} "
                             f"breaches, guests stuck: {list(stuck)}")
        return {
            "guests": guests,
            "commands": sum(count["completed"] for count in counts),
            "bytes_checked": sum(count["bytes_checked"] for count in counts),
            "clocks": clocks,
            "breaches": breaches,
        }


def main(arguments=None):
    """Run the demonstration; return 1 if something was wrong, 2 if it cannot be run."""
    parser = argparse.ArgumentParser(prog="iovirt_sim.sharing_demo", description=__doc__)
    parser.add_argument("--preset", default="default", choices=tuple(PRESETS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    config  = PRESETS[options.preset]
    console = Console(stderr=True, highlight=False)
    try:
        if not config.vf.enable:
            console.print(f"The preset {config.name} has no sharing: nothing to show")
            write_json(options.json, report(config, guests=0))
            return 0
        write_json(options.json, report(config, **share_device(config, say=say)))
    except (ToolMissing, BuildError, UsageError) as error:
        console.print(str(error))
        return 2
    except (DemoFailed, CheckFailed) as failure:
        console.print(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
