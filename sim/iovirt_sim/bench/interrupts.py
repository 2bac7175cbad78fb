"""Interrupts: records per clock, latency, moderation, and storms, of the interrupt block alone."""

from statistics import median

from ..interrupt_bench import InterruptBench
from ..interrupt_engine import IRQ, notice_address, open_engine

__all__ = ["GOALS", "measure_latency", "measure_moderation", "measure_rate", "measure_storm",
           "run_interrupts"]

LATENCY = 20
#: Clocks per record that are wanted, by width of the table port.
GOALS = {64: 4, 128: 2, 256: 1}
QUEUES = 8
STORM, QUIET = 64, 16


def _make(io, width, latency=LATENCY):
    io.reset()
    return InterruptBench(io, IRQ, table_width=width, latency=(latency, latency))


def _sources(b, count, *, queue=lambda n: n % QUEUES, **changes):
    for n in range(count):
        yield from b.write_entry(n, queue=queue(n), **changes)


def _pairs(b, indices):
    """Offer an interrupt in each clock."""
    io = b.io
    io["signal__valid"] = 1
    for index in indices:
        data = b.model.sent[index]
        b.model.msi(segment=0, rid=0x100, offset=index << 3, data=data)
        io["signal__payload"] = b.pack_signal(kind=1, rid=0x100, offset=index << 3, data=data)
        yield
        while not io["signal__ready"]:
            yield
    io["signal__valid"] = 0


def measure_rate(io, width, *, records=2000, queues=QUEUES):
    """Return clocks per record while interrupts are always waiting."""
    b = _make(io, width)
    seen = []

    def testbench():
        yield from _sources(b, 96, queue=lambda n: n % queues)
        for queue in range(queues):
            yield from b.start(queue, size_log2=12, holdoff=30000)
        sender = _pairs(b, (n % 96 for n in range(1 << 30)))
        while b.pulses["record"] < records:
            next(sender)
            seen.append((b.clock, b.pulses["record"]))
            yield

    b.run(testbench())
    first = next(clock for clock, count in seen if count >= records // 4)
    return (seen[-1][0] - first) / (records - records // 4)


def measure_latency(io, width, *, latency=LATENCY, count=200):
    """Return clocks beyond memory latency: to the record, and from there to the notification.

    The first is from the transfer of the interrupt to the answer of the last write of its record,
    without the answers that are waited for; the second ends with the write of the notification.
    """
    b = _make(io, width, latency)
    times = {"sent": [], "record": [], "notice": []}
    begin, show = b.memory.begin, b.memory.show

    def began(address):
        begin(address)
        if address >= notice_address(0):
            times["notice"].append(b.clock)

    def shown(address, words):
        show(address, words)
        if address < notice_address(0) and (address | 31) - 3 in words:
            times["record"].append(b.clock)

    b.memory.begin, b.memory.show = began, shown

    def testbench():
        yield from _sources(b, QUEUES)
        for queue in range(QUEUES):
            yield from b.start(queue, size_log2=4)
        for n in range(count):
            yield from b.msi(n % QUEUES)
            times["sent"].append(b.clock)
            for _ in range(200 + 6 * latency + b.random.randrange(16)):
                yield

    b.run(testbench(), background=[b.serve()])
    rounds = 1 if width >= 256 else 2
    record = [shown - sent - rounds * latency for sent, shown
              in zip(times["sent"], times["record"], strict=True)]
    notice = [told - shown for shown, told in zip(times["record"], times["notice"], strict=True)]
    return median(record), median(notice)


def measure_moderation(io, width, *, holdoff, threshold, events=1000, gap=40):
    """Return notifications per 1000 events, one event each ``gap`` clocks."""
    b = _make(io, width)

    def testbench():
        yield from _sources(b, 32, queue=lambda n: 0)
        yield from b.start(0, size_log2=10, holdoff=holdoff, threshold=threshold)
        for n in range(events):
            yield from b.msi(n % 32)
            for _ in range(gap - 1):
                yield
        yield from b.settle()

    b.run(testbench(), background=[b.serve()])
    return 1000 * len(b.notices) / events


def measure_storm(io, width, *, storm, clocks=20_000, gap=24):
    """Return median clocks from interrupt to record of quiet sources.

    If ``storm``, 64 sources send all together every 4 clocks to one queue whose reader is slow;
    the others send every ``gap`` clocks to other queues.
    """
    b = _make(io, width)
    sent, times, show = {}, [], b.memory.show

    def shown(address, words):
        show(address, words)
        for n in [n for n in sent if b.visible_of[n] >= sent[n][1]]:
            times.append(b.clock - sent.pop(n)[0])

    b.memory.show = shown

    def testbench():
        yield from _sources(b, STORM + QUIET, queue=lambda n: 0 if n < STORM else 1 + n % 7)
        for queue in range(QUEUES):
            yield from b.start(queue, size_log2=6)
        start, last, n = b.clock, b.clock, 0
        while b.clock - start < clocks:
            quiet = STORM + n % QUIET
            if b.clock - last >= gap and quiet not in sent:
                last, n = b.clock, n + 1
                sent[quiet] = (b.clock, b.visible_of[quiet] + 1)
                yield from b.msi(quiet)
            elif storm and b.clock % 4 == 0:
                yield from b.msi(b.random.randrange(STORM))
            else:
                yield

    def readers():
        while True:
            for queue in list(b.notified):
                if queue or b.random.random() < 0.002:
                    del b.notified[queue]
                    yield from b.service(queue)
            yield

    b.run(testbench(), background=[readers()])
    return median(times), sum(times) / len(times), len(times)


def run_interrupts(*, widths=tuple(GOALS), progress=None):
    """Measure everything; return one dict per width of the table port."""
    results = []
    for width in widths:
        with open_engine(IRQ, table_width=width) as io:
            record, notice = measure_latency(io, width)
            calm, storm = (measure_storm(io, width, storm=storm) for storm in (False, True))
            results.append({
                "table_width": width, "L": LATENCY, "goal": GOALS[width],
                "clocks_per_record": round(measure_rate(io, width), 3),
                "clocks_per_record_one_queue": round(measure_rate(io, width, queues=1), 3),
                "clocks_to_record": record, "clocks_to_notification": notice,
                "notifications_per_1000": {
                    f"{threshold} records or {holdoff} ticks": measure_moderation(
                        io, width, holdoff=holdoff, threshold=threshold)
                    for holdoff, threshold in ((0, 0), (20, 4), (100, 0), (100, 16), (1000, 64))},
                "quiet_clocks": calm[1], "quiet_clocks_in_storm": storm[1]})
        if progress:
            progress(len(results), len(widths))
    return results
