"""Many commands of the model's device at once on the hardware: their requests go out together."""

import threading

from tests.sharing.rtl_root import SETTLE, RtlRoot

from iovirt_sim.models.sharing.data import Data
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.tlp import Status, Tlp

__all__ = ["Batch", "BatchRoot"]

#: Tags that a requester has.
TAGS = 256


class Batch:
    """Run functions in threads, one at a time; what they ask for waits until all have asked.

    Parameters
    ----------
    answer : called with a list of [order, request, answer]; fills the answers in.
    """

    def __init__(self, answer):
        self.answer = answer
        self.lock = threading.Condition()
        self.local = threading.local()

    def run(self, functions):
        """Return what the functions return."""
        self.waiting, self.running, results = [], len(functions), [None] * len(functions)
        threads = [threading.Thread(target=self._work, args=(n, function, results))
                   for n, function in enumerate(functions)]
        for thread in threads:
            thread.start()
        while True:
            with self.lock:
                self.lock.wait_for(lambda: not self.running)
                waiting, self.waiting = sorted(self.waiting, key=lambda call: call[0]), []
            if not waiting:
                break
            self.answer(waiting)
            with self.lock:
                self.running = len(waiting)
            for call in waiting:
                call[3].set()
        for thread in threads:
            thread.join()
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    def _work(self, number, function, results):
        self.local.number = number
        try:
            results[number] = function()
        except Exception as error:      # raised again by `run`
            results[number] = error
        with self.lock:
            self.running -= 1
            self.lock.notify()

    def ask(self, request):
        """Return the answer to a request of the function that is running."""
        call = [self.local.number, request, None, threading.Event()]
        with self.lock:
            self.waiting.append(call)
            self.running -= 1
            self.lock.notify()
        call[3].wait()
        return call[2]


class BatchRoot(RtlRoot):
    """A root whose requests go out together. Breaches are judged by the addresses that are used:
    each one must have the colour and the key of the guest for whom the device acts.
    """

    def __init__(self, world, rid):
        super().__init__(world, rid)
        self.batch, self.requests = Batch(self._answer), 0

    def read(self, address, length, issuer=None, raw=False):
        """Return the data of a memory read, or None if the answer is an error."""
        return self.batch.ask((address, length, None, issuer, raw))

    def write(self, address, data, issuer=None, raw=False):
        """Write; whether that has an effect is not told."""
        return self.batch.ask((address, len(data), data, issuer, raw))

    def _answer(self, calls):
        for first in range(0, len(calls), TAGS):
            self._send(calls[first:first + TAGS])

    def _send(self, calls):
        program, ops = self.system.program, []
        for tag, (_, (address, length, data, issuer, raw), *_) in enumerate(calls):
            parts = self._begin(address, length, raw)
            self._check_owner(parts, address, issuer)
            if data is None:
                self._change(parts, length)
                ops.append(self.system.tlp(Tlp.read(address, length, rid=self.rid, tag=tag)))
            else:
                ops.append(None)
                self._post(address, data)
        program.wait()
        if None in ops:
            program.run(SETTLE)
        self.requests += len(calls)
        payloads, failed = {}, set()
        for event in self.world.run_program():
            if event.kind == "tlp" and event.op is not None:
                answer, = self.system.completions([event], event.op)
                payloads.setdefault(event.op, []).append(answer.payload)
                if answer.status != Status.SC:
                    failed.add(event.op)
        for op, call in zip(ops, calls, strict=True):
            if op is not None:
                call[2] = None if op in failed else self._data(call[1], payloads[op])

    def _post(self, address, data):
        done = 0
        while done < len(data):
            part = min(len(data) - done, 256 - (address + done) % 256)
            self.system.tlp(Tlp.write(address + done, data[done:done + part], rid=self.rid))
            done += part

    def _check_owner(self, parts, address, issuer):
        if issuer is None:
            return
        guest = self.guests[issuer]
        if (parts.colour, parts.key) != (issuer, guest.key):
            self.monitor.breach("foreign pointer")
        elif parts.kind == KINDS["ring"] and parts.offset >> self.layout.ring not in guest.rings:
            self.monitor.breach("foreign ring")

    def _data(self, request, payloads):
        address, length, _, issuer, _ = request
        data = b"".join(payloads)[address % 4:][:length]
        return Data(data, self._forged(self.layout.unpack(address), data, issuer))
