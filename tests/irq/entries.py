"""Entries as software writes them, written from the documentation of the layout."""

FIELDS = {"valid": (0, 1), "delivery": (1, 2), "suspend": (3, 1), "urgent": (4, 1), "merge": (5, 1),
          "multi": (6, 1), "priority": (8, 2), "rid": (16, 16), "rid_mask": (32, 16),
          "segment": (48, 8), "cookie": (64, 32), "guest": (96, 16), "queue": (112, 8),
          "address": (130, 54), "data": (192, 32), "limit": (224, 16)}


def entry_word(**fields):
    """Return the 256 bits of an entry."""
    assert set(fields) <= set(FIELDS)
    return sum((value & ((1 << FIELDS[name][1]) - 1)) << FIELDS[name][0]
               for name, value in fields.items())


def random_entry(rng):
    """Return all fields of an entry at random."""
    return {name: rng.getrandbits(width) for name, (_, width) in FIELDS.items()}
