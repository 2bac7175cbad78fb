"""The part of the C driver for sharing writes what the driver of the simulations writes."""

import pytest
from tests.sharing.test_driver import CONFIG, System

from iovirt.csr.export import write_c_header
from iovirt_sim.drivers import PairEntry, Rates, Registers, SharingDriver

from .builds import DRIVER, FLAGS, HERE, compiler, run

SOURCES = ("iovirt_vf.c", "iovirt_vf_guest.c")
COMPLETED = 0x300000 + 2 * 4096 + 16


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Return what the program prints when hardware shows what is read first."""
    directory = tmp_path_factory.mktemp("vf")
    write_c_header(CONFIG, directory / "iovirt_registers.h")
    run(compiler(), *FLAGS, f"-I{DRIVER / 'include'}", f"-I{directory}", HERE / "vf.c",
        *(DRIVER / "src" / source for source in SOURCES), "-o", directory / "vf")
    registers = Registers(CONFIG)
    shown = {}
    for name in ("share_geometry", "directory_sharing", "directory_vf_control",
                 "directory_vf_guest"):
        register = registers.names[name]
        shown[register.address] = sum(field.reset << field.low for field in register.fields)
    shown[registers.offset("sharing_status")] = 3        # ready, doorbells idle
    shown[registers.offset("mailbox_request")] = registers.pack(
        "mailbox_request", valid=1, write=1, be=15, guest=2, offset=0x14)
    shown[COMPLETED] = 33
    text = "".join(f"{address:x} {value:x}\n" for address, value in shown.items())
    lines = [line.split() for line in run(directory / "vf", input=text).splitlines()]
    values = {name if name == "ring" else int(name, 16): int(value, 16) for name, value in lines}
    for address in shown:
        values.pop(address, None)
    return values


def expected():
    """Return the registers that the other driver writes, and a ring's address."""
    driver = SharingDriver(System())
    driver.open()
    driver.template(1, sum(n + 1 << 64 * n for n in range(8)),
                    sum(n + 9 << 64 * n for n in range(8)))
    driver.function(0, 0x100, bar=0xc000_0000,
                    lists={"prp_list": 2, "typed_list": 3, "range_list": 4})
    driver.open_pages()
    driver.scheduler()
    driver.pair(1, PairEntry(2, 1, 16, 32, limit=7, tail=0x1010))
    driver.guest(2, key=0x123, device_id=0x45, ring_device_id=0x46, first_pair=1, rates=Rates(
        5, 9, 1, 2, 3, 4), parameters=(0, 0, 0, 200))
    return driver.program.written, driver.ring(1, 1)


def test_both_drivers_write_the_same_registers(output):
    written, ring = expected()
    assert output.pop("ring") == ring
    output[Registers(CONFIG).offset("doorbell_extent")] &= ~0xfff      # bits that are not there
    assert output == {address: value for address, value in written.items() if value}
