// Interrupts from the device to the record, and the checks of rules S3 and S7.
#include "signals.h"

namespace {

using ull = unsigned long long;

// A whole record has arrived when its last doubleword, with the phase, has.
constexpr u64 RECORD = 32, PHASE_AT = 24;

}  // namespace

void Signals::start(Signal&& signal, Tlp&& tlp) {
    auto owned = std::make_unique<Signal>(std::move(signal));
    tlp.kind = TLP_SIGNAL, tlp.op = owned->op, tlp.owner = owned.get();
    tlp.segment = owned->segment;
    ++statistics_.signals;
    groups.count(owned->group, 1);
    live_[owned.get()] = std::move(owned);
    send(std::move(tlp));
}

void Signals::starting(Tlp& tlp) {
    auto& s = *static_cast<Signal*>(tlp.owner);
    s.writes_before = transfers_.writes_of(s.segment, s.rid);
    if (s.kind == Signal::RECORD) by_index_[s.index].push_back(&s);
    if (s.kind == Signal::FORWARD) forwarded_[{s.address, s.data}].waiting.push_back(&s);
}

void Signals::sent(Tlp& tlp, u64 cycle) {
    auto* s = static_cast<Signal*>(tlp.owner);
    s->taken = cycle;
    if (s->kind == Signal::FORWARD) ++forwarded_[{s->address, s->data}].sent;
    if (s->kind != Signal::UNTRACKED) return;
    groups.count(s->group, -1);
    live_.erase(s);
}

void Signals::finish(Signal* s, u64 answered, const char* what) {
    if (answered < s->writes_before)
        errors_.add("table: %s before an earlier write of its source was answered: %s", what,
                    text(*s).c_str());
    ++statistics_.interrupts;
    statistics_.interrupts_ordered += s->writes_before != 0;
    groups.count(s->group, -1);
    live_.erase(s);
}

void Signals::ring(u32 queue, const Ring& given) {
    Ring& ring = rings_[queue];
    bool same = !ring.slots.empty() && ring.base == given.base && ring.log2 == given.log2 &&
                given.next == ~u32(0);
    if (same) {   // only the service changes
        Ring old = std::move(ring);
        ring = given;
        ring.slots = std::move(old.slots), ring.next = old.next, ring.freed = old.freed;
        ring.told = old.told, ring.more = true;
        return;
    }
    ring = given;
    if (ring.next == ~u32(0)) ring.next = ring.freed = 0;
    ring.slots.assign(ring.size(), {});
}

// Calls for each record whose last part is in the write.
void Signals::final_parts(const AxiWrite& w, const std::function<void(u32, Ring&, u64)>& found) {
    unsigned lanes = unsigned(w.data.size() / w.strobes.size());
    for (auto& [queue, ring] : rings_)
        for (std::size_t n = 0; n < w.strobes.size(); ++n)
            for (unsigned at = 0; at < lanes; at += 8) {
                u64 address = w.lanes[n] + at;
                if ((w.strobes[n] >> at & 255) == 255 && ring.holds(address) &&
                    (address - ring.base) % RECORD == PHASE_AT)
                    found(queue, ring, (address - ring.base) / RECORD);
            }
}

void Signals::assembled(const AxiWrite& w) {
    final_parts(w, [&](u32, Ring& ring, u64 slot) {
        // Where it is from may be in this write, or in memory already.
        u64 from = ring.base + slot * RECORD + 8, word = memory_.read(from);
        unsigned lanes = unsigned(w.data.size() / w.strobes.size());
        for (std::size_t n = 0; n < w.strobes.size(); ++n)
            if (from >= w.lanes[n] && from - w.lanes[n] < lanes &&
                (w.strobes[n] >> (from - w.lanes[n]) & 255) == 255)
                memcpy(&word, &w.data[n * lanes + (from - w.lanes[n])], 8);
        ring.slots[slot].answered = transfers_.writes_answered_of(u8(word >> 16), u16(word));
    });
    for (auto& [queue, ring] : rings_)
        if (ring.notify && w.address == ring.notify && !visible(ring, 1))
            ++statistics_.notifications_empty;
    forward(w);
}

void Signals::committed(const AxiWrite& w, u64 cycle) {
    final_parts(w, [&](u32 queue, Ring& ring, u64 slot) {
        u32 count = u32(memory_.read(ring.base + slot * RECORD + 16) >> 32);
        if ((count & (ring.size() - 1)) != slot)
            errors_.add("table: record %u of queue %u is in slot %llu", count, queue, ull(slot));
        if (ring.slots[slot].visible || u32(count - ring.freed) >= ring.size())
            errors_.add("table: record %u of queue %u overwrites one that nobody has given back",
                        count, queue);
        ring.slots[slot].visible = true;
        ring.slots[slot].at = cycle;
    });
    for (auto& [queue, ring] : rings_)
        if (ring.notify && w.address == ring.notify) {
            ++statistics_.notifications;
            ring.told = true;
            if (ring.report) events_.add(EVENT_NOTICE, ring.op, queue, cycle);
        }
}

// The n-th write to an address stands for the n-th interrupt at least: pending ones are merged.
void Signals::forward(const AxiWrite& w) {
    auto at = forwarded_.lower_bound({w.address, 0});
    if (at == forwarded_.end() || at->first.first != w.address) return;
    u32 data = 0;
    memcpy(&data, &w.data[w.address % (w.data.size() / w.strobes.size())], 4);
    auto found = forwarded_.find({w.address, data});
    ++statistics_.forwards;
    if (found == forwarded_.end() || ++found->second.written > found->second.sent) {
        errors_.add("table: write of %08x to %llx is more than was forwarded there", data,
                    ull(w.address));
        return;
    }
    Forwarded& f = found->second;
    while (!f.waiting.empty()) {
        Signal* s = f.waiting.front();
        u64 answered = transfers_.writes_answered_of(s->segment, s->rid);
        bool owed = f.covered < f.written;   // this write, or an earlier one, is for it
        if (!owed && (!s->taken || answered < s->writes_before)) break;
        ++f.covered;
        f.waiting.pop_front();
        finish(s, answered, "forwarded");
    }
}

void Signals::match(u32 queue, const Record& r, u64 answered, u64 cycle) {
    u16 index = u16(r[0] >> 48);
    u32 count = r[0] >> 32 & 0xffff, data = u32(r[2]);
    for (u16 known : tolerated_)
        if (known == index) return;
    auto& waiting = by_index_[index];
    bool more = r[1] >> 40 & 1;   // of several requesters
    auto fits = [&](const Signal* s) {
        return more || (s->rid == u16(r[1]) && s->segment == u8(r[1] >> 16));
    };
    std::size_t from = 0;   // first interrupt that it stands for
    if (settings_.records_unordered && !more) {
        std::size_t last = 0;
        while (last < waiting.size() && (!fits(waiting[last]) || waiting[last]->data != data)) ++last;
        from = last < waiting.size() && last + 1 >= count ? last + 1 - count : 0;
    }
    for (u32 n = 0; n < count; ++n) {
        // Requesters that share an entry do not wait for each other.
        std::size_t at = from;
        while (at < waiting.size() && !fits(waiting[at])) ++at;
        if (at >= waiting.size()) {
            errors_.add("table: record of queue %u, index %u, RID %04x, counts %u interrupts more "
                        "than were sent", queue, index, unsigned(r[1] & 0xffff), count - n);
            return;
        }
        Signal* s = waiting[at];
        if (n + 1 == count && !more && s->check_data && s->data != data)
            errors_.add("table: record of queue %u, index %u, has data %08x, RID %04x: %s", queue,
                        index, data, unsigned(r[1] & 0xffff), text(*s).c_str());
        statistics_.record_clocks += n + 1 == count ? cycle - s->taken : 0;
        waiting.erase(waiting.begin() + at);
        finish(s, answered, "record");
    }
}

std::string Signals::text(const Signal& s) {
    char text[160];
    snprintf(text, sizeof text, "interrupt of operation %u: rid %04x, index %u, data %08x, %s",
             s.op, s.rid, s.index, s.data, s.taken ? "taken" : "not taken yet");
    return text;
}

std::string Signals::describe_oldest() const {
    const Signal* oldest = nullptr;
    for (auto& [key, s] : live_)
        if (!oldest || s->op < oldest->op) oldest = key;
    return oldest ? text(*oldest) : "nothing";
}

void Signals::reset() {
    live_.clear(), by_index_.clear(), forwarded_.clear(), rings_.clear();
    groups.clear();
    step_ = IDLE;
}
