"""Strict reading of TOML tables: every error names the file, the key, the rule and the value."""

import difflib
import re

__all__ = ["NAME", "REQUIRED", "Section", "TemplateError", "closest"]

#: Names of things in a file; they become identifiers of C.
NAME = re.compile("[a-z][a-z0-9_]*")

#: Default of a key that has none.
REQUIRED = object()


class TemplateError(ValueError):
    """A template file is wrong. Names file, key, rule and value."""


def closest(name, known, prefix=""):
    """Return a hint at the known name that is spelled most like ``name``, or nothing."""
    match = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {prefix + match[0]!r}?" if match else ""


class Section:
    """One table of a file, read key by key.

    Unknown keys are refused at once, so that a misspelled key is not reported as a missing one.

    Parameters
    ----------
    path : :class:`str` or :class:`~pathlib.Path`
        The file, for messages.
    prefix : :class:`str`
        What precedes a key in messages, such as ``"address[0]."``.
    table : :class:`dict`
        The table, as TOML gives it.
    known : iterable of :class:`str`
        The keys that may be there.
    """

    def __init__(self, path, prefix, table, known):
        self.path, self.prefix, self.table = path, prefix, table
        for key, value in table.items():
            if key not in known:
                place = "" if isinstance(value, (dict, list)) else f" (value {value!r})"
                raise TemplateError(f"{path}: {prefix}{key} must be a known key, not {key!r}{place}"
                                    + closest(key, known, prefix))

    def __contains__(self, key):
        return key in self.table

    def fail(self, key, rule, value=REQUIRED, hint=""):
        """Raise the error that ``key`` breaks ``rule``."""
        value = self.table.get(key) if value is REQUIRED else value
        raise TemplateError(f"{self.path}: {self.prefix}{key} must {rule}, not {value!r}{hint}")

    def _get(self, key, default):
        if key in self.table:
            return self.table[key]
        if default is REQUIRED:
            raise TemplateError(f"{self.path}: {self.prefix}{key} must be given")
        return default

    def integer(self, key, first, last, default=REQUIRED, multiple=1):
        """Return an integer of ``first..last`` that is a multiple of ``multiple``."""
        value = self._get(key, default)
        if value is default:
            return value
        if type(value) is not int:
            self.fail(key, "be an integer")
        if not first <= value <= last or value % multiple:
            step = f" that is a multiple of {multiple}" if multiple > 1 else ""
            self.fail(key, f"be an integer in {first}..{last}{step}")
        return value

    def power(self, key, first, last, default=REQUIRED):
        """Return a power of two in ``first..last``."""
        value = self.integer(key, first, last, default)
        if value is not default and value & (value - 1):
            self.fail(key, f"be a power of two in {first}..{last}")
        return value

    def flag(self, key, default=REQUIRED):
        """Return a truth value."""
        value = self._get(key, default)
        if type(value) is not bool:
            self.fail(key, "be true or false")
        return value

    def text(self, key, default=REQUIRED):
        """Return a string."""
        value = self._get(key, default)
        if value is not default and (type(value) is not str or not value):
            self.fail(key, "be a string with something in it")
        return value

    def name(self, key):
        """Return a name."""
        value = self.text(key)
        if not NAME.fullmatch(value):
            self.fail(key, "be lower-case letters, digits and _")
        return value

    def check_names(self):
        """Refuse keys that are not names, where the author of the file chooses them."""
        for key in self.table:
            if not NAME.fullmatch(key):
                self.fail(key, "be named with lower-case letters, digits and _", key)

    def choice(self, key, choices, default=REQUIRED):
        """Return one of ``choices``."""
        value = self._get(key, default)
        known = any(value == choice and type(value) is type(choice) for choice in choices)
        if value is not default and not known:
            self.fail(key, f"be one of {', '.join(map(str, choices)) or 'nothing'}",
                      hint=closest(value, [str(choice) for choice in choices]))
        return value

    def choices(self, key, choices, default=REQUIRED):
        """Return a list of some of ``choices``, each once."""
        values = self._get(key, default)
        if values is default:
            return values
        if type(values) is not list:
            self.fail(key, "be a list of names")
        for value in values:
            if type(value) is not str or value not in choices:
                self.fail(key, f"have only names of {', '.join(choices) or 'nothing'}", value,
                          closest(value, choices))
        if len(set(values)) != len(values):
            self.fail(key, "have each name once")
        return tuple(values)

    def numbers(self, key, last, default=REQUIRED):
        """Return the sorted integers ``0..last`` of a list of integers and "first..last"."""
        items = self._get(key, default)
        if items is default:
            return items
        if type(items) is not list:
            self.fail(key, "be a list of integers and \"first..last\"")
        numbers = []
        for item in items:
            span = _span(item)
            if span is None or not 0 <= span[0] <= span[1] <= last:
                self.fail(key, f"have only integers and \"first..last\" in 0..{last}", item)
            numbers += range(span[0], span[1] + 1)
        if len(set(numbers)) != len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            self.fail(key, "have each number once", twice)
        return tuple(sorted(numbers))

    def section(self, key, known):
        """Return the table ``key`` as a section, or None if it is not there."""
        if key not in self.table:
            return None
        if type(self.table[key]) is not dict:
            self.fail(key, "be a table")
        return Section(self.path, f"{self.prefix}{key}.", self.table[key], known)

    def sections(self, key, known, most):
        """Return the tables of the array ``key``, at most ``most``, as sections."""
        tables = self._get(key, [])
        if type(tables) is not list or not all(type(table) is dict for table in tables):
            self.fail(key, f"be an array of tables, [[{key}]]")
        if len(tables) > most:
            self.fail(key, f"be at most {most} tables", len(tables))
        return [Section(self.path, f"{self.prefix}{key}[{number}].", table, known)
                for number, table in enumerate(tables)]


def _span(item):
    if type(item) is int:
        return item, item
    if type(item) is not str:
        return None
    try:
        first, last = (int(part, 0) for part in item.split(".."))
    except ValueError:
        return None
    return first, last
