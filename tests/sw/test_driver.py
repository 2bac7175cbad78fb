"""The C driver: it compiles without warnings, and does what it promises on a model of the block."""

import re
import shutil

import pytest

from iovirt import preset
from iovirt.csr.export import write_c_header

from .builds import (
    DRIVER,
    FLAGS,
    HERE,
    SCENARIOS,
    build_scenarios,
    compiler,
    run,
    write_header,
)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return build_scenarios(tmp_path_factory.mktemp("model"), "model", "-fno-sanitize-recover=all",
                           "-fsanitize=undefined,address")


@pytest.mark.parametrize("name", ["tiny", "default", "large"])
@pytest.mark.parametrize("source", sorted(path.name for path in (DRIVER / "src").glob("*.c")))
def test_source_compiles_without_a_warning_and_without_a_library(source, name, tmp_path):
    write_header(tmp_path, name)
    run(compiler(), *FLAGS, "-Wconversion", "-ffreestanding", f"-I{DRIVER / 'include'}",
        f"-I{tmp_path}", "-c", DRIVER / "src" / source, "-o", tmp_path / "it.o")


def test_register_header_may_have_the_name_that_gen_gives_it(tmp_path):
    write_c_header(preset("default"), tmp_path / "iovirt_default.h")
    run(compiler(), *FLAGS, f"-I{DRIVER / 'include'}", f"-I{tmp_path}",
        '-DIOVIRT_REGISTERS="iovirt_default.h"', "-c", DRIVER / "src" / "iovirt_irq.c", "-o",
        tmp_path / "it.o")


@pytest.mark.parametrize("header", sorted(path.name for path in (DRIVER / "include").glob("*.h")))
def test_header_is_legal_cxx_on_its_own(header, tmp_path):
    main = tmp_path / "main.cpp"
    main.write_text(f'#include "{header}"\n#include "{header}"\nint main() {{ return 0; }}\n')
    run(shutil.which("g++"), "-std=c++17", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wshadow",
        f"-I{DRIVER / 'include'}", "-fsyntax-only", main)


def test_scenarios_are_all_run(program):
    assert run(program).split() == list(SCENARIOS)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_driver_on_a_model(program, scenario, seed):
    assert "clocks" in run(program, scenario, seed)


def test_names_in_the_documentation_exist():
    headers = " ".join(path.read_text() for path in (DRIVER / "include").glob("*.h"))
    text = (DRIVER.parent / "docs" / "programming.md").read_text()
    known = set(re.findall(r"\b(?:iovirt|IOVIRT)_\w+", headers))
    named = set(re.findall(r"\b(?:iovirt|IOVIRT)_\w+(?=\(|`)|\bIOVIRT_\w+", text))
    assert len(named) > 30
    assert named - known - {"IOVIRT_REGISTERS"} == set()


def test_lines_are_short():
    for path in [*DRIVER.rglob("*.[ch]"), *HERE.glob("*.[ch]")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert len(line) <= 100 and line == line.rstrip(), f"{path.name}:{number}"
