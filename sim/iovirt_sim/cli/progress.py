"""Progress and tables on the terminal."""

import contextlib

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["progress_bar", "say", "two_columns"]


def say(text):
    """Print a line about a step that takes long, to the error stream."""
    Console(stderr=True, highlight=False).print(f"{text} ...")


@contextlib.contextmanager
def progress_bar(what):
    """Yield a function of (done, all) that moves a bar, if somebody is watching."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, whole: None
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                  TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def two_columns(title, rows):
    """Print names and values."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, str(value))
    Console().print(table)
