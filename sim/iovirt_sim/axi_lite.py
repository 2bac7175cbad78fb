"""AXI4-Lite manager for testbenches, and a check of the rules of the bus."""

__all__ = ["check_axi_lite", "read", "write"]


async def read(ctx, bus, address, *, gap=lambda: 0):
    """Read the lane that holds ``address``; return ``(data, resp)``."""
    ctx.set(bus.araddr, address)
    ctx.set(bus.arvalid, 1)
    await ctx.tick().until(bus.arready)
    ctx.set(bus.arvalid, 0)
    for _ in range(gap()):
        await ctx.tick()
    ctx.set(bus.rready, 1)
    data, resp = await ctx.tick().sample(bus.rdata, bus.rresp).until(bus.rvalid)
    ctx.set(bus.rready, 0)
    return data, resp.value


async def write(ctx, bus, address, data, strobe, *, order="both", gap=lambda: 0):
    """Write ``strobe``'s bytes of the lane that holds ``address``; return ``resp``.

    ``order`` tells which channel goes first: "both", "address" or "data".
    """
    ctx.set(bus.awaddr, address)
    ctx.set(bus.wdata, data)
    ctx.set(bus.wstrb, strobe)
    ctx.set(bus.awvalid, order != "data")
    ctx.set(bus.wvalid, order != "address")
    sent_address = sent_data = False
    while not (sent_address and sent_data):
        _, _, awvalid, awready, wvalid, wready = await ctx.tick().sample(
            bus.awvalid, bus.awready, bus.wvalid, bus.wready)
        sent_address |= awvalid & awready
        sent_data    |= wvalid & wready
        if order != "both" and (sent_address or sent_data):
            order = "both"
            for _ in range(gap()):
                ctx.set(bus.awvalid, 0)
                ctx.set(bus.wvalid, 0)
                await ctx.tick()
        ctx.set(bus.awvalid, (order == "both" or order == "address") and not sent_address)
        ctx.set(bus.wvalid, (order == "both" or order == "data") and not sent_data)
    for _ in range(gap()):
        await ctx.tick()
    ctx.set(bus.bready, 1)
    resp, = await ctx.tick().sample(bus.bresp).until(bus.bvalid)
    ctx.set(bus.bready, 0)
    return resp.value


def check_axi_lite(bus):
    """Return a background testbench that fails if a response of ``bus`` breaks the rules.

    VALID stays, with the same payload, until READY; each response has a request that came before
    it (IHI 0022, A3.2 and A3.3).
    """
    async def testbench(ctx):
        offered = {"r": None, "b": None}
        counts  = dict.fromkeys(("aw", "w", "ar", "b", "r"), 0)
        signals = [bus.awvalid, bus.awready, bus.wvalid, bus.wready, bus.arvalid, bus.arready,
                   bus.bvalid, bus.bready, bus.bresp, bus.rvalid, bus.rready, bus.rdata, bus.rresp]
        async for (_, reset, awv, awr, wv, wr, arv, arr, bv, br, bresp, rv, rr, rdata, rresp) in (
                ctx.tick().sample(*signals)):
            if reset:
                offered = dict.fromkeys(offered)
                continue
            for name, valid, ready, payload in (("b", bv, br, bresp),
                                                ("r", rv, rr, (rdata, rresp))):
                if offered[name] is not None:
                    assert valid, f"{name}valid deasserted before a transfer"
                    assert payload == offered[name], f"{name} changed while stalled"
                offered[name] = payload if valid and not ready else None
            assert not bv or min(counts["aw"], counts["w"]) > counts["b"], "bvalid before the write"
            assert not rv or counts["ar"] > counts["r"], "rvalid before the read"
            for name, valid, ready in (("aw", awv, awr), ("w", wv, wr), ("ar", arv, arr),
                                       ("b", bv, br), ("r", rv, rr)):
                counts[name] += valid & ready
    return testbench
