"""Agents for the TLP streams of the PCIe core: send to `rx`, receive from `tx`."""

from .tlp import Tlp

__all__ = ["receive_tlps", "send_beats", "send_tlps"]


async def send_beats(ctx, rx, beats, *, gap=lambda: 0):
    """Transfer ``beats``, dicts of the signals of ``rx``; each after ``gap()`` idle clocks."""
    for beat in beats:
        for _ in range(gap()):
            await ctx.tick()
        for name, value in beat.items():
            ctx.set(getattr(rx, name), value)
        ctx.set(rx.valid, 1)
        await ctx.tick().until(rx.ready)
        ctx.set(rx.valid, 0)


async def send_tlps(ctx, rx, tlps, *, data_width, segment=0, gap=lambda: 0):
    """Transfer :class:`Tlp` packets to ``rx``."""
    for tlp in tlps:
        await send_beats(ctx, rx, tlp.beats(data_width, segment=segment), gap=gap)


async def receive_tlps(ctx, tx, count, *, data_width, gap=lambda: 0):
    """Accept ``count`` packets from ``tx``; fail if an offer changes before it is accepted."""
    names  = ["data", "strb", "hdr", "prefix", "prefix_valid", "first", "last"]
    fields = [getattr(tx, name) for name in names]
    tlps, beats = [], []
    while len(tlps) < count:
        offer = None
        for _ in range(gap()):
            _, _, valid, *values = await ctx.tick().sample(tx.valid, *fields)
            assert offer is None or (valid and values == offer), "an offer changed while stalled"
            offer = values if valid else None
        ctx.set(tx.ready, 1)
        values = await ctx.tick().sample(*fields).until(tx.valid)
        ctx.set(tx.ready, 0)
        assert offer is None or list(values) == offer, "an offer changed while stalled"
        beats.append(dict(zip(names, values, strict=True)))
        assert beats[-1]["first"] == (len(beats) == 1), "`first` is not on the first beat alone"
        if beats[-1]["last"]:
            tlps.append(Tlp.from_beats(beats, data_width))
            beats = []
    return tlps
