"""Whose a request is and what becomes of it, in plain Python, from the description."""

from dataclasses import dataclass

from iovirt_sim.drivers.sharing_words import KINDS, Addresses, GuestEntry

OFF, RUN, FREEZE, DRAIN, QUARANTINE = range(5)
KEY, ADDRESS, TABLE = 1, 2, 6
COLOUR, RID, PASID = range(3)
LISTS = {KINDS[name] for name in ("prp_list", "typed_list", "typed_list_8", "range_list")}


@dataclass
class Guest:
    """A guest, as the table knows it."""

    entry:  GuestEntry
    state:  int = RUN
    fatal:  int = 0
    broken: int = 0


@dataclass
class Shared:
    """A shared function."""

    mode:        int = COLOUR
    segment:     int = 0
    rid:         int = 0
    first_guest: int = 0
    count:       int = 0
    stride_log2: int = 0
    pasid:       int = 0
    valid:       int = 1
    prp_list:    int = 1
    typed_list:  int = 2
    range_list:  int = 3


@dataclass
class Verdict:
    """What becomes of a request. ``ring``: {field: content} of the question, if one is asked."""

    shared:  int = 0
    guest:   int = 0        # number, or colour of the address
    cause:   int = 0
    own:     bool = False   # goes on as the guest's
    ring:    dict = None
    parts:   dict = None    # of the address, if it has any
    index:   int = 0


class Model:
    """Functions, guests and the layout of addresses."""

    def __init__(self, functions, guests, *, offset_bits=40, key_bits=12, table=64):
        self.functions, self.guests, self.table = functions, guests, table
        self.addresses = Addresses(offset_bits, key_bits)
        self.width = offset_bits + 12 + key_bits

    def find(self, request):
        """Return (index, number of the virtual function) of a requester, or None."""
        segment, rid = divmod(request["device_id"], 1 << 16)
        for index, function in enumerate(self.functions):
            if not function.valid or segment != function.segment:
                continue
            if function.mode == RID:
                number, rest = divmod(rid - function.rid, 1 << function.stride_log2)
                if not rest and 0 <= number < function.count:
                    return index, number
            elif rid == function.rid:
                return index, None
        return None

    def judge(self, request):
        """Return the verdict on a request, but for what its ring says."""
        found = self.find(request)
        if found is None or request["bypass"]:
            return Verdict()
        index, number = found
        function = self.functions[index]
        if function.mode == COLOUR:
            return self._coloured(request, index)
        if function.mode == PASID:
            number = request["pid"] - function.pasid
            if not request["pv"] or not 0 <= number < function.count:
                return Verdict()
        guest  = function.first_guest + number
        outlaw = request["at"] or (request["pv"] and function.mode == RID)
        verdict = Verdict(shared=1, guest=guest & 0xff, index=index)
        return self._admit(verdict, guest, outlaw)

    def _coloured(self, request, index):
        address = request["iova"]
        parts = self.addresses.unpack(address & (1 << self.width) - 1)
        outlaw = request["at"] or request["pv"]
        if not parts["colour"]:
            if outlaw or address >> self.addresses.offset_bits:
                return Verdict(shared=1, cause=KEY, parts=parts, index=index)
            return Verdict()
        kind, ring = parts["kind"], parts["kind"] == KINDS["ring"]
        stray = (parts["guard"] or kind in (6, 7) or (request["write"] and kind in LISTS)
                 or (ring and parts["offset"] >> 33))
        verdict = Verdict(shared=1, guest=parts["colour"], parts=parts, index=index)
        self._admit(verdict, parts["colour"], outlaw or address >> self.width,
                    key=parts["key"], stray=stray)
        if verdict.own and ring:
            verdict.ring = self._question(verdict, request)
        return verdict

    def _admit(self, verdict, number, outlaw, *, key=None, stray=False):
        guest = self.guests.get(number, Guest(GuestEntry(0, 0, 0), OFF))
        mask  = (1 << self.addresses.key_bits) - 1
        if outlaw or not 0 < number < self.table:
            verdict.cause = KEY
        elif guest.broken:
            verdict.cause = TABLE
        elif (guest.state in (OFF, QUARANTINE) or guest.entry.function != verdict.index
              or (key is not None and key != guest.entry.key & mask)):
            verdict.cause = KEY
        elif stray:
            verdict.cause = ADDRESS
        else:
            verdict.own = True
        return verdict

    @staticmethod
    def _question(verdict, request):
        offset = verdict.parts["offset"]
        return {"write": request["write"], "pair": offset >> 23, "side": offset >> 22 & 1,
                "colour": verdict.guest, "function": verdict.index,
                "offset": offset & (1 << 22) - 4, "length": 4 * request["length_dw"],
                "empty": request["empty"]}

    def device(self, verdict):
        """Return under which device a request of a guest is translated."""
        entry = self.guests[verdict.guest].entry
        ring  = verdict.parts and verdict.parts["kind"] == KINDS["ring"]
        return entry.ring_device_id if ring else entry.device_id

    def read(self, verdict, request, answer):
        """Return (patch, size_log2, phase) of a read."""
        kind = verdict.parts["kind"] if verdict.parts else 0
        if not verdict.shared or (kind not in LISTS and kind != KINDS["ring"]):
            return 0, 0, 0
        size = int(kind != KINDS["prp_list"])
        if kind == KINDS["ring"]:
            size = answer["size_log2"] if answer and answer["valid"] else 0
        return 1, size, int(kind == KINDS["typed_list_8"])

    def template(self, verdict):
        """Return the template of a list."""
        function = self.functions[verdict.index]
        names = {KINDS["prp_list"]: "prp_list", KINDS["range_list"]: "range_list"}
        return getattr(function, names.get(verdict.parts["kind"], "typed_list"))
