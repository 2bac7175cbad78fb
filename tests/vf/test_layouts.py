import pytest
from amaranth.lib import data

from iovirt.vf import description, layouts, library
from iovirt.vf import templates as reading
from iovirt_sim.models.sharing import layout as model

#: Names of the arrays in the model: one of the layout becomes many.
ARRAYS = {"selectors": "selector", "classes": "class", "addresses": "address", "values": "value"}


def places(shape, prefix="", base=0):
    """Yield (name, lowest bit, width) of every field, named as in the model."""
    for name, field in data.Layout.cast(shape):
        at = base + field.offset
        if isinstance(field.shape, data.ArrayLayout):
            array = field.shape
            for number in range(array.length):
                place = f"{prefix}{ARRAYS[name]}{number}"
                low = at + number * array[0].width
                if isinstance(array.elem_shape, int):
                    yield place, low, array[0].width
                else:
                    yield from places(array.elem_shape, place + ".", low)
        else:
            yield prefix + name, at, field.width


def test_words_of_hardware_and_model_agree():
    assert {name: (low, width) for name, low, width in places(layouts.TemplateWord)} == model.TABLE
    assert data.Layout.cast(layouts.TemplateWord).size == 512
    assert layouts.OPCODES.size == 512


@pytest.mark.parametrize("members, numbers", [
    (layouts.Handler, model.HANDLERS), (layouts.Partial, model.PARTIAL),
    (layouts.Rule, model.RULES), (layouts.Operation, model.OPS),
    (layouts.LengthForm, model.LENGTH_FORMS),
])
def test_numbers_of_hardware_and_model_agree(members, numbers):
    assert {member.name.lower(): member.value for member in members} == numbers


@pytest.mark.parametrize("members, names", [
    (layouts.Handler, reading.HANDLERS), (layouts.Partial, reading.PARTIALS),
    (layouts.Rule, reading.RULES), (layouts.Operation, reading.OPERATIONS),
    (layouts.LengthForm, reading.FORMS),
])
def test_files_can_say_every_choice(members, names):
    assert [member.name.lower() for member in members] == list(names)


def test_table_has_as_many_places_as_its_words_can_name():
    word = data.Layout.cast(layouts.TemplateWord)
    assert library.PLACES == 1 << word["alternative"].width
    assert library.PLACES == 1 << data.Layout.cast(layouts.AddressField)["child"].width
    assert description.Template.__dataclass_fields__["classes"].init is False
