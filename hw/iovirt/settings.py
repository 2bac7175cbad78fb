"""Configuration files: strict TOML to and from :class:`iovirt.config.Config`."""

import dataclasses
import difflib
from pathlib import Path

from .config import PRESETS, ConfigError, preset
from .toml_file import load_toml

__all__ = ["SettingsError", "load_config", "read_toml", "write_toml"]


class SettingsError(ValueError):
    """A configuration file is wrong. Names file, key, rule and value."""


def load_config(preset_name=None, path=None):
    """Return the configuration of a preset or a file; the ``default`` preset if both are None."""
    if preset_name is not None and path is not None:
        raise SettingsError("Only one of a preset and a configuration file can be given, not "
                            f"{preset_name!r} and {str(path)!r}")
    if path is not None:
        return read_toml(path)
    try:
        return preset(preset_name or "default")
    except ConfigError as error:
        raise SettingsError(str(error) + _closest(preset_name, PRESETS)) from None


def read_toml(path):
    """Return the configuration in the TOML file ``path``.

    The key ``preset`` names the values of whatever the file leaves out.
    """
    path = Path(path)
    table = load_toml(path, SettingsError)

    base = table.pop("preset", "default")
    if base not in PRESETS:
        raise SettingsError(f"{path}: preset must be one of {', '.join(PRESETS)}, not {base!r}"
                            + _closest(base, PRESETS))
    start = PRESETS[base]
    if base == "default" and "name" not in table:
        start = start.replace(name="custom")
    elif "name" not in table:
        start = start.replace(name=f"{base}_custom")
    try:
        return start.replace(**_changes(path, start, table))
    except ConfigError as error:
        raise SettingsError(f"{path}: {error}") from None


def _changes(path, base, table, prefix=""):
    fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    changes = {}
    for key, value in table.items():
        full = prefix + key
        if key not in fields:
            raise SettingsError(f"{path}: {full} must be a known key, not {key!r}"
                                + _closest(key, fields, prefix))
        current = fields[key]
        if dataclasses.is_dataclass(current):
            if not isinstance(value, dict):
                raise SettingsError(f"{path}: {full} must be a table, not {value!r}")
            changes[key] = _changes(path, current, value, full + ".")
            continue
        kind = {bool: "true or false", int: "an integer", str: "a string", tuple: "a list"}
        wanted = list if type(current) is tuple else type(current)
        if type(value) is not wanted:
            raise SettingsError(f"{path}: {full} must be {kind[type(current)]}, not {value!r}")
        changes[key] = tuple(value) if wanted is list else value
    return changes


def _closest(key, known, prefix=""):
    match = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    return f"; did you mean {prefix + match[0]!r}?" if match else ""


def write_toml(config):
    """Return ``config`` as commented TOML text that :func:`read_toml` reads back."""
    lines = ["# Configuration of iovirt. Every key may be left out; `preset` then gives its value.",
             f'preset = "{config.name if config.name in PRESETS else "default"}"', ""]
    sections = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            sections.append((field.name, value))
        else:
            lines += _commented(TOP_COMMENTS, field.name, value)
    for name, section in sections:
        comments = _parameter_comments(type(section))
        lines += ["", f"# {type(section).__doc__.strip().splitlines()[0]}", f"[{name}]"]
        for field in dataclasses.fields(section):
            lines += _commented(comments, field.name, getattr(section, field.name))
    return "\n".join(lines) + "\n"


TOP_COMMENTS = {
    "name": "name of the design: the Verilog module is iovirt_<name>",
    "data_width": "width of the TLP streams and of the AXI4 `dma` port: 64, 128, 256 or 512 bits",
    "table_width": "width of the AXI4 `table` port: 64, 128, 256 or 512 bits",
}


def _commented(comments, name, value):
    text = comments.get(name)
    return ([f"# {text}"] if text else []) + [f"{name} = {_toml(value)}"]


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def _parameter_comments(cls):
    """Read the "name, name : text" entries of a dataclass docstring."""
    comments = {}
    for line in cls.__doc__.splitlines():
        names, colon, text = line.strip().partition(" : ")
        if colon:
            for name in names.split(", "):
                comments[name] = text.rstrip(".")
    return comments
