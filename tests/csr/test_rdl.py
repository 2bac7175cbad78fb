import shutil
from pathlib import Path

import pytest

import iovirt.csr
from iovirt.config import PRESETS, preset
from iovirt.csr import FieldKind, RegisterMapError, load, register_map
from iovirt.csr.file import register_members
from iovirt.pcie.layouts import ErrorCause

REGS = Path(iovirt.csr.__file__).parent / "regs"


def compiled(tmp_path, body):
    shutil.copy(REGS / "properties.rdl", tmp_path)
    path = tmp_path / "small.rdl"
    path.write_text('`include "properties.rdl"\naddrmap small {\n' + body + "\n};\n")
    return load(path)


@pytest.mark.parametrize("body, message", [
    ('reg { field { sw=rw; hw=r; desc="d"; legal_max=3; } f[9:4] = 0; } x @ 0;',
     r"^Field small\.x\.f with legal_max must be within one byte, not in bits 9:4$"),
    ('reg { field { sw=r; hw=w; desc="d"; legal_max=3; } f[3:0]; } x @ 0;',
     r"^Field small\.x\.f with legal_max must be storage, not wire$"),
    ('reg { field { sw=rw; hw=r; } f[3:0] = 0; } x @ 0;', r"^Field small\.x\.f must have a desc$"),
    ('reg { field { sw=rw; hw=w; desc="d"; } f[3:0]; } x @ 0;',
     r"^Field small\.x\.f must be of a kind that the register bank knows"),
    ('reg { regwidth=64; field { sw=r; hw=r; desc="d"; } f[3:0] = 0; } x @ 4;',
     r"^Register small\.x must be naturally aligned and of 4 or 8 bytes, not of 8 bytes at 0x4$"),
    ('reg { regwidth=64; field { sw=rw; counter; desc="d"; } f[9:0] = 0; '
     'field { sw=r; hw=r; desc="d"; } g[20:20] = 0; } x @ 0;',
     r"^Counter small\.x must be the only field of its register$"),
    ('reg { regwidth=64; field { sw=rw; counter; desc="d"; } f[9:0] = 0; } x @ 8;',
     r"^Register x must be a 64-bit counter at offset 0x0, because its page holds counters$"),
    ('regfile { reg { field { sw=r; hw=r; desc="d"; } f[3:0] = 0; } x; } a @ 0; '
     'regfile { reg { field { sw=r; hw=r; desc="d"; } f[3:0] = 0; } x; } b @ 4;',
     r"^Register names must be unique over all pages, not twice 'x'$"),
])
def test_source_that_the_bank_cannot_build_is_refused(tmp_path, body, message):
    with pytest.raises(RegisterMapError, match=message):
        compiled(tmp_path, body)


def test_register_with_the_name_of_a_port_is_refused(tmp_path):
    made = compiled(tmp_path, 'reg { field { sw=rw; hw=r; desc="d"; } f[3:0] = 0; } bus @ 0;')
    with pytest.raises(RegisterMapError, match=r"^Register must not have the name of a port"):
        register_members(made.registers)


@pytest.mark.parametrize("name", PRESETS)
def test_registers_of_the_architecture_are_where_it_says(name):
    made = register_map(preset(name))
    assert {register.name: (register.address, register.width) for register in made.of_page(0)} == {
        "capabilities": (0, 64), "fctl": (8, 32), "ddtp": (16, 64), "cqb": (24, 64),
        "cqh": (32, 32), "cqt": (36, 32), "fqb": (40, 64), "fqh": (48, 32), "fqt": (52, 32),
        "cqcsr": (72, 32), "fqcsr": (76, 32), "ipsr": (84, 32), "tr_req_iova": (600, 64),
        "tr_req_ctl": (608, 64), "tr_response": (616, 64), "icvec": (760, 64)}


@pytest.mark.parametrize("name, value", [
    ("tiny", 0x28_9002_0010), ("default", 0x2e_9006_0010), ("large", 0x38_900e_0010)])
def test_capabilities_follow_the_configuration(name, value):
    fields = register_map(preset(name))["capabilities"].fields
    assert sum(field.reset << field.low for field in fields) == value


def test_every_error_cause_has_a_counter_in_its_order():
    counters = [register.name for register in register_map(preset("default")).counters
                if register.name.startswith("error_")]
    assert counters == [f"error_{cause.name.lower()}" for cause in ErrorCause if cause.value]


def test_directory_names_the_pages_that_are_built():
    made = register_map(preset("default"))
    entry = lambda name: tuple(field.reset for field in made[f"directory_{name}"].fields)
    assert entry("control") == (2, 1, 0) and made["error_status"].page == 2
    assert entry("counters") == (3, 1, 8) and made["requests"].page == 3
    assert entry("pio") == (4, 1, 0) and made["ecam_window"].page == 4
    assert entry("interrupts") == (5, 1, 0) and made["msi_window_32"].page == 5
    for name, window, size in ("eq_control", "queue", 64), ("irt", "irt", 32), ("eq_guest", "guest",
                                                                               4096):
        assert entry(name) == (*made.windows[window], size)
    assert entry("vf_control") == (made.windows["share_guest"][0], 64, 64)
    assert entry("vf_guest") == (*made.windows["share_page"], 4096)


def test_blocks_that_are_left_out_have_no_pages():
    made  = register_map(preset("default").replace(vf={"enable": False}, irq={"enable": False},
                                                pio={"enable": False}))
    entry = lambda name: tuple(field.reset for field in made[f"directory_{name}"].fields)
    assert (made.pages, made.windows) == ([0, 1, 2, 3], {})
    for name in ("irt", "eq_control", "eq_guest", "pio", "interrupts", "vf_control", "vf_guest"):
        assert entry(name) == (0, 0, 0)
    assert not any(field.reset for name in ("irq_geometry", "pio_geometry")
                   for field in made[name].fields)


def test_registers_of_an_array_have_numbers(tmp_path):
    made = compiled(tmp_path, 'reg { field { sw=rw; hw=r; desc="d"; } f[3:0] = 0; } x[2] @ 0 += 8;')
    assert [(register.name, register.address) for register in made.registers] == [
        ("x_0", 0), ("x_1", 8)]


def test_external_registers_are_windows_that_start_at_a_page(tmp_path):
    body = ('external regfile {{ reg {{ field {{ sw=rw; hw=r; desc="d"; }} f[3:0]; }} y @ 0; }} '
            'x[3] @ {} += 4096;')
    made = compiled(tmp_path, body.format("0x2000"))
    assert (made.registers, made.windows) == ((), {"x": (2, 3)})
    with pytest.raises(RegisterMapError, match=r"^External x must start at a page, not at"):
        compiled(tmp_path, body.format("0x10"))


def test_only_the_identification_page_is_read_only():
    made = register_map(preset("default"))
    assert (made.pages, made.read_only_pages, made.counter_pages) == ([*range(7)], [1], [3])


def test_prefetch_cannot_be_switched_on_if_it_is_not_built():
    config = preset("default").replace(remap={"prefetch": False})
    field  = register_map(config)["features"]["prefetch"]
    assert (field.kind, field.reset, field.legal_max) == (FieldKind.STORAGE, 0, 0)
