"""All registers behind AXI4-Lite."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import AxiLiteSignature

from .axi_lite import AxiLiteBridge
from .counters import CounterFile
from .file import RegisterFile, register_members
from .port import RegisterPortSignature
from .rdl import RegisterMap
from .router import PageRouter, check_pages

__all__ = ["RegisterBank"]


class RegisterBank(wiring.Component):
    """Serve AXI4-Lite accesses to the registers of a map, and hand other pages on.

    ::

        bus --> AxiLiteBridge --> PageRouter --> RegisterFile  <--> register members
                                       |-------> CounterFile   <--- increments
                                       '-------> windows

    * A page that nobody serves answers SLVERR; reading it gives 0.
    * A write to a page in which nothing can be written answers SLVERR.
    * Reserved offsets read 0 and ignore writes; read-only fields ignore writes.
    * A read returns the whole lane of the bus; a write changes the bytes whose strobe is set.

    One access at a time. RVALID or BVALID rises 4 clocks after the edge that accepted the last of
    the channels of an access, for a counter at most 14 (while its memory is cleared after reset,
    later). One access per 6 clocks with a manager that takes the response at once.

    Parameters
    ----------
    register_map : :class:`RegisterMap`
        Registers; see :func:`register_map`.
    data_width : :class:`int`
        Of the bus, 32 or 64.
    address_width : :class:`int`
        Of the bus; 16 holds 16 pages.
    windows : :class:`dict`
        Extension point: pages that other blocks serve, as ``{name: (first page, pages)}``.

    Members
    -------
    bus : ``In(AxiLiteSignature(...))``
        Bus.
    <register> : ``Out(...)``
        One member per register, with one per field that is not constant, as in
        ``bank.cqcsr.cqen.value``; see :func:`register_members`.
    <window> : ``Out(RegisterPortSignature(...))``
        Accesses to the pages of a window, one at a time. The block answers each in bounded time.
    """

    def __init__(self, register_map, *, data_width, address_width=16, windows=None):
        if not isinstance(register_map, RegisterMap):
            raise TypeError(f"Register map must be a RegisterMap, not {register_map!r}")
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        members = register_members(register_map.registers)
        windows = dict(windows or {})
        for name in windows:
            if name == "bus" or name in members:
                raise ValueError(f"Name of window must not be that of a register or the bus, not "
                                 f"{name!r}")
        self.register_map  = register_map
        self.data_width    = data_width
        self.address_width = address_width
        self.windows       = windows
        counters = register_map.counter_pages
        pages    = [page for page in register_map.pages if page not in counters]
        # Served by the file, the counters, and each of the windows.
        self.pages = [pages, counters, *(range(first, first + count)
                                         for first, count in windows.values())]
        check_pages(self.pages, address_width)
        super().__init__({
            "bus": In(AxiLiteSignature(data_width=data_width, address_width=address_width)),
            **members,
            **{name: Out(port) for name in windows},
        })

    def elaborate(self, platform):
        m = Module()
        widths = {"data_width": self.data_width, "address_width": self.address_width}
        m.submodules.bridge = bridge = AxiLiteBridge(**widths)
        m.submodules.router = router = PageRouter(pages=self.pages, **widths)
        m.submodules.file   = file   = RegisterFile(self.register_map, **widths)
        wiring.connect(m, wiring.flipped(self.bus), bridge.bus)
        wiring.connect(m, bridge.port, router.i)
        wiring.connect(m, router.o[0], file.port)
        for register in file.registers:
            if register.name in self.signature.members:
                wiring.connect(m, wiring.flipped(getattr(self, register.name)),
                               getattr(file, register.name))
        if self.register_map.counters:
            self._counters(m, router.o[1], widths)
        for name, target in zip(self.windows, list(router.o)[2:], strict=True):
            wiring.connect(m, target, wiring.flipped(getattr(self, name)))
        return m

    def _counters(self, m, port, widths):
        counters = self.register_map.counters
        m.submodules.counters = file = CounterFile(
            counters=len(counters), width=counters[0].fields[0].width, **widths)
        wiring.connect(m, port, file.port)
        for n, register in enumerate(counters):
            field = getattr(getattr(self, register.name), register.fields[0].name)
            m.d.comb += file.increment[n].eq(field.increment)
