"""The path of writes, from bursts to answers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .layouts import Policy
from .windows import aperture, ecam_window, memory_window
from .write_answers import WriteAnswers
from .write_gather import WriteGather
from .write_send import WriteSend
from .write_units import WriteUnits

__all__ = ["WritePath", "write_slots"]


def write_slots(pio):
    """Return the number of slots for writes that wait for configuration space, or behind one."""
    return max(16, pio.reads)


class WritePath(wiring.Component):
    """Writes of cores.

    ::

        i, beats -> WriteUnits -> WriteGather -> WriteSend -> tx
                                                   | done
                                         o <- WriteAnswers <-> config, answer; page, page_answer

    Latencies and rates are those of :class:`PioFront`. From AW and W to ``tx`` it takes 7 clocks.

    Parameters
    ----------
    data_width, max_payload_bytes, owner_width : :class:`int`
        Of the TLP streams; of the accesses to configuration space.
    pio : :class:`iovirt.config.PioConfig`
    pages : :class:`bool`
        The doorbell aperture is served; see :class:`WriteAnswers`.

    Members
    -------
    i : ``In(stream.Signature(burst(...)))``
    beats : ``In(stream.Signature(write_beat(...)))``
        W channel.
    o : ``Out(stream.Signature(write_end(...)))``
        B channel.
    config_policy : ``In(Policy)``
        Of the ECAM window.
    error : ``Out(stream.Signature(PioError, always_ready=True))``
    sent : ``Out(1)``
        Pulse: a TLP was sent.

    and those of :class:`PioFront`.
    """

    def __init__(self, *, data_width, pio, max_payload_bytes, owner_width,
                 pages=False):
        self.pages = pages
        address = {"address_width": pio.address_width}
        cores   = {"id_width": pio.id_width, "core_id_bits": pio.core_id_bits}
        self._units   = WriteUnits(bus_width=pio.data_width, id_width=pio.id_width,
                                   windows=pio.windows, pages=pages, **address)
        self._gather  = WriteGather(data_width=data_width, id_width=pio.id_width,
                                    max_payload_bytes=max_payload_bytes, pages=pages)
        self._send    = WriteSend(data_width=data_width, pages=pages, **cores)
        self._answers = WriteAnswers(slots=write_slots(pio), owner_width=owner_width, pages=pages,
                                     **cores)
        units, send, answers = (part.signature.members
                                for part in (self._units, self._send, self._answers))
        super().__init__({
            **{name: units[name] for name in ("i", "beats")},
            **{name: send[name] for name in ("tx", "error", "sent")},
            **{name: answers[name] for name in ("config", "answer", "o")},
            **({name: answers[name] for name in ("page", "page_answer", "page_policy")}
               if pages else {}),
            "ecam":          In(ecam_window(**address)),
            "windows":       In(memory_window(**address)).array(pio.windows),
            "doorbells":     In(aperture(**address)),
            "no_window":     In(Policy),
            "config_policy": In(Policy),
            "max_payload":   In(3),
            "requester_id":  In(16),
            "link_up":       In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.units   = units   = self._units
        m.submodules.gather  = gather  = self._gather
        m.submodules.send    = send    = self._send
        m.submodules.answers = answers = self._answers
        wiring.connect(m, wiring.flipped(self.i), units.i)
        wiring.connect(m, wiring.flipped(self.beats), units.beats)
        wiring.connect(m, units.o, gather.i)
        wiring.connect(m, gather.job, send.job)
        wiring.connect(m, gather.row, send.row)
        wiring.connect(m, send.done, answers.done)
        wiring.connect(m, wiring.flipped(self.answer), answers.answer)
        for part, names in ((send, ("tx", "error")), (answers, ("config", "o"))):
            for name in names:
                wiring.connect(m, getattr(part, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [
            gather.max_payload.eq(self.max_payload),
            send.requester_id.eq(self.requester_id),
            send.link_up.eq(self.link_up),
            send.room.eq(answers.room),
            answers.config_policy.eq(self.config_policy),
            self.sent.eq(send.sent),
            units.no_window.eq(self.no_window),
            units.ecam.eq(self.ecam),
            units.doorbells.eq(self.doorbells),
            *(its.eq(ours) for its, ours in zip(units.windows, self.windows, strict=True)),
        ]
        if self.pages:
            wiring.connect(m, answers.page, wiring.flipped(self.page))
            wiring.connect(m, wiring.flipped(self.page_answer), answers.page_answer)
            m.d.comb += answers.page_policy.eq(self.page_policy)
        return m
