"""Check a configuration and show what it means."""

from rich.console import Console
from rich.table import Table

from .common import add_config_arguments, config_of, report, write_json


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)


def run(options):
    """Run the verb."""
    config = config_of(options)
    values = config.to_dict()
    table = Table("key", "value", title=f"{config.name} ({config.hash})")
    for key, value in values.items():
        if isinstance(value, dict):
            for name, inner in value.items():
                table.add_row(f"{key}.{name}", _show(inner))
        else:
            table.add_row(key, _show(value))
    Console().print(table)
    write_json(options.json, report(config, values=values))
    return 0


def _show(value):
    return ", ".join(value) if isinstance(value, (tuple, list)) else str(value)
