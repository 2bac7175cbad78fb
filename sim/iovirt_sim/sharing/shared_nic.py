"""A whole system whose NIC is shared by guests."""

import random

from iovirt_sim.drivers import PairEntry, Rates, SharingDriver

from .nic import NicDevice, NicGuest
from .shared import DATA_IDS, DOMAINS, GPA, RING_IDS, Tenant
from .system import BAR, PAGE, RID, WINDOW, NvmeSystem

__all__ = ["SharedNicSystem"]

TEMPLATES = {"tx": "e1000e_tx", "rx": "e1000e_rx", "split": "e1000e_rx_split"}
LARGEST_SEGMENT = 1460


class SharedNicSystem(NvmeSystem):
    """A block that shares a NIC: queue n of the device is guest n + 1's, both rings.

    Parameters
    ----------
    sim, config : the simulation; ``config.vf.enable`` must be True.
    offset_bits, key_bits : of addresses.
    strict : a breach fails the run at once.
    templates : of the library, by what they are for: "tx", "rx", "split".
    options : of the device.
    """

    def __init__(self, sim, config, *, offset_bits=40, key_bits=12, strict=False, templates=None,
                 scheduler=None, seed=1, **options):
        super().__init__(sim, config)
        self.rng, self.key_bits, self.tenants = random.Random(seed), key_bits, {}
        self.sharing = SharingDriver(self)
        self.platform.attach(RID, 1)
        self.open_port()
        self.device_model = NicDevice(self, window=WINDOW, bar=BAR, rid=RID, shared=True, **options)
        self.sharing.wait_ready()
        self.sharing.open(offset_bits, key_bits)
        self.program.monitor(offset_bits, key_bits, strict=strict)
        names = {**TEMPLATES, **(templates or {})}
        slots, _ = self.sharing.load(list(names.values()))
        self.slots = {use: slots[name] for use, name in names.items()}
        self.sharing.function(0, RID, bar=BAR)
        self.sharing.open_pages(single=True)
        self.sharing.scheduler(**(scheduler or {}))

    def add(self, *, depth=64, split=False, rates=None, parameters=(LARGEST_SEGMENT,), **options):
        """Make a guest with a pair of rings and their driver; return a `Tenant`."""
        number = 1 + len(self.tenants)
        first, queue, sharing = 2 * (number - 1), number - 1, self.sharing
        key = self.rng.randrange(1, 1 << self.key_bits) if self.key_bits else 0
        tenant = Tenant(number, key, DOMAINS + 2 * number, first, range(0))
        self.tenants[number] = tenant
        for ring in (0, 1):
            self.platform.attach((DATA_IDS, RING_IDS)[ring] + number, tenant.gscid + ring)
        self.program.owner(number, colour=number, key=key)
        sharing.guest(number, key=key, device_id=DATA_IDS + number,
                      ring_device_id=RING_IDS + number, first_pair=first, pairs=2,
                      parameters=parameters, rates=rates or Rates(), domain=tenant.gscid)
        sizes = 16, 32 if split else 16
        rings = []
        for n, use in enumerate(("tx", "split" if split else "rx")):
            sharing.pair(first + n, PairEntry(
                owner=number, template=self.slots[use], depth=depth, paired=False,
                device_writes=True, entry_bytes=sizes[n],
                tail=self.device_model.doorbell_offset(queue, n)))
            at = sharing.addresses.ring_offset(first + n, 0)
            rings.append(self.map_range(tenant.gscid + 1, at, -(-depth * sizes[n] // PAGE)))
        data = [self.map_range(tenant.gscid, GPA + PAGE * n, 1) for n in range(2 * depth)]
        self.device_model.create(queue, tx=sharing.ring(first, 0), rx=sharing.ring(first + 1, 0),
                                 depth=depth, guest=number, split=split)
        driver = NicGuest(self, number, data, tx=rings[0], rx=rings[1], depth=depth, split=split,
                          core=number, gpa=GPA, tx_doorbell=sharing.doorbell(number, 0),
                          rx_doorbell=sharing.doorbell(number, 1), **options)
        tenant.drivers.append(driver)
        self.guests[number] = driver
        return tenant
