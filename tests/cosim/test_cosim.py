"""The generated Verilog with parts that are not ours; the cases are in the other files here."""

import re
from pathlib import Path

import pytest

from iovirt import preset
from iovirt.export import module_name, verilog_of
from iovirt_sim.cosim.runner import Model

from .defects import DEFECTIVE, with_defect

pytestmark = [pytest.mark.cocotb, pytest.mark.icarus, pytest.mark.xdist_group("cosim")]

PRESET = "tiny"
TOP    = module_name(preset(PRESET))


def cases_of(name):
    """Yield the tests in a file of this directory."""
    text = Path(__file__).with_name(f"{name}.py").read_text()
    for case in re.findall(r"^@cocotb\.test.*\nasync def (\w+)", text, re.MULTILINE):
        yield name, case


@pytest.fixture(scope="session")
def verilog():
    """Return the Verilog of the smallest preset."""
    return verilog_of(preset(PRESET))


@pytest.fixture(scope="session")
def model(verilog, tmp_path_factory):
    """Return its compiled model."""
    return Model(verilog, TOP, tmp_path_factory.mktemp("cosim"))


@pytest.mark.parametrize("module, case", [
    case for name in ("dma_cases", "irq_cases", "pio_cases", "pio_error_cases")
    for case in cases_of(name)])
def test_case_passes(model, module, case, tmp_path):
    passed, log = model.run(f"tests.cosim.{module}", case, directory=tmp_path, preset=PRESET)
    assert passed, log


#: Port, what it becomes, the case that fails, and what its log says.
DEFECTS = [
    ("dma__awaddr", "{} ^ 40'h1000",
     "dma_cases.reads_and_writes_reach_the_mapped_pages", "assert b'"),
    ("tx__hdr", "{} ^ (128'h1 << 38)",
     "dma_cases.functions_share_the_link_and_keep_to_their_own_pages", "address is 0x"),
    ("dma__rdata", "{} ^ 64'h80",
     "dma_cases.functions_share_the_link_and_keep_to_their_own_pages", "assert b'"),
    ("tx__hdr", "{} | (128'h1 << 3)",
     "dma_cases.what_is_not_mapped_is_refused_and_recorded", "a header of 3 DW is left-justified"),
    ("table__wdata", "{} ^ 64'h1",
     "dma_cases.what_is_not_mapped_is_refused_and_recorded", "await hypervisor.faults"),
    ("np_release", "rx__valid & rx__ready & ~rx__hdr[126]",
     "dma_cases.writes_pass_reads_that_memory_does_not_answer", "every read was taken"),
    ("tx_fc_cplh", "{} | 8'hff",
     "dma_cases.completions_keep_to_the_credits_of_the_device", "no credit for"),
    ("tx_fc_cpld", "{} | 12'hfff",
     "dma_cases.completions_keep_to_the_credits_of_the_device", "no credit for"),
    ("table__wdata", "{} ^ 64'h1",
     "irq_cases.each_vector_becomes_a_record_after_the_data_before_it", "record.cookie"),
    ("pio__rdata", "{} ^ 64'h1",
     "pio_cases.functions_are_found_and_get_addresses", "must not form a loop"),
    ("tx__hdr", "{} ^ ({}[127:120] == 8'h40 ? 128'h1 << 64 : 128'h0)",
     "pio_cases.loads_and_stores_reach_exactly_their_bytes", "touched"),
    ("rx__data", "{} ^ (rx__hdr[127:120] == 8'h4a & rx__hdr[105:96] > 1 ? 64'h1 : 64'h0)",
     "pio_cases.reads_of_many_cores_get_their_own_data", "await host.load"),
]


@pytest.mark.parametrize("port, expression, case, what", DEFECTS)
def test_the_cases_see_defects(verilog, port, expression, case, what, tmp_path):
    defective = with_defect(verilog, TOP, port, expression)
    model = Model(defective, DEFECTIVE, tmp_path / "build")
    module, case = case.split(".")
    passed, log = model.run(f"tests.cosim.{module}", case, directory=tmp_path, preset=PRESET)
    assert not passed
    assert what in log, log
