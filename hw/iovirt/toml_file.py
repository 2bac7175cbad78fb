"""Reading of TOML files."""

import tomllib

__all__ = ["load_toml"]


def load_toml(path, error):
    """Return the table in the TOML file ``path``; raise ``error``, naming it, if there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"{path}: file must be readable: {reason.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: file must be UTF-8 text") from None
    except tomllib.TOMLDecodeError as reason:
        raise error(f"{path}: file must be TOML: {reason}") from None
