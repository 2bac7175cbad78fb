"""Template words of the shipped devices, built from the table of :mod:`.layout` by hand.

Classes of the NVMe entries: 1 data and blocks, 2 blocks without data, 3 flush, 4 range list, 5 data
by an SGL segment. Parameters of a guest: 0 namespace, 2 first block, 3 number of blocks, 4 VLAN tag
and 5 largest segment of a NIC.
"""

from .layout import HANDLERS, LENGTH_FORMS, OPS, PARTIAL, RULES, pack, pack_opcodes
from .template import Template

__all__ = ["KIND_TEMPLATES", "NUMBERS", "build"]

NUMBERS = {"nvme_prp": 0, "nvme_sgl": 1, "prp_list": 2, "sgl_list": 3, "dsm_list": 4, "nvme_cq": 5,
           "nic_tx": 6, "nic_rx": 7}
#: Which template patches a list, by the kind of its address.
KIND_TEMPLATES = {1: 2, 2: 3, 3: 3, 4: 4}

#: Reserved, without data; 7F would be a command of NVMe over fabrics.
SAFE = 0x70
FLUSH, WRITE, READ, UNCORRECTABLE, COMPARE, ZEROES, DSM, VERIFY = 0, 1, 2, 4, 5, 8, 9, 12
#: Opcode classes: 1 blocks and flush (selector), 2 data and blocks, 3 range list.
OPCODES = pack_opcodes({FLUSH: 1, ZEROES: 1, VERIFY: 1, WRITE: 2, READ: 2, COMPARE: 2, DSM: 3})


def classes(*numbers):
    """Return the set of classes as bits."""
    return sum(1 << number - 1 for number in numbers)


def group(prefix, **fields):
    """Name the fields of one group of the table, enabled."""
    return {f"{prefix}.{name}": value for name, value in {"enable": 1, **fields}.items()}


def _class_table(assign):
    """Fill the table from (opcode class, sel0, sel1, sel2 or None for both) -> class."""
    table = {}
    for (number, *wanted), result in assign.items():
        for index in range(8):
            if all(want is None or want == index >> n & 1 for n, want in enumerate(wanted)):
                table[f"class{8 * number + index}"] = result
    return table


def _entry(name, last_slot):
    """Fields common to both templates of NVMe submission entries."""
    blocks = {"length_dword": 12, "zero_based": 1}
    return {
        "valid": 1, "entry_size": 3, "handler": HANDLERS["ring"], "once": 1,
        "partial": PARTIAL["widen"], "no_cross": 12, "last_slot": last_slot,
        "opcode_enable": 1, "opcode_byte": 0, "keep": 2, "keep_bytes": 2, "safe_opcode": SAFE,
        # CDW2, CDW3, and the upper half of CDW13
        "zero_mask": 0b1111 << 4 | 1 << 27,
        # MPTR is always poison; with an SGL, this field limits the transfer and tells its cost.
        **group("address2", dword=4, wide=1, rule=RULES["none"], queue_shift=1, max_length=8,
                classes=classes(1, 5) if name == "nvme_sgl" else 0, **blocks),
        **group("value0", dword=1, width=31, op=OPS["force"], parameter=0,
                classes=classes(1, 2, 3, 4, 5)),
        **group("value1", dword=10, width=63, op=OPS["range_add"], parameter=2,
                classes=classes(1, 2, 5), **blocks),
        **group("selector0", byte=1, mask=0xc3, value=0x40 if name == "nvme_sgl" else 0),
    }


def _nvme_prp(last_slot):
    length = {"length_dword": 12, "zero_based": 1, "queue_shift": 1, "max_length": 8}
    return pack({
        **_entry("nvme_prp", last_slot), "alternative_enable": 1, "alternative": 1,
        **group("selector1", byte=0, mask=0xff, value=FLUSH),
        # CDW12: not the whole namespace (NSZ of Write Zeroes), no directive, no extension
        **group("selector2", byte=50, mask=0xff, value=0),
        **_class_table({(1, 1, 0, 1): 2, (1, 1, 1, None): 3, (2, 1, None, 1): 1,
                        (3, 1, None, None): 4}),
        **group("address0", dword=6, wide=1, classes=classes(1), force_low=2, **length),
        **group("address1", dword=8, wide=1, classes=classes(1), force_low=3, child=2,
                rule=RULES["prp2"], reference=0, **length),
        **group("address3", dword=6, wide=1, classes=classes(4), force_low=4, child=4,
                rule=RULES["range_list"], length_dword=10, zero_based=1, shift=4, max_length=0),
    })


def _nvme_sgl(last_slot):
    return pack({
        **_entry("nvme_sgl", last_slot),
        **group("selector1", byte=39, mask=0xff, value=0),
        **group("selector2", byte=39, mask=0xef, value=0x20),
        **_class_table({(2, 1, 1, 0): 1, (2, 1, 0, 1): 5}),
        **group("address0", dword=6, wide=1, classes=classes(1), max_length=15),
        **group("address1", dword=6, wide=1, classes=classes(5), force_low=3, child=3,
                rule=RULES["typed_list"], length_dword=8, length_form=LENGTH_FORMS["full32"],
                max_length=15),
    })


def _sgl_list():
    return pack({
        "valid": 1, "entry_size": 1, "handler": HANDLERS["typed_list"], "partial": PARTIAL["widen"],
        "align": 3, "no_cross": 12, "opcode_enable": 1, "opcode_byte": 15,
        **_class_table({(n, None, None, None): n for n in (1, 2, 3)}),
        **group("address0", dword=0, wide=1, classes=classes(1), max_length=15),
        **group("address1", dword=0, wide=1, classes=classes(3), force_low=3, child=3,
                rule=RULES["typed_list"], length_dword=2, length_form=LENGTH_FORMS["full32"],
                max_length=15),
    })


def _dsm_list():
    return pack({
        "valid": 1, "entry_size": 1, "handler": HANDLERS["range_list"],
        "partial": PARTIAL["reject"], "align": 4, "no_cross": 12, "class0": 1,
        **group("value0", dword=2, width=63, op=OPS["range_add"], parameter=2, classes=classes(1),
                length_dword=1, length_form=LENGTH_FORMS["full32"]),
    })


def _nic_tx():
    """Describe e1000e transmit descriptors; classes: 1 legacy and data, 2 context."""
    return pack({
        "valid": 1, "entry_size": 1, "handler": HANDLERS["ring"], "device_writes": 1, "once": 1,
        "partial": PARTIAL["widen"], "no_cross": 12,
        **group("selector0", byte=11, mask=0x20, value=0x20),
        **group("selector1", byte=10, mask=0xf0, value=0x00),
        **_class_table({(0, 0, None, None): 1, (0, 1, 0, None): 1, (0, 1, 1, None): 2}),
        **group("address0", dword=0, wide=1, classes=classes(1), max_length=15),
        **group("address1", dword=0, wide=1, classes=classes(2), rule=RULES["plain"],
                max_length=15),
        **group("value0", dword=3, low=16, width=15, op=OPS["force"], parameter=4,
                classes=classes(1)),
        **group("value1", dword=3, low=16, width=15, op=OPS["max"], parameter=5,
                classes=classes(2)),
    })


def _nic_rx():
    """Describe e1000e packet-split receive descriptors: four addresses."""
    return pack({
        "valid": 1, "entry_size": 2, "handler": HANDLERS["ring"], "device_writes": 1, "once": 1,
        "partial": PARTIAL["widen"], "no_cross": 12, "class0": 1,
        **{key: value for n in range(4) for key, value in
           group(f"address{n}", dword=2 * n, wide=1, classes=classes(1), max_length=15).items()},
    })


def build(last_slot=1):
    """Return the eight templates by number; `last_slot`: slot 511 of a PRP list may hold data."""
    cq = pack({"valid": 1, "entry_size": 1, "handler": HANDLERS["ring"], "device_writes": 1})
    lists = pack({"valid": 1, "handler": HANDLERS["prp_list"], "partial": PARTIAL["widen"],
                  "align": 3, "no_cross": 12, "last_slot": last_slot})
    types = pack_opcodes({0x00: 1, 0x10: 2, 0x20: 3, 0x30: 3})
    return [Template(_nvme_prp(last_slot), OPCODES), Template(_nvme_sgl(last_slot), OPCODES),
            Template(lists), Template(_sgl_list(), types), Template(_dsm_list()), Template(cq),
            Template(_nic_tx()), Template(_nic_rx())]
