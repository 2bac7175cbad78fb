"""Write a commented configuration file."""

from pathlib import Path

from ..config import PRESETS
from ..settings import load_config, write_toml
from .common import UsageError, add_json_argument, report, write_json


def add_arguments(parser):
    """Add the arguments."""
    parser.add_argument("file", nargs="?", default="iovirt.toml", metavar="FILE",
                        help="default: iovirt.toml")
    parser.add_argument("--preset", metavar="NAME",
                        help=f"values to start from: {', '.join(PRESETS)} (default: default)")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    add_json_argument(parser)


def run(options):
    """Run the verb."""
    config, path = load_config(options.preset), Path(options.file)
    if path.exists() and not options.force:
        raise UsageError(f"{path}: file must not exist yet; --force overwrites it")
    try:
        path.write_text(write_toml(config), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: file must be writable: {error.strerror}") from None
    print(f"Wrote {path}. Edit it, then: iovirt check --config {path}")
    write_json(options.json, report(config, file=str(path)))
    return 0
