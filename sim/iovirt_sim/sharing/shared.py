"""A whole system whose NVMe device is shared by guests."""

import random
from dataclasses import dataclass, field

from iovirt_sim.drivers import PairEntry, Rates, SharingDriver

from .guests import Guest
from .system import BAR, PAGE, RID, NvmeSystem

__all__ = ["SharedSystem", "Tenant"]

GPA, FIRST_QUEUE = 0x20_0000, 1
#: Device IDs of guests: of data and lists, of rings. Colours follow.
DATA_IDS, RING_IDS, DOMAINS = 0x1000, 0x2000, 0x10


@dataclass
class Tenant:
    """A guest of the shared device: its domain, its queue pairs and their drivers."""

    number:     int
    key:        int
    gscid:      int
    first_pair: int
    blocks:     range
    drivers:    list = field(default_factory=list)
    resets:     list = field(default_factory=list)


class SharedSystem(NvmeSystem):
    """A block that shares a device; `add` makes guests, `play` lets them work.

    Parameters
    ----------
    sim, config : the simulation; ``config.vf.enable`` must be True.
    offset_bits, key_bits : of addresses.
    strict : a breach fails the run at once.
    templates : of the library, of the rings first.
    scheduler : settings of `SharingDriver.scheduler`.
    options : of the device, and of the memory system; see :class:`NvmeDevice`.
    """

    def __init__(self, sim, config, *, offset_bits=40, key_bits=12, strict=False,
                 templates=("nvme_prp", "nvme_prp_list", "nvme_dsm_ranges"), scheduler=None,
                 seed=1, **options):
        super().__init__(sim, config)
        self.rng = random.Random(seed)
        self.tenants, self.next_pair, self.key_bits = {}, 0, key_bits
        self.sharing = SharingDriver(self)
        device = self.connect(1, 0x1000_0000, shared=True, **{"namespaces": 8, **options})
        self.sharing.wait_ready()
        self.sharing.open(offset_bits, key_bits)
        self.program.monitor(offset_bits, key_bits, strict=strict)
        slots, lists = self.sharing.load(list(templates))
        self.template = slots[templates[0]]
        self.sharing.function(0, RID, bar=BAR, lists=lists)
        self.sharing.open_pages()
        self.sharing.scheduler(**(scheduler or {}))
        # Nobody answers what guests ask of their virtual controllers.
        self.sharing.set("mailbox_timeout", duration=1)
        device.enable()

    # Guests

    def add(self, *, number=None, pairs=1, pages=64, depth=64, cq_depth=None, kind="linux",
            blocks=None, nsid=1, rates=None, limit=0, **options):
        """Make a guest with queue pairs of its own, and a driver of each; return a `Tenant`.

        Its blocks are ``blocks`` of the device, a range; ``options`` are of the drivers.
        """
        number = number or 1 + len(self.tenants)
        blocks = blocks or range(0x1_0000 * number, 0x1_0000 * (number + 1))
        key = self.rng.randrange(1, 1 << self.key_bits) if self.key_bits else 0
        tenant = Tenant(number, key, DOMAINS + 2 * number, self.next_pair, blocks)
        self.tenants[number] = tenant
        self.next_pair += pairs
        for ring in (0, 1):
            self.platform.attach((DATA_IDS, RING_IDS)[ring] + number, tenant.gscid + ring)
        self._own(tenant, nsid)
        self.sharing.guest(number, key=key, device_id=DATA_IDS + number,
                           ring_device_id=RING_IDS + number, first_pair=tenant.first_pair,
                           pairs=pairs, parameters=(nsid, 0, blocks.start, len(blocks)),
                           rates=rates or Rates(), domain=tenant.gscid)
        share = len(blocks) // pairs
        for n in range(pairs):
            self._pair(tenant, n, pages, depth, cq_depth or depth, kind, limit,
                       {"first_block": share * n, "nsid": nsid, **options})
        return tenant

    def _own(self, tenant, nsid):
        self.program.owner(tenant.number, colour=tenant.number, key=tenant.key, nsid=nsid,
                           base=tenant.blocks.start, count=len(tenant.blocks))

    def _pair(self, tenant, n, pages, depth, cq_depth, kind, limit, options):
        pair = tenant.first_pair + n
        queue, sharing, device = FIRST_QUEUE + pair, self.sharing, self.device_model
        sharing.pair(pair, PairEntry(owner=tenant.number, template=self.template, depth=depth,
                                     cq_depth=cq_depth, limit=limit, patch_id=True,
                                     tail=device.doorbell_offset(queue)))
        sq, cq = (self.map_range(tenant.gscid + 1, sharing.addresses.ring_offset(pair, side),
                                 -(-size // PAGE))
                  for side, size in ((0, 64 * depth), (1, 16 * cq_depth)))
        if kind == "hostile":
            options = {"blocks": len(tenant.blocks), **options, "first_block": 0}
        gpa = GPA + n * (pages + 16) * PAGE
        data = [self.map_range(tenant.gscid, gpa + PAGE * page, 1) for page in range(pages)]
        self._queues(tenant, [pair])
        number = 16 * tenant.number + n
        driver = Guest(
            self, number, data, kind=kind, guest=tenant.number, sq=sq, cq=cq, depth=depth,
            cq_depth=cq_depth, gpa=gpa, core=tenant.number, sqid=n + 1,
            sq_doorbell=sharing.doorbell(tenant.number, n + 1),
            cq_doorbell=sharing.doorbell(tenant.number, n + 1, 1), bells_from=sharing.aperture,
            bells_to=sharing.aperture + sharing.region * self.config.vf.guests, **options)
        tenant.drivers.append(driver)
        self.guests[number] = driver

    def _queues(self, tenant, pairs):
        """Create queue pairs at the device."""
        for pair in pairs:
            entry = self.sharing.pairs[pair]
            self.device_model.create_pair(
                FIRST_QUEUE + pair, self.sharing.ring(pair, 0), self.sharing.ring(pair, 1),
                depth=entry.depth, cq_depth=entry.cq_depth, guest=tenant.number)

    # Resets

    def reset_guest(self, number, *, bound=100_000):
        """Give the number to a new owner, with the same memory; return the `Reset`."""
        tenant = self.tenants[number]
        pairs = [pair for pair, entry in self.sharing.pairs.items() if entry.owner == number]
        tenant.key = self.rng.randrange(1, 1 << self.key_bits) if self.key_bits else 0

        def queues():
            for pair in pairs:
                self.device_model.delete_pair(FIRST_QUEUE + pair)
            self._own(tenant, tenant.drivers[0].values["nsid"])
            for driver in tenant.drivers:
                driver.restart()
            self._queues(tenant, pairs)

        done = self.sharing.reset_guest(number, tenant.key, bound=bound, queues=queues)
        tenant.resets.append(done)
        return done

    def campaign(self, commands, *, honest=None, stall=3000, resets=8, patience=5, hopeless=1000):
        """Let each driver do so many commands, honest ones only ``honest``; return the events.

        Guests that are frozen are set running again after ``stall`` clocks without a completion,
        or, every ``resets`` times, are reset. So are hostile ones that are stuck for ``patience``
        stalls, because the device did not read their entries as it should; honest ones must go on.
        There may not be more stalls than ``hopeless`` for other reasons.
        """
        share = {"linux": commands if honest is None else honest}
        goal = {number: guest.counts()["completed"] + share.get(guest.kind, commands)
                for number, guest in self.guests.items()}
        self._go_on(goal, goal)
        collected, thawed, waited, done = [], 0, 0, 0
        while done <= hopeless:
            events, stuck = self.wait(stall=stall)
            collected += events
            if not stuck:
                return collected
            tenants = {self.guests[number].values["guest"] for number in stuck}
            frozen = {number for number in tenants if self.sharing.state(number)[0] != "run"}
            waited = 0 if frozen else waited + 1
            done += not frozen
            thawed += len(frozen)
            again = frozen if resets and thawed % resets == 0 else set()
            if waited % patience == patience - 1:
                again = {self.guests[number].values["guest"] for number in stuck
                         if self.guests[number].kind != "linux"}
                waited = 0 if again else waited
            for number in again:
                self.reset_guest(number, bound=10_000)
                self._go_on(goal, [d.number for d in self.tenants[number].drivers])
            for number in frozen - again:
                self.sharing.set_state(number, "run")
        raise RuntimeError(f"Drivers {stuck} must not be stuck for ever")

    def _go_on(self, goal, numbers):
        for number in numbers:
            missing = goal[number] - self.guests[number].counts()["completed"]
            self.guests[number].go(max(missing, 0))
