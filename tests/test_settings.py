import pytest

from iovirt import PRESETS, ConfigError, preset
from iovirt.config import Config, DmaConfig, RemapConfig
from iovirt.settings import SettingsError, load_config, read_toml, write_toml


@pytest.mark.parametrize("name", PRESETS)
def test_written_file_reads_back(name, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(write_toml(preset(name)))
    assert read_toml(path) == preset(name)


@pytest.mark.parametrize("text, message", [
    ("data_widht = 64", r"a\.toml: data_widht must be a known key.*did you mean 'data_width'\?"),
    ("[remap]\niotlb_tag = 64",
     r"remap\.iotlb_tag must be a known key.*did you mean 'remap\.iotlb_tags'\?"),
    ("[remap]\niotlb_tags = '64'", r"remap\.iotlb_tags must be an integer, not '64'"),
    ("[remap]\niotlb_tags = true", r"remap\.iotlb_tags must be an integer, not True"),
    ("[remap]\niotlb_tags = 100", r"iotlb_tags must be a power of two in 8\.\.4096, not 100"),
    ("[remap]\niotlb_tags = 8", r"remap\.iotlb_tags must be at least 4 sets of remap\.iotlb_ways"),
    ("[remap]\nprefetch = 1", r"remap\.prefetch must be true or false, not 1"),
    ("[remap]\nsecond_stage = ['Sv48x4']", r"remap\.second_stage must be a prefix of"),
    ("[dma]\ncache = 1", r"dma\.cache must be a non-bufferable AxCACHE"),
    ("remap = 3", r"remap must be a table, not 3"),
    ("preset = 'tinny'", r"preset must be one of tiny, default, large.*did you mean 'tiny'\?"),
    ("data_width = 64\n[pcie]\nmax_payload_bytes = 2048",
     r"pcie\.max_payload_bytes must be at most 1024 with data_width = 64"),
    ("data_width = 96", r"data_width must be one of 64, 128, 256, 512, not 96"),
    ("name = 'a b'", r"name must be an identifier, not 'a b'"),
    ("= 3", r"a\.toml: file must be TOML"),
])
def test_wrong_file_is_refused(text, message, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_toml(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"b\.toml: file must be readable: No such file"):
        load_config(None, tmp_path / "b.toml")


def test_unknown_preset_is_refused():
    with pytest.raises(SettingsError, match=r"must be one of .*did you mean 'large'\?"):
        load_config("larg")


def test_preset_and_file_exclude_each_other():
    with pytest.raises(SettingsError, match=r"^Only one of"):
        load_config("tiny", "a.toml")


def test_sections_are_checked_when_made():
    with pytest.raises(ConfigError, match=r"dma\.writes must be a power of two"):
        DmaConfig(writes=3)
    with pytest.raises(ConfigError, match=r"remap\.walks must be an integer in 2\.\.64, not 0"):
        RemapConfig(walks=0)


def test_hash_covers_values_but_not_the_name():
    assert Config().hash == Config(name="other").hash
    assert Config().hash != Config().replace(remap={"walks": 5}).hash
