"""Where the entries and the states of guests are kept."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.ram import Secded

from .guest_layouts import READ_LATENCY, GuestWrite, check_guests, guest_read
from .notices import event_signature
from .share_layouts import COLOUR_WIDTH, GuestEntry, GuestState, Weaken

__all__ = ["GuestMemory", "slow_read"]

#: A slow read waits no longer than this for a clock without a fast one.
_PATIENCE = 7


def _stored(entry):
    """Return the fields of ``entry`` that are kept in memory."""
    return Cat(Value.cast(entry[name]) for name, _ in GuestEntry.as_shape()
               if not name.startswith("reserved"))


def slow_read(tags):
    """Read ``guest`` out of turn; ``tag`` tells whose read it is."""
    return data.StructLayout({"guest": COLOUR_WIDTH, "tag": range(tags)})


class GuestMemory(wiring.Component):
    """Keep entries with SECDED, states with parity, and who was frozen with a copy.

    A wrong bit of an entry is corrected on the way out and written back. Errors that cannot be
    corrected make a guest ``bad`` or ``odd``. A state that software has not set is OFF; to freeze
    a guest takes one write, so guests are frozen one per clock whatever they are doing.

    What is found comes 4 clocks after a read; one read per clock, in which slow reads fill gaps and
    make one after 7 clocks. A write waits until nothing that was started with the old content is
    under way, and keeps new ones out meanwhile. All guests are OFF after reset, one more per clock;
    nothing is accepted until then.

    Parameters
    ----------
    guests : :class:`int`
        Number of guests, the manager included; a power of two in 4..256.
    tags : :class:`int`
        Number of slow readers, at least 1.
    weak : :class:`bool`
        There is a member ``weaken`` for tests.

    Members
    -------
    fast : ``In(guest_read())``
        Reads that cannot wait. ``fast.found`` is what was found, for slow reads too.
    slow : ``In(stream.Signature(slow_read(tags)))``
        Reads that can.
    found : ``Out(1)``, ``tag`` : ``Out(range(tags))``
        ``fast.found`` belongs to the slow read of ``tag``.
    write : ``In(stream.Signature(GuestWrite))``
    freeze : ``In(stream.Signature(COLOUR_WIDTH))``
        Freeze this guest.
    frozen : ``Out(event_signature())``
        A guest was frozen that was not ``fatal`` before.
    ready : ``Out(1)``
        All guests have been reset.
    corrected, uncorrectable : ``Out(1)``
        For one clock: a read met an error.
    """

    def __init__(self, *, guests, tags, weak=False):
        check_guests(guests)
        if not isinstance(tags, int) or tags < 1:
            raise ValueError("Number of slow readers must be an integer of at least 1, "
                             f"not {tags!r}")
        self.guests = guests
        self.tags   = tags
        self.weak   = weak
        super().__init__({
            "fast":          In(guest_read()),
            "slow":          In(stream.Signature(slow_read(tags))),
            "found":         Out(1),
            "tag":           Out(range(tags)),
            "write":         In(stream.Signature(GuestWrite)),
            "freeze":        In(stream.Signature(COLOUR_WIDTH)),
            "frozen":        Out(event_signature()),
            "ready":         Out(1),
            "corrected":     Out(1),
            "uncorrectable": Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })
        self.code    = Secded(width=len(_stored(Signal(GuestEntry))))
        self.entries = Memory(shape=self.code.code_width, depth=guests, init=[],
                              attrs={"no_rw_check": 1})
        # 3 bits and their parity; fatal, twice.
        self.states  = Memory(shape=4, depth=guests, init=[], attrs={"ram_style": "distributed"})
        self.fatals  = Memory(shape=2, depth=guests, init=[], attrs={"ram_style": "distributed"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.entries = self.entries
        m.submodules.states  = self.states
        m.submodules.fatals  = self.fatals

        # Reads move on in each clock; `guests[n]` is the one of n + 1 clocks ago.
        slow, asked = Signal(), Signal(COLOUR_WIDTH)
        m.d.comb += [
            self.slow.ready.eq(self.ready & ~self.write.valid & ~self.fast.valid),
            slow.eq(self.slow.valid & self.slow.ready),
            asked.eq(Mux(self.fast.valid, self.fast.guest, self.slow.p.guest)),
        ]
        running = Signal(READ_LATENCY)
        guests  = [Signal(COLOUR_WIDTH, name=f"guest_{n}") for n in range(READ_LATENCY)]
        slows   = Signal(READ_LATENCY)
        tags    = [Signal.like(self.tag, name=f"tag_{n}") for n in range(READ_LATENCY)]
        m.d.sync += [
            running.eq(Cat(self.fast.valid | slow, running)),
            slows.eq(Cat(slow, slows)),
            *(late.eq(early) for late, early in zip(guests, [asked, *guests], strict=False)),
            *(late.eq(early) for late, early in zip(tags, [self.slow.p.tag, *tags], strict=False)),
        ]
        m.d.comb += [self.found.eq(slows[-1]), self.tag.eq(tags[-1])]

        single = Signal()
        self._find(m, asked, guests, running, single)
        # What is read in the clock in which it is written is undefined; there will be a next time.
        repair = (running[-1] & single
                  & ~((self.fast.valid | slow) & (asked == guests[-1])))
        self._write(m, running=running, repair=repair, guest=guests[-1])
        return m

    def _find(self, m, asked, guests, running, single):
        """Take the word from the memory; find what is wrong; correct it. The state comes last."""
        found, ignored = self.fast.found, self.weaken.ecc if self.weak else C(0, 1)
        read = self.entries.read_port()
        word, late = Signal(self.code.code_width), Signal(self.code.code_width)
        syndrome   = Signal(self.code.checks + 1)
        m.d.comb += read.addr.eq(asked)
        m.d.sync += [
            word.eq(read.data),
            late.eq(word),
            syndrome.eq(self.code.syndrome(word)),
            _stored(found.entry).eq(self.code.correct(late, syndrome)),
            single.eq(self.code.is_single(syndrome)),
            found.bad.eq(self.code.is_fatal(syndrome) & ~ignored),
            self.corrected.eq(self.code.is_single(syndrome) & running[-2]),
        ]

        states, fatals = self.states.read_port(), self.fatals.read_port()
        state, fatal, exists = Signal(GuestState), Signal(), Signal()
        m.d.comb += [
            states.addr.eq(guests[1]),
            fatals.addr.eq(guests[1]),
            state.eq(states.data[:3]),
            fatal.eq(fatals.data.any()),
            exists.eq((guests[-2] != 0) & (guests[-2] < self.guests)),
        ]
        odd = states.data.xor() | fatals.data.xor()
        m.d.sync += [
            found.state.eq(Mux((state == GuestState.RUN) & fatal, GuestState.FREEZE, state)),
            found.fatal.eq(fatal),
            found.odd.eq(odd & ~ignored),
            found.exists.eq(exists),
            self.uncorrectable.eq((self.code.is_fatal(syndrome) | odd) & running[-2]),
        ]

    def _write(self, m, *, running, repair, guest):
        """Write new content, corrected entries, who is frozen, and nothing at all after reset."""
        write, new = Signal(), self.write.p
        scrub, patience = Signal(range(self.guests)), Signal(range(_PATIENCE + 1))
        held, freezing, colour = Signal(init=1), Signal(), Signal(COLOUR_WIDTH)
        starving = patience == _PATIENCE
        m.d.sync += [
            # Whoever reads has to see a hold for a clock before its being idle means anything.
            held.eq(~self.ready | (self.write.valid & ~write)),
            patience.eq(Mux(self.slow.valid & ~self.slow.ready, patience + ~starving, 0)),
        ]
        m.d.comb += [
            self.fast.hold.eq(held | starving),
            write.eq(self.write.valid & self.write.ready),
            self.write.ready.eq(self.ready & held & self.fast.idle & ~running.any() & ~freezing),
        ]

        entries, states, fatals = (memory.write_port() for memory in
                                   (self.entries, self.states, self.fatals))
        content = Mux(write, _stored(new.entry), _stored(self.fast.found.entry))
        state   = Value.cast(new.state)
        m.d.comb += [
            entries.en.eq(~self.ready | repair | (write & new.set_entry)),
            entries.addr.eq(Mux(~self.ready, scrub, Mux(write, new.guest, guest))),
            entries.data.eq(Mux(self.ready, self.code.encode(content), 0)),
            states.en.eq(~self.ready | (write & new.set_state)),
            states.addr.eq(Mux(self.ready, new.guest, scrub)),
            states.data.eq(Mux(self.ready, Cat(state, state.xor()), 0)),
            fatals.en.eq(~self.ready | freezing | (write & new.set_state)),
            fatals.addr.eq(Mux(~self.ready, scrub, Mux(freezing, colour, new.guest))),
            fatals.data.eq(Mux(self.ready, (freezing | new.fatal).replicate(2), 0)),
        ]
        with m.If(~self.ready):
            m.d.sync += [scrub.eq(scrub + 1), self.ready.eq(scrub == self.guests - 1)]

        # Who is frozen was looked at in the clock before, for the notice.
        before = self.fatals.read_port(transparent_for=(fatals,))
        m.d.comb += [
            before.addr.eq(self.freeze.payload),
            # A write goes first once all that it has to wait for has come.
            self.freeze.ready.eq(self.ready & ~(self.write.valid & held & self.fast.idle)),
        ]
        m.d.sync += [
            freezing.eq(self.freeze.valid & self.freeze.ready
                        & (self.freeze.payload < self.guests)),
            colour.eq(self.freeze.payload),
            self.frozen.valid.eq(freezing & ~before.data.all()),
            self.frozen.colour.eq(colour),
        ]
