"""Places for the addresses, values and selectors of a template: not each can do everything."""

import itertools
from dataclasses import dataclass, replace

from .limits import CHECKED, check_limits, measured, value_fits
from .reader import TemplateError

__all__ = ["Placement", "place_templates"]


@dataclass(frozen=True)
class Placement:
    """Which item is in which place; None for none. The rest are doublewords that hardware takes
    out of every entry, where there is no item that says so.
    """

    addresses: tuple
    values:    tuple
    selectors: tuple
    pointers:  tuple  # of the first and the second address
    lists:     tuple  # lengths of lists, at the third and the fourth address
    length:    object  # of transfers
    numbers:   tuple  # of the values, and their parameters
    second:    int    # that decides the class, besides the first selector's and the length's


def place_templates(templates):
    """Return the templates with the places of what they have; ``templates`` go by name."""
    for template in templates.values():
        check_limits(template)
    placed = {name: replace(template, placement=_place(template, None))
              for name, template in templates.items() if template.alternative is None}
    for name, template in templates.items():
        if template.alternative is not None:
            other = placed[template.alternative]
            placed[name] = replace(template, placement=_place(template, other))
    return [placed[name] for name in templates]


def _orders(items, places):
    """Yield all ways to put the items into places, the plain one first."""
    yield from dict.fromkeys(itertools.permutations([*items, *[None] * (places - len(items))]))


def _place(template, other):
    """Find places. ``other``: the alternative, placed; what is taken must do for it, too."""
    for values in _orders(template.values, 2):
        if not all(value is None or value_fits(value, bool(n)) for n, value in enumerate(values)):
            continue
        numbers = _merge(_numbers(template, values),
                         _numbers(other, other.placement.values) if other else [])
        if numbers is None:
            continue
        for addresses in _orders(template.addresses, 4):
            taps = _taps(template, addresses, other)
            if taps is not None:
                return Placement(addresses=addresses, values=values, numbers=numbers,
                                 **taps, **_deciding(template, other, taps["length"]))
    extra = f" and of its alternative {other.name!r}" if other else ""
    raise TemplateError(
        f"{template.path}: addresses and values{extra} must fit the places of hardware: the first "
        "address has the length, and is the reference of 'prp2', which is the second; lists are in "
        "any but the first, at the byte of the first or the second, with at most two places of "
        "lengths; values of 1 bit, 'require', 'and' and 'max' are first, of 64 bits, 'range' and "
        "'range_add' second; not "
        f"{[item.name for item in (*template.addresses, *template.values)]!r}")


def _numbers(template, values):
    return [value and (value.byte // 4, template.parameters[value.parameter]) for value in values]


def _merge(mine, theirs):
    """Join what two templates take out of entries, or None if they differ."""
    for one, two in zip(mine, theirs, strict=False):
        if None not in (one, two) and one != two:
            return None
    theirs = [*theirs, *[None] * (len(mine) - len(theirs))]
    return tuple(two if one is None else one for one, two in zip(mine, theirs, strict=True))


def _taps(template, addresses, other):
    first = addresses[0]
    users = measured(template)
    if first is not None and first.rule in (*CHECKED, "prp2"):
        return None
    if users:
        if first not in users or (first.max_length is None
                                  and any(user.max_length is not None for user in users)):
            return None
        if not all(set(user.classes) <= set(first.classes) for user in users):
            return None
    for number, field in enumerate(addresses):
        if field is None or field.rule != "prp2":
            continue
        if number != 1 or first is None or field.reference != first.name:
            return None
    length = next((item.length for item in (*users, *template.values)
                   if item.length is not None), None)
    if other and (theirs := other.placement.length) is not None:
        if length is not None and length.byte != theirs.byte:
            return None
        length = length or theirs
    pointers = _pointers(addresses, other)
    lists    = _lists(addresses, other)
    if pointers is None or lists is None:
        return None
    return {"pointers": pointers, "lists": lists, "length": length}


def _pointers(addresses, other):
    """Return the doublewords of the first two pointers, or None if a list is elsewhere."""
    taken = [field and field.byte // 4 for field in addresses[:2]]
    wanted = [field for field in addresses[2:] if field is not None and field.rule in CHECKED]
    if other:
        theirs = other.placement.addresses
        wanted += [field for field in theirs[1:] if field is not None and field.rule in CHECKED]
        if theirs[1] is not None and theirs[1].rule == "prp2":
            taken = _merge(taken, [field and field.byte // 4 for field in theirs[:2]])
            if taken is None:
                return None
    taken = list(taken)
    for field in wanted:
        if field.byte // 4 not in taken:
            if None not in taken:
                return None
            taken[taken.index(None)] = field.byte // 4
    return tuple(taken)


def _lists(addresses, other):
    """Return the doublewords of the lengths of lists, or None if there are too many."""
    taken = [field.length.byte // 4 if field is not None and field.length is not None else None
             for field in addresses[2:]]
    fields = [*addresses, *(other.placement.addresses if other else ())]
    for field in fields:
        if field is None or field.rule not in CHECKED:
            continue
        dword = field.length.byte // 4
        if dword not in taken:
            if None not in taken:
                return None
            taken[taken.index(None)] = dword
    return tuple(taken)


def _deciding(template, other, length):
    """Find the doublewords that decide the class: the first selector's, a second one, and that of
    the length, which is there anyway.
    """
    both = [one for one in (template, other) if one is not None]
    used = {selector.byte // 4 for one in both for selector in one.selectors}
    used |= {one.opcodes.byte // 4 for one in both if one.opcodes}
    selectors, opcodes = template.selectors, template.opcodes
    first = (selectors[0].byte if selectors else opcodes.byte if opcodes else 0) // 4
    rest  = sorted(used - {first} - ({length.byte // 4} if length is not None else set()))
    if len(rest) > 1:
        raise TemplateError(f"{template.path}: alternative must look, together with this one, at "
                            "two doublewords to find the class, besides that of the length, not "
                            f"{sorted(used)!r}")
    return {"selectors": (*selectors, *[None] * (3 - len(selectors))),
            "second": rest[0] if rest else first}
