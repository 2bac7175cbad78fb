"""Command line: ``iovirt VERB``. Verbs are entry points of the group ``iovirt.verbs``."""

import argparse
import importlib.metadata
import os
import sys

from .. import __version__
from ..settings import SettingsError
from ..yosys import YosysError
from .common import UsageError, check_json

__all__ = ["main"]


def main(arguments=None):
    """Run a verb; return 0 if it succeeded, 1 if what it checked failed, 2 if it was misused."""
    parser = argparse.ArgumentParser(
        prog="iovirt", description="I/O virtualization for PCIe root complexes: generate, check, "
        "simulate, measure.")
    parser.add_argument("--version", action="version", version=f"iovirt {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for entry in sorted(importlib.metadata.entry_points(group="iovirt.verbs"),
                        key=lambda entry: entry.name):
        module = entry.load()
        summary = module.__doc__.strip().splitlines()[0]
        verb = verbs.add_parser(entry.name, help=summary, description=summary)
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        check_json(getattr(options, "json", None))
        return options.run(options)
    except (SettingsError, UsageError, YosysError) as error:
        print(f"iovirt: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough. Nothing more must be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("iovirt: interrupted", file=sys.stderr)
        return 2
