"""Templates that belong together: references, the shipped library, places in the table."""

from pathlib import Path

from .placing import place_templates
from .reader import TemplateError, closest
from .templates import read_template

__all__ = ["LIBRARY", "PLACES", "find_template", "library_names", "load_templates"]

#: Directory of the templates that are shipped.
LIBRARY = Path(__file__).parent / "library"

#: Templates that the table holds.
PLACES = 8

#: The handler that reads what an address of a rule points to.
CHILDREN = {"prp_list": "prp_list", "prp2": "prp_list", "typed_list": "typed_list",
            "range_list": "range_list"}


def library_names():
    """Return the names of the shipped templates."""
    return sorted(path.stem for path in LIBRARY.glob("*.toml"))


def find_template(name):
    """Return the path of a template that is given as a file or by its name in the library."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    if str(name) in library_names():
        return LIBRARY / f"{name}.toml"
    raise TemplateError(f"{name}: template must be a TOML file or one of the library, "
                        f"{', '.join(library_names())}{closest(name, library_names())}")


def load_templates(names):
    """Return the templates ``names`` and all that they refer to, in the order of their places.

    A reference means a template that is given too, else one beside the file that refers to it,
    else one of the library.
    """
    templates = {}
    for name in names:
        template = read_template(find_template(name))
        other = templates.setdefault(template.name, template)
        if other is not template:
            raise TemplateError(f"{template.path}: name must be the only one, not that of "
                                f"{str(other.path)!r} too")
    waiting = list(templates.values())
    while waiting:
        template = waiting.pop(0)
        for name, key in template.references.items():
            if name not in templates:
                templates[name] = read_template(_beside(template, key, name))
                waiting.append(templates[name])
    if len(templates) > PLACES:
        raise TemplateError(f"Templates must be at most {PLACES} with those they refer to, not "
                            f"{len(templates)}: {', '.join(templates)}")
    for template in templates.values():
        _check_references(template, templates)
        _check_family(template, templates)
    return place_templates(templates)


def _beside(template, key, name):
    for directory in (template.path.parent, LIBRARY):
        path = directory / f"{name}.toml"
        if path.exists():
            return path
    known = library_names() + [path.stem for path in template.path.parent.glob("*.toml")]
    raise TemplateError(f"{template.path}: {key} must be a template beside this file or of the "
                        f"library, not {name!r}{closest(name, known)}")


def _check_references(template, templates):
    if template.alternative is not None:
        other = templates[template.alternative]
        for key in ("handler", "entry_bytes", "device_writes", "once", "partial"):
            mine, theirs = getattr(template, key), getattr(other, key)
            if mine != theirs:
                raise TemplateError(f"{template.path}: alternative must have {key} = {mine!r} as "
                                    f"this one, not {theirs!r} as {other.name!r}")
        if other.alternative is not None:
            raise TemplateError(f"{template.path}: alternative must have no alternative of its "
                                f"own, not {other.alternative!r} as {other.name!r}")
    for number, address in enumerate(template.addresses):
        if address.child is None:
            continue
        child, key = templates[address.child], f"address[{number}]"
        if child.handler != CHILDREN[address.rule]:
            raise TemplateError(f"{template.path}: {key}.child must be a {CHILDREN[address.rule]} "
                                f"with rule = {address.rule!r}, not {child.name!r}, a "
                                f"{child.handler}")
        if child.handler == "prp_list" and child.last_slot != template.last_slot:
            raise TemplateError(f"{template.path}: {key}.child must have last_slot = "
                                f"{template.last_slot!r} as this one, not {child.last_slot!r} as "
                                f"{child.name!r}")
        if address.aligned_to < child.aligned_to:
            raise TemplateError(f"{template.path}: {key}.aligned_to must be at least "
                                f"{child.aligned_to} as {child.name!r}, not {address.aligned_to}")


def _check_family(template, templates):
    """One device finds a list's template by the kind of the address, and has one set of guests."""
    family, waiting = {template.name: template}, [template]
    while waiting:
        for name in waiting.pop().references:
            if name not in family:
                family[name] = templates[name]
                waiting.append(templates[name])
    lists, numbers = {}, {}
    for member in family.values():
        other = lists.setdefault(member.handler, member)
        if other is not member and member.handler != "ring":
            raise TemplateError(f"{template.path}: references must reach one {member.handler}, not "
                                f"both {other.name!r} and {member.name!r}: the kind of an address "
                                "is all that tells lists apart")
        for name, number in member.parameters.items():
            owner, known = numbers.setdefault(name, (member, number))
            taken = [key for key, (_, value) in numbers.items() if value == number and key != name]
            if known != number or taken:
                raise TemplateError(
                    f"{member.path}: parameters.{name} must be "
                    + (f"{known} as in {owner.name!r}" if known != number else
                       f"another number than {taken[0]!r} in {numbers[taken[0]][0].name!r}")
                    + f", not {number}")
