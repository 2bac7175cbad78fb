"""Replay a trace through the whole block and check every address and every byte."""

import re
import time
from array import array
from collections import Counter

from .platform import PAGE, Platform, iodir_inval_ddt, iotinval_gvma
from .replay import plan_trace
from .trace_io import TraceIo
from .traces import TraceError, read_trace
from .verilated import CheckFailed, Design, open_simulation

__all__ = ["TraceFailed", "simulate_trace"]

#: Rows in one call of the simulation.
BATCH = 2000
MPS, MRRS = 256, 512
#: An invalidation of more pages than this drops the domain.
MOST_PAGES = 8


class TraceFailed(AssertionError):
    """The hardware did something wrong; the message names the row."""


def simulate_trace(config, path, *, rows=None, lead=0, latency=20, seed=1, vcd=None, fst=None,
                   progress=None, say=None, design=None, slow=False):
    """Replay ``path`` on the hardware of ``config``; return the report as a dict.

    ``rows`` limits how many are replayed; ``lead`` maps pages so many rows of their device before
    their first evidence; ``latency`` is that of memory in clocks, on both ports; ``vcd`` or ``fst``
    is a waveform file. ``progress`` is called with (rows done, rows), ``say`` with a line of text
    before each step that takes long. ``slow`` uses the Amaranth simulator. ``design`` replaces
    the whole block.

    Raises
    ------
    TraceError, TraceFailed
    """
    trace = list(read_trace(path, limit=rows))
    platform = Platform(config)
    plan = plan_trace(trace, frames=1 << platform.half - 12, lead=lead, path=path)
    replay = _Replay(platform, plan, path)
    design = design or Design.of_full(config)
    with open_simulation(design, vcd=vcd, fst=fst, say=say, slow=slow) as sim:
        sim.set(seed=seed, table_latency=latency, table_write_latency=latency, dma_latency=latency,
                dma_write_latency=latency, np_limit=config.pcie.np_credits,
                rcb=config.pcie.rcb_bytes, mps=min(MPS, config.pcie.max_payload_bytes), mrrs=MRRS)
        replay.io = TraceIo(platform, sim, slow=slow)
        replay.start(sim)
        began = time.perf_counter()
        for at in range(0, len(trace), BATCH):
            for row in trace[at:at + BATCH]:
                replay.row(row)
            replay.flush(sim)
            if progress:
                progress(min(at + BATCH, len(trace)), len(trace))
        replay.end(sim)
        seconds = time.perf_counter() - began
        faults = platform.faults(sim)
        counts = sim.statistics()
    if faults:
        cause, device, iova = faults[0]
        raise TraceFailed(f"{path}: {len(faults)} faults; the first has cause {cause}, device "
                          f"{device:#x}, iova {iova:#x}")
    return {"simulator": "amaranth" if slow else "verilator",
            **_report(replay, plan, counts, seconds, path), **replay.io.report(counts)}


class _Replay:
    """Turns rows into operations."""

    def __init__(self, platform, plan, path):
        self.platform, self.plan, self.path = platform, plan, path
        self.kinds   = Counter()
        self.row_of  = array("q")   # of each operation of the program
        self.current = 0
        self.bytes   = 0
        self.io      = None
        self.invalidations = 0

    def start(self, sim):
        """Bring the hardware up with every device in its domain."""
        for rid, dom in self.plan.domains.items():
            self._usable(rid)
            self.platform.attach(rid, dom)
        self.platform.bring_up()
        self.io.start()
        self.flush(sim)
        sim.clear_statistics()

    def _usable(self, rid):
        limit = (7, 16, 24)[self.platform.levels - 1]
        if rid >> limit:
            raise TraceError(f"{self.path}: rid must fit {limit} bits for a device directory of "
                             f"{self.platform.levels} levels, not {rid:#x}")

    def row(self, row):
        """Append what a row needs."""
        self.current = row.seq
        self.kinds[row.kind] += 1
        if edits := self.plan.edits.get(row.seq):
            self._edit(edits)
        if row.kind == "dma":
            self._dma(row)
        elif row.kind == "inval":
            self._invalidate(row)
        elif row.kind == "ccinval":
            self.platform.command(iodir_inval_ddt(row.rid if row.scope == "S" else None))
        elif row.kind == "invwait":
            self.platform.fence()
        elif row.kind == "msi":
            self.io.msi(row, self.path)
        self._note()

    def _note(self):
        missing = len(self.platform.program) - len(self.row_of)
        self.row_of.extend([self.current] * missing)

    def _edit(self, edits):
        for dom in dict.fromkeys(edit.dom for edit in edits):
            self.platform.program.wait(group=dom)
        for edit in edits:
            stage, gpa = self.platform.domain(edit.dom), edit.page * PAGE
            if edit.frame is None:
                stage.unmap(gpa)
            else:
                stage.map(gpa, self.platform.spa(edit.frame))

    def _dma(self, row):
        platform = self.platform
        if platform.contexts[row.rid] != row.dom:
            platform.program.wait()
            platform.attach(row.rid, row.dom)
            platform.command(iodir_inval_ddt(row.rid))
            platform.fence()
        self.bytes += row.length
        platform.program.dma(rid=row.rid, iova=row.addr, length=row.length, write=row.write,
                             spa=platform.spa(row.gpa // PAGE) + row.gpa % PAGE, group=row.dom,
                             seed=row.seq)

    def _invalidate(self, row):
        platform = self.platform
        pages = row.length // PAGE if row.scope == "P" else 0
        if row.scope == "G":
            platform.command(iotinval_gvma())
        elif row.scope == "D" or pages > MOST_PAGES:
            platform.command(iotinval_gvma(gscid=row.dom))
        else:
            for n in range(pages):
                platform.command(iotinval_gvma(gscid=row.dom, iova=row.addr + n * PAGE))
        platform.program.forget(0xffff if row.scope == "G" else row.dom, row.addr, pages)

    def flush(self, sim):
        """Run what has been appended."""
        self._note()
        program, rows = self.platform.take(), self.row_of
        self.row_of = array("q")
        try:
            sim.run(program)
        except CheckFailed as error:
            def name(match):
                number = int(match.group(1))
                return f"row {rows[number]}" if number < len(rows) else match.group()
            raise TraceFailed(f"{self.path}: " + re.sub(r"operation (\d+)", name, str(error))) \
                from None

    def end(self, sim):
        """Wait for everything, interrupts and cores too, and drain."""
        self.platform.program.wait()
        self.platform.fence()
        self.platform.program.forget(0xffff)
        self.flush(sim)


def _share(part, whole):
    return round(part / whole, 4) if whole else None


def _report(replay, plan, counts, seconds, path):
    rows = counts["row_hits"] + counts["row_misses"]
    tlps = counts["writes"] + counts["reads"]
    walk_reads = counts["reads_ddt"] + counts["reads_pointer"] + counts["reads_leaf"]
    walks = counts["demand_walks"] + counts["prefetch_walks"]
    return {
        "trace": str(path), "rows": sum(replay.kinds.values()), "rows_by_kind": dict(replay.kinds),
        "requests": tlps, "writes": counts["writes"], "reads": counts["reads"],
        "bytes": replay.bytes, "bytes_checked": counts["bytes_checked"],
        "addresses_checked": counts["transfers_checked"], "cycles": counts["cycles"],
        "translations_per_clk": _share(tlps, counts["cycles"]),
        "bytes_per_clk": _share(replay.bytes, counts["cycles"]),
        "row_hit_rate": _share(counts["row_hits"], rows),
        "tlp_hit_rate": _share(counts["tlp_hits"], counts["tlp_hits"] + counts["tlp_misses"]),
        "demand_misses": counts["tlp_misses"], "walks": walks,
        "demand_walks": counts["demand_walks"], "prefetch_walks": counts["prefetch_walks"],
        "prefetches_useful": counts["prefetch_useful"], "prefetches_late": counts["prefetch_late"],
        "prefetches_useless": counts["prefetch_useless"],
        "memory_reads": {"ddt": counts["reads_ddt"], "pointer": counts["reads_pointer"],
                         "leaf": counts["reads_leaf"], "queue": counts["reads_queue"],
                         "other": counts["reads_other"]},
        "memory_reads_per_walk": _share(walk_reads, walks),
        "memory_reads_per_miss": _share(walk_reads, counts["tlp_misses"]),
        "commands": counts["commands"], "fences": counts["command_waits"],
        "clocks_per_fence": _share(counts["command_wait_clocks"], counts["command_waits"]),
        "latency_histogram": _histogram(counts["latency"]),
        "mean_latency": _share(counts["issue_clocks"], tlps),
        "mappings": plan.mappings, "invented_frames": plan.invented, "faults": {},
        "seconds": round(seconds, 2), "cycles_per_second": round(counts["cycles"] / seconds),
    }


def _histogram(buckets):
    """Return {"least-most clocks": count} of the buckets in use."""
    return {("0" if n == 0 else f"{1 << n - 1}-{(1 << n) - 1}"): count
            for n, count in enumerate(buckets) if count}
