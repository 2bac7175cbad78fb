"""Waiting until everything accepted before a fence is done."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Epochs"]


class Epochs(wiring.Component):
    """Count the requests in flight of two epochs, so that a fence can wait for the earlier ones.

    A request carries ``epoch`` as it is in the clock of ``accept``. A fence on ``drain`` starts a
    new epoch and transfers when all requests accepted before, or in the clock in which it was first
    offered, have been retired. Requests accepted later do not hold it up. Since the fence leaves
    the earlier epoch empty, two epochs are enough.

    A fence takes 2 clocks if nothing is in flight, and transfers in the clock after the last
    retirement else. There is no combinational path.

    IOFENCE.C of RISC-V IOMMU 1.0, 4.1.3.

    Parameters
    ----------
    capacity : :class:`int`
        Greatest number of requests in flight, at least 1. The user must not exceed it.
    retire_ports : :class:`int`
        Number of ports that retire requests, at least 1.

    Members
    -------
    accept : ``In(1)``
        A request is accepted in this clock.
    epoch : ``Out(1)``
        Its epoch.
    retire : ``In(...).array(retire_ports)``
        A request of ``epoch`` is done (pulse ``valid``).
    drain : ``In(stream.Signature(0))``
        Fences.

    Raises
    ------
    ValueError
        If a parameter is not an integer of at least 1.
    """

    def __init__(self, *, capacity, retire_ports=2):
        if not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"Capacity must be an integer of at least 1, not {capacity!r}")
        if not isinstance(retire_ports, int) or retire_ports < 1:
            raise ValueError(f"Number of retire ports must be an integer of at least 1, "
                             f"not {retire_ports!r}")
        self.capacity = capacity
        self.retire_ports = retire_ports
        super().__init__({
            "accept": In(1),
            "epoch":  Out(1),
            "retire": In(wiring.Signature({"valid": Out(1), "epoch": Out(1)})).array(retire_ports),
            "drain":  In(stream.Signature(0)),
        })

    def elaborate(self, platform):
        m = Module()

        in_flight = [Signal(range(self.capacity + 1), name=f"in_flight_{n}") for n in range(2)]
        for epoch, count in enumerate(in_flight):
            retired = [port.valid & (port.epoch == epoch) for port in self.retire]
            m.d.sync += count.eq(count + (self.accept & (self.epoch == epoch)) - sum(retired))

        draining = Signal()
        m.d.comb += self.drain.ready.eq(draining & (Mux(self.epoch, *in_flight) == 0))
        with m.If(self.drain.valid & ~draining):
            m.d.sync += [draining.eq(1), self.epoch.eq(~self.epoch)]
        with m.Elif(self.drain.ready):
            m.d.sync += draining.eq(0)
        return m
