// The reader of event queues: a driver's service loop.
#include "signals.h"

namespace {

using ull = unsigned long long;

}  // namespace

// How many records can be read, up to `most`.
u32 Signals::visible(Ring& ring, u32 most) {
    u32 count = 0;
    while (count < most && count < ring.size() && ring.slot(ring.next + count).visible) ++count;
    return count;
}

bool Signals::wants(Ring& ring, u64 wires, u64 cycle) {
    if (cycle < ring.resume) return false;
    switch (ring.service) {
    case Ring::POLL: return visible(ring, 1) || ring.more;
    case Ring::NOTIFIED: return ring.told || ring.more;
    case Ring::WIRE: return (wires >> ring.wire & 1) || ring.more;
    }
    return false;
}

// Each step starts a register access and is left when that is done.
void Signals::step(Registers& registers, u64 wires, u64 cycle) {
    if (rings_.empty() || registers.busy()) return;
    if (step_ == IDLE) {
        auto at = rings_.upper_bound(serving_);
        for (std::size_t n = 0; n < rings_.size() && step_ == IDLE; ++n, ++at) {
            if (at == rings_.end()) at = rings_.begin();
            if (!wants(at->second, wires, cycle)) continue;
            Ring& ring = at->second;
            serving_ = at->first, ring.told = ring.more = false;
            bool clear = ring.service == Ring::WIRE && wires >> ring.wire & 1;
            if (clear) registers.start(ring.clear, 4, true, u64(1) << ring.wire);
            else registers.start(ring.registers + TAIL, 4, false, 0);
            if (clear) ++statistics_.notifications;
            step_ = clear ? CLEAR : TAIL_READ;
        }
        return;
    }
    auto found = rings_.find(serving_);
    if (found == rings_.end()) {
        step_ = IDLE;
        return;
    }
    Ring& ring = found->second;
    switch (step_) {
    case CLEAR:
        registers.start(ring.registers + TAIL, 4, false, 0);
        step_ = TAIL_READ;
        return;
    case TAIL_READ: {
        u32 tail = u32(registers.value()), count = tail - ring.next;
        if (count > ring.size()) {
            errors_.add("csr: TAIL of queue %u is %u, HEAD %u", serving_, tail, ring.next);
            return;
        }
        ring.found = count != 0;
        ring.more = count > ring.burst;
        for (u32 n = 0; n < count && n < ring.burst; ++n) consume(serving_, ring, ring.next, cycle);
        ring.freed = ring.next;
        ++statistics_.heads;
        registers.start(ring.registers + HEAD, 4, true, ring.next);
        step_ = HEAD_WRITTEN;
        return;
    }
    case HEAD_WRITTEN:
        ring.resume = cycle + ring.pause;
        if (ring.service == Ring::POLL || ring.service == Ring::MANUAL || ring.more) {
            step_ = IDLE;
            return;
        }
        registers.start(ring.registers + ARM, 4, true, ring.next);
        step_ = ARMED;
        return;
    default: step_ = IDLE;
    }
}

void Signals::consume(u32 queue, Ring& ring, u32 count, u64 cycle) {
    Record r;
    for (unsigned n = 0; n < 4; ++n) r[n] = memory_.read(ring.address(count) + 8 * n);
    Ring::Slot& slot = ring.slot(count);
    bool phase = !(count >> ring.log2 & 1);
    if (!slot.visible || r[3] >> 63 != phase || u32(r[2] >> 32) != count)
        errors_.add("table: TAIL of queue %u passed record %u, which is %s, with phase %llu, "
                    "sequence %llu", queue, count, slot.visible ? "there" : "not there",
                    ull(r[3] >> 63), ull(r[2] >> 32));
    ++statistics_.records;
    if (ring.report)
        events_.add(EVENT_RECORD, ring.op, queue, count, r[0], r[1], r[2], r[3], slot.at, cycle);
    match(queue, r, slot.answered, slot.at);
    if (consumed) consumed(unsigned(r[0] >> 48));
    slot.visible = false;
    ++ring.next;
}
