"""Latency and rates of programmed I/O, through the whole block."""

from ..drivers import endpoint
from ..system import System
from ..verilated import Design, open_simulation

__all__ = ["GOALS", "measure_pio", "run_pio"]

LOW, SIZE, TARGET, BAR = 0x20_0000_0000, 1 << 20, 0xC000_0000, 0x1_0000
COUNT = 3000
#: What the block is meant to reach, by the name of a result.
GOALS = {"added_clocks": 8, "reads_per_clk": 0.5, "writes_per_clk": 1.0}


def _system(sim, config, *, delay):
    sim.reset()
    system = System(sim, config)
    driver = system.pio()
    sim.set(device_delay=delay, device_jitter=0, pio_stall=0, pio_ready_stall=0, tx_stall=0,
            rx_stall=0, pio_outstanding=2048)
    driver.wait_ready()
    driver.open_ecam()
    driver.open_port(1, 4)
    driver.connect(0, endpoint(0, bars={0: BAR}, at={0: TARGET}, bus=1))
    driver.open_window(0, LOW, SIZE, TARGET)
    driver.set("quotas", core_limit=0x3ff, guest_limit=0x3ff)
    system.run()
    return system, driver


def _answers(system, driver):
    system.program.wait()
    return sorted(driver.answers(system.run()).values(), key=lambda answer: answer.offered)


def _rate(clocks):
    """Events per clock in the middle half."""
    clocks = sorted(clocks)
    begin, end = len(clocks) // 4, 3 * len(clocks) // 4
    return (end - begin) / (clocks[end] - clocks[begin])


def measure_pio(sim, config):
    """Return the results as ``[{name, value, unit, what}]``."""
    results = []

    def add(name, value, unit, what):
        results.append({"name": name, "value": round(value, 4), "unit": unit, "what": what,
                        "goal": GOALS.get(name)})

    system, driver = _system(sim, config, delay=20)
    single = [driver.access("pio_read", LOW + 8 * n, 4) for n in range(16)]
    ways   = [(a.asked - a.accepted) + (a.responded - a.answered) for a in single]
    add("added_clocks", max(ways), "clocks",
        "AR taken to TLP on tx, and completion on rx to R, of one read in an idle block")
    add("clocks_out", max(a.asked - a.accepted for a in single), "clocks", "of these, AR to tx")

    many, ids = COUNT, 1 << config.pio.id_width
    for name, delay, choose in (("reads_per_clk", 100, lambda n: n % ids),
                                ("reads_per_clk_one_id", 100, lambda n: 0)):
        system, driver = _system(sim, config, delay=delay)
        for n in range(many):
            system.program.pio_read(LOW + 4 * n % BAR, 4, id=choose(n))
        answers = _answers(system, driver)
        add(name, _rate(a.responded for a in answers), "reads/clk",
            f"reads of 4 bytes, {'all IDs' if name == 'reads_per_clk' else 'one ID'}, "
            f"a device that answers after {delay} clocks")
    system, driver = _system(sim, config, delay=4000)
    for n in range(2 * config.pio.tags):
        system.program.pio_read(LOW + 4 * n % BAR, 4, id=n % ids)
    answers = _answers(system, driver)
    begin = min(a.answered for a in answers)
    add("reads_in_flight", sum(a.asked < begin for a in answers), "reads",
        "TLPs sent before the first answer of a slow device")

    system, driver = _system(sim, config, delay=20)
    for n in range(many):
        system.program.pio_write(LOW + 8 * n % BAR, bytes(8), id=n % ids, report=True)
    answers = _answers(system, driver)
    add("writes_per_clk", _rate(a.asked for a in answers), "TLPs/clk",
        "writes of 8 bytes to device memory")
    return results


def run_pio(config, *, say=None):
    """Measure programmed I/O of a configuration."""
    with open_simulation(Design.of_full(config), say=say) as sim:
        return measure_pio(sim, config)
