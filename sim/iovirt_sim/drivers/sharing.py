"""Set-up of a shared device: guests, queue pairs, templates; reset of a guest."""

from dataclasses import replace

from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import load_templates
from iovirt_sim.platform import iotinval_gvma
from iovirt_sim.verilated import Timeout

from .pio import POLICY
from .registers import Registers
from .sharing_words import (
    COUNTERS,
    MODES,
    STATES,
    Addresses,
    GuestEntry,
    PairState,
    Rates,
    Reset,
)

__all__ = ["APERTURE", "Reset", "SharingDriver"]

#: Where the cores have the pages of guests.
APERTURE = 0x10_0000_0000
GUEST_BYTES, PAIR_BYTES, RATE_BYTES, TEMPLATE_BYTES, HEADER_BYTES, PAGE = 64, 64, 32, 128, 32, 4096
STATE = ACTIVITY = 16       # third doublewords of a guest and of its budget
WRITTEN = 0x4000            # what guests wrote to their headers, behind their image


class SharingDriver:
    """The sharing block of one system. Everything is appended to its program unless it returns a
    value.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`, or anything with its ``config``, ``platform``,
        ``program``, ``sim`` and ``run``.
    aperture : where the pages of guests are among the addresses of cores.
    """

    def __init__(self, system, *, aperture=APERTURE):
        self.system    = system
        self.config    = system.config
        self.registers = Registers(system.config)
        self.aperture  = aperture
        self.addresses = Addresses()
        self.guests    = {}
        self.pairs     = {}
        self.templates = {}
        self.domains   = {}

    @property
    def program(self):
        """The program of the system."""
        return self.system.program

    def set(self, name, **fields):
        """Write a register from its fields."""
        return self.program.write_csr(self.registers.offset(name),
                                      self.registers.pack(name, **fields),
                                      self.registers.size(name))

    def read(self, name):
        """Return a register as {field: content}, at once."""
        at, size = self.registers.offset(name), self.registers.size(name)
        return self.registers.unpack(name, self._read(at, size))

    def _read(self, offset, size=8):
        self.system.run()
        return self.system.sim.read_csr(offset, size)

    def _write(self, window, at, words):
        for n, word in enumerate(words):
            self.program.write_csr(self.registers.window(window) + at + 8 * n, word)

    # Set-up

    def wait_ready(self):
        """Wait until the tables have been cleared after reset."""
        self.program.poll_csr(self.registers.offset("sharing_status"), mask=1, value=1)

    def open(self, offset_bits=40, key_bits=12):
        """Set the layout of addresses; before anything is shared."""
        self.addresses = Addresses(offset_bits, key_bits)
        self.set("sharing_control", offset_bits=offset_bits, key_bits=key_bits)

    def function(self, number, rid, *, segment=0, mode="colour", bar=0, head_delta=1, lists=None,
                 first_guest=0, count=0, stride_log2=0, pasid=0, valid=True):
        """Share a function of the device.

        ``lists`` is {"prp_list": slot, "typed_list": slot, "range_list": slot} of templates;
        ``head_delta`` counts doublewords from a tail doorbell to that of its completion head.
        """
        lists = {"prp_list": 0, "typed_list": 0, "range_list": 0, **(lists or {})}
        self.set(f"shared_bar_{number}", base=bar)
        self.set(f"shared_lists_{number}", head_delta=head_delta, pasid=pasid, **lists)
        self.set(f"shared_identity_{number}", valid=int(valid), mode=MODES[mode], segment=segment,
                 rid=rid, first_guest=first_guest, count=count, stride_log2=stride_log2)

    def load(self, names):
        """Put templates of the library, and those that they refer to, into the table.

        Return {name: slot}, and for `function`, {kind of list: slot}.
        """
        templates = load_templates(names)
        slots = {template.name: slot for slot, template in enumerate(templates)}
        for template in templates:
            self.template(slots[template.name], encode_template(template, slots),
                          encode_opcodes(template))
        self.templates = slots
        return slots, {template.handler: slots[template.name] for template in templates
                       if template.handler != "ring"}

    def template(self, slot, word, opcodes=0):
        """Put the words of a template into a place of the table."""
        self._write("share_template", TEMPLATE_BYTES * slot,
                    [number >> 64 * n for number in (word, opcodes) for n in range(8)])

    def header(self, dword, value, mask=0, *, slot=None, notify=False):
        """Set a doubleword of the virtual configuration header; what guests may write is kept in
        ``slot``.
        """
        place = (slot or 0) | (slot is not None) << 3 | notify << 4
        self._write("share_header", 16 * dword, [value | mask << 32, place])

    def open_pages(self, *, region_log2=2, doorbells=0x1000, stride_log2=0, single=False):
        """Switch the pages of guests on: regions of ``4096 << region_log2`` bytes, with doorbells
        as NVM Express has them, or, if ``single``, one doorbell a queue.
        """
        self.region = PAGE << region_log2
        self.doorbells, self.stride, self.single = doorbells, 4 << stride_log2, single
        self.set("guest_pages", region_log2=region_log2, doorbell_base=doorbells,
                 stride_log2=stride_log2, single=int(single))
        self.set("doorbell_extent", mask=self.region * self.config.vf.guests - 1)
        self.set("doorbell_window", enable=1, policy=POLICY["ones"], base=self.aperture)

    def scheduler(self, *, quantum=8, most=64, burst=8, byte_shift=12):
        """Set what all guests share: quantum per weight, most commands in flight, largest grant."""
        self.set("share_scheduler", quantum=quantum, most=most, burst=burst,
                 byte_shift=byte_shift)

    # Guests and queue pairs

    def guest(self, number, *, key, device_id, ring_device_id, first_pair, pairs=1, function=0,
              rates=None, parameters=(), domain=None, state="run"):
        """Make a guest. ``domain`` is the GSCID of its memory, for resets."""
        self.domains[number] = domain
        self._guest(number, GuestEntry(key, device_id, ring_device_id, first_pair, pairs, function))
        self.parameters(number, parameters)
        self.rate(number, rates or Rates())
        self.set_state(number, state)

    def _guest(self, number, entry):
        self.guests[number] = entry
        self._write("share_guest", GUEST_BYTES * number, entry.words())

    def rate(self, number, rates):
        """Set weight and limits of a guest."""
        self._write("share_budget", RATE_BYTES * number, rates.words())

    def parameters(self, number, values):
        """Set the values that templates compare with or insert."""
        self._write("share_parameters", 8 * self.config.vf.parameters * number, values)

    def pair(self, number, entry):
        """Make a queue pair, a :class:`PairEntry`; its state starts afresh."""
        self.pairs[number] = entry
        self._write("share_pair", PAIR_BYTES * number, entry.words())

    def set_state(self, number, state, *, fatal=False):
        """Set the state of a guest, by name."""
        self._write("share_guest", GUEST_BYTES * number + STATE, [STATES.index(state) | fatal << 3])

    # What is looked at

    def state(self, number):
        """Return (state, fatal) of a guest."""
        word = self._read(self.registers.window("share_guest") + GUEST_BYTES * number + STATE)
        return STATES[word & 7], bool(word >> 3 & 1)

    def pair_state(self, number):
        """Return the :class:`PairState` of a queue pair."""
        at = self.registers.window("share_pair") + PAIR_BYTES * number + 16
        return PairState.of([self._read(at + 8 * n) for n in range(3)])

    def in_flight(self, number):
        """Return how many commands of a guest the device has."""
        at = self.registers.window("share_budget") + RATE_BYTES * number + ACTIVITY
        return self._read(at) & 0x1fff

    def statistics(self, number):
        """Return {counter: count} of a guest, from its page."""
        at = self.registers.window("share_page") + PAGE * number
        return {name: self._read(at + 8 * n) for n, name in enumerate(COUNTERS)}

    # Addresses

    def address(self, number, kind, offset, **more):
        """Return an address of a guest, with its key."""
        return self.addresses.pack(number, kind, offset,
                                   **{"key": self.guests[number].key, **more})

    def ring(self, pair, side, offset=0):
        """Return the address that the device gets for a ring."""
        owner = self.pairs[pair].owner
        return self.addresses.ring(owner, pair, side, offset, key=self.guests[owner].key)

    def doorbell(self, number, queue, side=0):
        """Return the address of a doorbell of a guest for cores; ``side`` 1: completion head."""
        spacing = 1 if self.single else 2
        at = self.region * number + self.doorbells + self.stride * (spacing * queue + side)
        return self.aperture + at

    def ring_doorbell(self, number, queue, value, side=0, *, size=4, **more):
        """Let a guest write a doorbell."""
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        return self.program.pio_write(self.doorbell(number, queue, side), data,
                                      **{"expect": "any", **more})

    # The mailbox

    def mailbox(self):
        """Return the oldest access that waits for the manager, or None."""
        found = self.read("mailbox_request")
        return {**found, **self.read("mailbox_data")} if found["valid"] else None

    def answer(self, data=0):
        """Answer the oldest access, with this data if it is a read."""
        self.set("mailbox_data", data=data)

    def refuse(self):
        """Answer the oldest access as failed."""
        self.set("mailbox_refuse", refuse=1)

    # Reset of a guest

    def reset_guest(self, number, key, *, bound=100_000, queues=None):
        """Give the number of a guest to its next owner; return a :class:`Reset`.

        ``bound`` is how many clocks the device may take to complete what it has. ``queues()``
        deletes and creates the queues at the device, as its manager does, with the new addresses:
        it is called when nothing of the guest is granted, with its new key set. Interrupt entries
        are the caller's: off before this, or in ``queues()``, and set up again there.
        """
        clocks, now = {}, self._clock()

        def step(name):
            nonlocal now
            last, now = now, self._clock()
            clocks[name] = now - last

        self.set_state(number, "freeze")
        step("freeze")
        self.set_state(number, "drain")
        self.system.run()
        drained = self._drained(number, bound)
        step("drain")
        # From here on nothing of the old owner passes, whatever the device still does.
        self.set_state(number, "quarantine")
        self._guest(number, replace(self.guests[number], key=key))
        waits = self.mailbox()
        if waits and waits["guest"] == number:
            self.refuse()
        quiet = self._poll(self.registers.offset("sharing_status"), 2, 2, bound)
        step("quarantine")
        if not quiet:
            return Reset(drained, clocks, quiet)
        self.system.platform.command(iotinval_gvma(gscid=self.domains[number]))
        self.system.platform.fence()
        step("fence")
        for pair, entry in self.pairs.items():
            if entry.owner == number:
                self.pair(pair, entry)
        self._write("share_budget", RATE_BYTES * number + ACTIVITY, [0])
        if "share_header" in self.registers.windows:
            self._write("share_header", WRITTEN + HEADER_BYTES * number, [0] * 4)
        self._write("share_page", PAGE * number, [0] * len(COUNTERS))
        if queues:
            queues()
        self.set_state(number, "run")
        step("reuse")
        return Reset(drained, clocks)

    def _clock(self):
        self.system.run()
        return self.system.sim.clock()

    def _drained(self, number, bound):
        at = self.registers.window("share_budget") + RATE_BYTES * number + ACTIVITY
        return self._poll(at, 0x1fff, 0, bound)

    def _poll(self, at, mask, value, bound):
        self.system.run()
        try:
            self.system.sim.poll_csr(at, mask=mask, value=value, timeout=bound)
        except Timeout:
            return False
        return True
