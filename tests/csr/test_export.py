import shutil
import subprocess
from pathlib import Path

import pytest

from iovirt.config import PRESETS, preset
from iovirt.csr.export import c_header, main, markdown, write_c_header, write_markdown

DOCUMENT = Path(__file__).parents[2] / "docs" / "registers.md"


def test_register_document_of_the_repository_is_up_to_date():
    assert DOCUMENT.read_text() == markdown(preset("default")), (
        "run: python -m iovirt.csr.export --preset default docs/registers.md")


@pytest.mark.parametrize("name", PRESETS)
def test_documents_are_the_same_every_time(name):
    assert c_header(preset(name)) == c_header(preset(name))
    assert markdown(preset(name)) == markdown(preset(name))
    for text in (c_header(preset(name)), markdown(preset(name))):
        assert str(Path.cwd()) not in text and "/tmp" not in text


def test_document_describes_every_register_and_field():
    text = markdown(preset("default"))
    for expected in ("### ddtp register", "#### iommu_mode field", "rw, woclr",
                     "### hits register"):
        assert expected in text


def test_command_writes_the_document_of_a_preset(tmp_path):
    main(["--preset", "tiny", str(tmp_path / "registers.md")])
    write_markdown(preset("tiny"), tmp_path / "again.md")
    assert (tmp_path / "registers.md").read_text() == (tmp_path / "again.md").read_text()


def test_header_says_where_registers_and_bits_are(tmp_path):
    write_c_header(preset("default"), tmp_path / "iovirt.h")
    source = tmp_path / "use.c"
    source.write_text("""
        #include "iovirt.h"
        #include <stddef.h>
        static_assert(offsetof(iovirt_t, iommu.ddtp) == 0x10, "ddtp");
        static_assert(offsetof(iovirt_t, identification.magic) == 0x1000, "magic");
        static_assert(offsetof(iovirt_t, counters.hits) == 0x3008, "hits");
        static_assert(IOVIRT__IOMMU__CQCSR__CQON_bm == 0x10000, "cqon");
        int main(void) { return 0; }
    """)
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler:
        subprocess.run([compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", source],
                       check=True)
    else:
        assert "#define IOVIRT__IOMMU__CQCSR__CQON_bm 0x10000" in c_header(preset("default"))
