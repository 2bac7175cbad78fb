"""Drive a walker, and compare all that it sends with the reference model."""

from .models.translate import Capabilities, Request, find_context, second_stage, translate
from .models.translate import Fault as ModelFault

__all__ = ["WalkBench"]

#: Causes that tc.DTF does not silence.
ALWAYS_REPORTED = {256, 257, 258, 259, 268}
#: Causes that are a completer abort for an ATS request.
ABORTS = {1, 5, 7, 268, 274}
ATS = {"untranslated": 0, "ats": 1, "translated": 2}


class WalkBench:
    """Testbenches of the ports of a walker.

    What is expected is computed when a walk ends. While tables change, ``older`` holds what the
    memory was before: a walk may have seen that.

    Parameters
    ----------
    dut : Walker
    tables : ScatteredTables
    rng : random.Random
    gap : function that returns for how many clocks an output is not accepted.
    """

    def __init__(self, dut, tables, rng, *, gap=lambda: 0):
        self.dut, self.tables, self.rng, self.gap = dut, tables, rng, gap
        self.remap = dut.remap
        self.caps  = Capabilities(pas=dut.remap.physical_address_bits,
                                  second_stage=dut.remap.second_stage,
                                  ddt_levels=dut.remap.ddt_levels)
        self.running = {}   # slot: (Request, fault records seen)
        self.free    = list(range(1 << dut.slot_width))
        self.faults, self.answers = [], []
        self.lines, self.superpages, self.contexts = [], [], []
        self.blocked = set()  # names of outputs that are not accepted
        self.older   = []   # memories that may still be seen, besides the present one
        self.view    = tables.words
        self.partial = []   # the line that is being filled

    # Expectations

    def access(self, request):
        """Return ``request`` as the payload field."""
        return {"device_id": request.device_id, "pv": request.pv, "pid": request.pid,
                "priv": request.priv, "exec": request.exec, "write": request.write,
                "at": ATS[request.at], "iova": request.iova}

    def record(self, request, answer):
        """Return the fault record that ``answer`` must leave, or None."""
        if answer.cause is None or (answer.dtf and answer.cause not in ALWAYS_REPORTED):
            return None
        exec_ = request.exec and (request.at == "untranslated" or request.pv)
        kind = 3 if request.write else 1 if exec_ else 2
        ttyp = {"untranslated": kind, "ats": 8, "translated": kind + 4}[request.at]
        return {"cause": answer.cause, "pid": request.pid if request.pv else 0, "pv": request.pv,
                "priv": request.priv and request.pv, "ttyp": ttyp, "device_id": request.device_id,
                "iotval": request.iova, "iotval2": answer.iotval2}

    def expect(self, request):
        """Return the model's answer."""
        return translate(self.view, self.caps, self.tables.ddtp, request)

    def rights(self, iohgatp, gpa):
        """Return (spa, r, w, x) of a page, as the model sees it."""
        spas = []
        for kind in {}, {"write": True}, {"exec": True}:
            try:
                spas.append(second_stage(self.view, self.caps, iohgatp,
                                         Request(0, gpa, **kind)))
            except ModelFault:
                spas.append(None)
        spa = next((spa for spa in spas if spa is not None), None)
        return spa, *(one is not None for one in spas)

    def iohgatp(self, device_id):
        """Return iohgatp of a device."""
        return find_context(self.view, self.caps, self.tables.ddtp, device_id)[1]

    # Checks

    def check_answer(self, slot, done):
        """Compare ``done`` with the model. Each walk that is to be recorded was, before."""
        request = self.running[slot]
        answer = self.expect(request)
        told = f"{request} {answer} {done}"
        assert done.ok == (answer.cause is None), told
        if done.ok:
            assert done.ppn == answer.spa >> 12, told
        else:
            assert done.cause.value == answer.cause, told
            assert done.ca == (request.at == "ats" and answer.cause in ABORTS), told
            record = self.record(request, answer)
            if record is not None:
                assert record in self.faults, told
                self.faults.remove(record)
        del self.running[slot]
        self.answers.append((request, answer))
        self.free.append(slot)

    def check(self, check, *values):
        """Call ``check`` for each memory that may be seen, until it does not fail."""
        for memory in self.older:
            self.view = memory
            try:
                return check(*values)
            except (AssertionError, ModelFault):
                continue
            finally:
                self.view = self.tables.words
        return check(*values)

    def check_page(self, iohgatp, gpa, page):
        """A page that is kept has the rights of the model, as far as they go."""
        spa, r, w, x = self.rights(iohgatp, gpa)
        assert spa is not None, f"{gpa:#x} must not be kept"
        assert page.ppn == spa >> 12, f"{gpa:#x} has the wrong page"
        assert (page.r, page.w, page.x) == (r, w, x), f"{gpa:#x} has the wrong rights"

    def check_line(self, device_id, fills):
        """8 transfers; ``fills`` in order."""
        head = fills[0]
        iohgatp = self.iohgatp(device_id)
        assert head.gscid == iohgatp >> 44 & 0xFFFF
        pages = [fill.page for fill in fills]
        for n, fill in enumerate(fills):
            assert (fill.line, fill.gscid, fill.napot) == (head.line, head.gscid, head.napot)
            assert fill.last == (n == 7)
            if fill.page.valid and not head.napot:
                self.check_page(iohgatp, head.line << 15 | n << 12, fill.page)
        assert any(page.valid for page in pages)
        if head.napot:
            # All pages come from one entry, that of the page that was demanded.
            assert all(page.valid for page in pages)
            kinds = {(page.ppn - n, page.r, page.w, page.x) for n, page in enumerate(pages)}
            assert len(kinds) == 1
            one = head.page
            assert (one.ppn << 12, one.r, one.w, one.x) in [
                (spa - (n << 12), r, w, x) for n in range(8) for spa, r, w, x in
                [self.rights(iohgatp, head.line << 15 | n << 12)] if spa is not None]
        self.lines.append((device_id, head.line, [bool(fill.page.valid) for fill in fills]))

    def check_superpage(self, fill):
        """A leaf above level 0."""
        iohgatp, = {self.iohgatp(device) for device in self.devices
                    if self._gscid(device) == fill.gscid}
        size = 1 << 12 + 9 * fill.level
        base = fill.iova << 12 & ~(size - 1)
        for gpa in base, base + size - 4096, base + self.rng.randrange(size) // 4096 * 4096:
            spa, r, w, x = self.rights(iohgatp, gpa)
            assert spa is not None
            assert fill.page.ppn == spa - (gpa - base) >> 12
            assert (fill.page.r, fill.page.w, fill.page.x) == (r, w, x)
        self.superpages.append((fill.gscid, base, fill.level))

    def _gscid(self, device_id):
        try:
            return self.iohgatp(device_id) >> 44 & 0xFFFF
        except ModelFault:
            return None

    def check_context(self, fill):
        """A device context."""
        words = find_context(self.view, self.caps, self.tables.ddtp, fill.key.device_id)
        assert not fill.key.pv or words[0] & 1 << 5
        context, mode = fill.context, words[1] >> 60
        assert context.mode.value == (mode - 7 if mode else 0)
        assert (context.gscid, context.root) == (words[1] >> 44 & 0xFFFF, words[1] & (1 << 44) - 1)
        assert context.dtf == words[0] >> 4 & 1
        self.contexts.append((fill.key.device_id, fill.key.pid if fill.key.pv else None, context))

    # Testbenches

    devices = ()

    def context_of(self, request):
        """Return ``walk_request`` fields for a request whose context is known, if it is valid."""
        try:
            words = find_context(self.view, self.caps, self.tables.ddtp,
                                 request.device_id)
        except ModelFault:
            return {}
        if self.tables.ddtp & 0xF < 2 or (request.pv and not words[0] & 1 << 5):
            return {}
        mode = words[1] >> 60
        return {"context_hit": 1, "context": {
            "mode": mode - 7 if mode else 0, "gscid": words[1] >> 44 & 0xFFFF,
            "root": words[1] & (1 << 44) - 1, "dtf": words[0] >> 4 & 1}}

    async def send(self, ctx, request, *, known=False, prefetch=False):
        """Start a walk for ``request``."""
        port = self.dut.prefetch if prefetch else self.dut.walk
        slot = 0
        if not prefetch:
            while not self.free:
                await ctx.tick()
            slot = self.free.pop(self.rng.randrange(len(self.free)))
            self.running[slot] = request
        payload = {"access": self.access(request), "prefetch": prefetch, "slot": slot}
        if known:
            payload |= self.context_of(request)
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def drain(self, ctx):
        """Wait until all demand walks have been answered."""
        while self.running:
            await ctx.tick()

    def watchers(self):
        """Return the background testbenches of all outputs."""
        def on_line(fill):
            self.partial.append(fill)
            if fill.last:
                assert len(self.partial) == 8
                self.check(self.check_line, fill.device_id, self.partial)
                self.partial.clear()

        def on_fault(record):
            self.faults.append({name: getattr(record, name) for name in (
                "cause", "pid", "pv", "priv", "ttyp", "device_id", "iotval", "iotval2")})

        return [self._watch("done", lambda done: self.check(self.check_answer, done.slot, done)),
                self._watch("line_fill", on_line),
                self._watch("superpage_fill", lambda fill: self.check(self.check_superpage, fill)),
                self._watch("context_fill", lambda fill: self.check(self.check_context, fill)),
                self._watch("fault", on_fault)]

    def _watch(self, name, check):
        port = getattr(self.dut, name)

        async def testbench(ctx):
            wait = 0
            ctx.set(port.ready, 1)
            async for _, reset, valid, ready, payload in ctx.tick().sample(
                    port.valid, port.ready, port.payload):
                if reset:
                    continue
                if valid and ready:
                    check(payload)
                    wait = self.gap()
                ctx.set(port.ready, wait == 0 and name not in self.blocked)
                wait -= wait > 0
        return testbench
