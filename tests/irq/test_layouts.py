import pytest
from amaranth.hdl import Shape

from iovirt.irq.layouts import EventRecord, IrtEntry, event, queue_width

RECORD = {"cookie": (0, 31), "merge_count": (32, 47), "index": (48, 63), "rid": (64, 79),
          "segment": (80, 87), "guest": (88, 103), "more": (104, 104), "data": (128, 159),
          "sequence": (160, 191), "time": (192, 247), "type": (248, 252), "priority": (253, 254),
          "phase": (255, 255)}

ENTRY = {"valid": (0, 0), "delivery": (1, 2), "suspend": (3, 3), "urgent": (4, 4), "merge": (5, 5),
         "multi": (6, 6), "priority": (8, 9), "rid": (16, 31), "rid_mask": (32, 47),
         "segment": (48, 55), "cookie": (64, 95), "guest": (96, 111), "queue": (112, 119),
         "address": (130, 183), "data": (192, 223), "limit": (224, 239), "pending": (255, 255)}


@pytest.mark.parametrize("struct, fields", [(EventRecord, RECORD), (IrtEntry, ENTRY)])
def test_fields_are_where_software_expects_them(struct, fields):
    assert Shape.cast(struct).width == 256
    found = {name: (field.offset, field.offset + field.width - 1)
             for name, field in struct.as_shape() if not name.startswith("reserved")}
    assert found == fields


@pytest.mark.parametrize("queues, width", [(1, 1), (2, 1), (3, 2), (64, 6), (65, 7)])
def test_width_of_a_queue_number(queues, width):
    assert queue_width(queues) == width
    assert event(queue_width=width, tag_width=4)["queue"].width == width
