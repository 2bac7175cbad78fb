import gzip
import json

import pytest

from iovirt_sim.models.target import ModelTarget
from iovirt_sim.models.translate import Capabilities
from iovirt_sim.vectors import Case, Failure, Traits, VectorError, load_cases, run_case

CASE = {"id": "a-0", "tags": [], "needs": ["Sv39x4"], "needs_not": ["ATS"], "caps": "0x10000010",
        "pas": 46, "max_pa": "0x1000", "cq": ["0x1000", 2], "fq": ["0x2000", 2], "mem": [],
        "bad": [], "regs": [[40, 8, "0x801"], [48, 4, "0x0"], [76, 4, "0x1"]],
        "ops": [{"op": "req", "did": "0x1", "pv": 0, "pid": "0x0", "priv": 0, "exec": 0, "write": 0,
                 "at": "untranslated", "iova": "0x5000", "len": 4,
                 "exp": {"st": "ur", "cause": 256, "fqt": 1,
                         "faults": [["0x10800000100", "0x0", "0x5000", "0x0"]]}}]}


def case(**changes):
    """Make a case that the model passes, with changes."""
    return Case.parse({**CASE, **changes})


def expecting(**changes):
    """Make the case with another expectation of its request."""
    op = CASE["ops"][0]
    return case(ops=[{**op, "exp": {**op["exp"], **changes}}])


def test_case_passes():
    run_case(case(), ModelTarget(Capabilities()))


@pytest.mark.parametrize("changes, message", [
    ({"st": "ok"}, r"a-0 op 0 req : status must be 'ok', is 'ur'"),
    ({"cause": 257}, r"cause must be 0x101, is 0x100"),
    ({"fqt": 2}, r"fqt must be 0x2, is 0x1"),
    ({"faults": [["0x0", "0x0", "0x5000", "0x0"]]}, r"fault record must be"),
    ({"mem": [["0x3000", "0x1"]]}, r"memory writes must be"),
])
def test_each_expectation_can_fail(changes, message):
    with pytest.raises(Failure, match=message):
        run_case(expecting(**changes), ModelTarget(Capabilities()))


@pytest.mark.parametrize("changes, applies", [
    ({}, True),
    ({"needs": ["Sv57x4"]}, False),
    ({"needs_not": ["DBG"]}, False),
    ({"max_pa": hex(1 << 46)}, False),
    ({"tags": ["pas_exact"], "pas": 46}, True),
    ({"tags": ["pas_exact"], "pas": 50}, False),
    ({"tags": ["model_cache_dep"]}, False),
    ({"tags": ["irq"], "caps": "0x10"}, False),
    ({"tags": ["ddt3"]}, False),
])
def test_selection_follows_the_rules_of_the_format(changes, applies):
    traits = Traits(frozenset({"Sv39x4", "Sv48x4", "DBG"}), 46, ddt_levels=2)
    assert traits.applies(case(**changes)) == applies


@pytest.mark.parametrize("text, message", [
    ("{", r"a\.jsonl:1: line must be a case"),
    (json.dumps({"id": "x"}), r"a\.jsonl:1: case must have key '(tags|needs)'"),
    (json.dumps({k: v for k, v in CASE.items() if k != "ops"}), r"case must have key 'ops'"),
])
def test_wrong_file_is_named(text, message, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(VectorError, match=message):
        list(load_cases(path))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(VectorError, match=r"b\.jsonl\.gz: file must be readable"):
        list(load_cases(tmp_path / "b.jsonl.gz"))


def test_compressed_file_is_read(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(CASE).encode()))
    assert [c.id for c in load_cases(path)] == ["a-0"]
