"""What Python knows of an agent of the bench: its options and its counts, by name."""

__all__ = ["Agent", "report"]


def report(system, what, names, number=0):
    """Return the counts of an agent, at once, as a dict."""
    op = system.program.report(what, number)
    values = next(e.values for e in system.run() if e.op == op)
    return dict(zip(system.sim.agent_names(names), values, strict=True))


class Agent:
    """Something of the bench that a program sets up.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`, or anything with its ``program``, ``sim``, ``run``.
    number : by which programs know it.
    """

    #: Name of its report; numbers of the lists of names of its counts and options.
    REPORT, COUNTS, OPTIONS = "", 0, 0

    def __init__(self, system, number):
        self.system, self.number, self.values = system, number, {}

    @property
    def program(self):
        """The program of the system."""
        return self.system.program

    def set(self, **options):
        """Set options."""
        names = self.system.sim.agent_names(self.OPTIONS)
        for name in options:
            if name not in names:
                raise ValueError(f"Option must be one of {', '.join(names)}, not {name!r}")
        self.values |= options
        self._set({names.index(name): int(value) for name, value in options.items()})

    def _set(self, options):
        raise NotImplementedError

    def counts(self):
        """Return what it has counted, at once, as a dict."""
        return report(self.system, self.REPORT, self.COUNTS, self.number)
