"""Replay of recorded traffic on the whole block, the benchmark, and their verbs."""

import json

import pytest

from iovirt.cli import main
from iovirt.config import preset
from iovirt_sim import platform
from iovirt_sim.bench.translate import PEER, measure, workloads
from iovirt_sim.cli.sim import DEMONSTRATION
from iovirt_sim.trace_simulation import TraceFailed, simulate_trace
from iovirt_sim.traces import read_trace
from iovirt_sim.verilated import Design, open_simulation

pytestmark = pytest.mark.slow
TINY = preset("tiny")
ROWS = 600


def test_every_byte_of_the_demonstration_is_right():
    result = simulate_trace(TINY, DEMONSTRATION, rows=ROWS)
    rows = [row for row in read_trace(DEMONSTRATION, limit=ROWS) if row.kind == "dma"]
    assert result["bytes_checked"] == result["bytes"] == sum(row.length for row in rows)
    assert result["rows_by_kind"]["dma"] == len(rows)
    assert result["requests"] == result["addresses_checked"] >= len(rows)
    assert result["row_hit_rate"] > 0.2 and result["faults"] == {}
    sent = result["rows_by_kind"]["msi"]
    assert result["interrupts"]["sent"] == result["interrupts"]["recorded"] == sent > 10
    assert result["interrupts"]["behind_dma"] > sent / 2
    assert result["programmed_io"]["order_checked"] == result["programmed_io"]["reads"] == sent


def test_mapping_ahead_saves_misses():
    """The neighbours of a page, and the next line, are then there when somebody looks."""
    late, ahead = (simulate_trace(TINY, DEMONSTRATION, rows=ROWS, lead=lead) for lead in (0, 20))
    assert ahead["tlp_hit_rate"] > late["tlp_hit_rate"]
    assert ahead["demand_walks"] < late["demand_walks"]
    assert ahead["bytes_checked"] == late["bytes_checked"]


def test_wrong_translation_names_the_row(monkeypatch):
    """A page that is not where the trace says."""
    wrong = {}

    def map_wrongly(self, gpa, spa, **options):
        wrong.setdefault("page", gpa)
        original(self, gpa, spa ^ (0x1000 if gpa == wrong["page"] else 0), **options)

    original = platform.SecondStage.map
    monkeypatch.setattr(platform.SecondStage, "map", map_wrongly)
    with pytest.raises(TraceFailed, match=r"demo\.csv\.zst: .*(row \d+|belongs to no request)"):
        simulate_trace(TINY, DEMONSTRATION, rows=ROWS)


def test_page_that_is_not_mapped_is_a_failure(monkeypatch):
    monkeypatch.setattr(platform.SecondStage, "map", lambda *_, **__: None)
    with pytest.raises(TraceFailed, match=r"status 1 instead of 0|nothing has moved"):
        simulate_trace(TINY, DEMONSTRATION, rows=40)


def test_sim_verb_writes_a_report(tmp_path, capsys):
    report = tmp_path / "report.json"
    assert main(["sim", "--preset", "tiny", "--rows", "200", "--json", str(report)]) == 0
    content = json.loads(report.read_text())
    assert content["rows"] == 200 and content["configuration"] == "tiny" and content["seed"] == 1
    assert "every address and byte is right" in capsys.readouterr().out


def test_sim_verb_names_a_bad_line(tmp_path, capsys):
    trace = tmp_path / "bad.csv"
    trace.write_text("0,0,mark,-,-,-,-,-,-,-,1,-,-,-\n1,0,dma,100,12\n")
    assert main(["sim", "--preset", "tiny", "--trace", str(trace)]) == 2
    assert "bad.csv, line 2: line must have 14 fields, not 5" in capsys.readouterr().err


def test_sim_verb_falls_back_without_a_compiler(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("iovirt_sim.cli.sim.SLOW_ROWS", 13)
    assert main(["sim", "--preset", "tiny"]) == 0
    printed = capsys.readouterr()
    assert "no-such-compiler was not found" in printed.err.replace("\n", " ")
    assert "13 rows" in printed.err.replace("\n", " ")
    assert main(["sim", "--preset", "tiny", "--simulator", "verilator"]) == 2


def test_hits_take_one_clock_each():
    hits = workloads()[0]
    config = preset("default")
    with open_simulation(Design.of_remap(config)) as sim:
        assert measure(sim, config, hits, 20) == 1.0


def test_hits_pass_while_another_device_misses():
    load = next(load for load in workloads() if load.label == "beside(16)")
    with open_simulation(Design.of_remap(preset("default"))) as sim:
        assert measure(sim, preset("default"), load, 100) > .9


def test_every_workload_has_a_figure_to_compare_with():
    own = {"beside(16)"}
    assert [load.label for load in workloads() if load.label not in own] == list(PEER)


def test_bench_verb_writes_its_list(tmp_path, monkeypatch):
    monkeypatch.setattr("iovirt_sim.bench.translate.workloads",
                        lambda: [load for load in workloads() if load.label in
                                 ("hits()", "rand(8,16)")])
    report = tmp_path / "bench.json"
    assert main(["bench", "translate", "--preset", "tiny", "--latency", "50", "--json",
                 str(report)]) == 0
    content = json.loads(report.read_text())
    assert [set(entry) for entry in content] == [
        {"workload", "parameters", "L", "translations_per_clk", "peer", "configuration",
         "configuration_hash", "seed", "versions"}] * 2
    assert content[1].items() >= {"workload": "rand", "parameters": [8, 16], "L": 50,
                                  "peer": .333, "seed": 12345, "configuration": "tiny"}.items()
