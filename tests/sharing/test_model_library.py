"""The compiled templates of the library, run by the interpreter of the model."""

import pytest

from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import load_templates
from iovirt_sim.models.sharing import world
from iovirt_sim.models.sharing.campaign import run
from iovirt_sim.models.sharing.template import Template

NAMES = ["nvme_prp", "nvme_sgl", "nvme_prp_list", "nvme_sgl_segment", "nvme_dsm_ranges", "nvme_cq",
         "e1000e_tx", "e1000e_rx"]


def library():
    slots = {name: slot for slot, name in enumerate(NAMES)}
    templates = load_templates(NAMES)
    templates = templates if isinstance(templates, dict) else {t.name: t for t in templates}
    return [Template(encode_template(templates[name], slots), encode_opcodes(templates[name]))
            for name in NAMES]


@pytest.mark.parametrize("lists", ["exact", "page", 64, 8])
def test_compiled_templates_do_not_breach(lists, monkeypatch):
    templates = library()
    monkeypatch.setattr(world, "build", lambda last_slot: templates)
    played = run(400, seed=4, sgl=.4, options={"lists": lists, "shuffle": True})
    assert not played.monitor.breaches
    assert sum(status == 0 for _, _, status in played.device.executed) > 30


def test_compiled_templates_hold_no_halves_of_ranges():
    for template in library():
        if template.handler == "range_list":
            assert not template.halves(bytes(16))
