// Life of an access of a core, and its checks.
#include "accesses.h"

namespace {

using ull = unsigned long long;

// Finished accesses that a TLP may still belong to, because nobody knows what became of them.
constexpr std::size_t KEPT = 512;

}  // namespace

Access* Accesses::start(Access&& given) {
    auto owned = std::make_unique<Access>(std::move(given));
    Access& a = *owned;
    a.number = ++numbers_;
    u64 aligned = a.address & ~(a.size - 1), bytes = aligned + a.beats * a.size - a.address;
    if (a.enabled.empty()) a.enabled.assign(bytes, 1);
    a.data.resize(bytes), a.enabled.resize(bytes);
    a.state.assign(bytes, Access::IDLE), a.captured.assign(bytes, 0);
    for (u8 on : a.enabled) a.left += on != 0;
    for (const Window& w : windows_)
        if (a.address >= w.address && a.address - w.address < w.size)
            a.has_target = true, a.target = a.address - w.address + w.target,
            a.configuration = w.configuration;
    groups.count(a.group, 1);
    return (live_[a.number] = std::move(owned)).get();
}

void Accesses::accepted(Access& a, u64 cycle) {
    a.accepted = cycle;
    (a.write ? writes_ : reads_)[a.id].push_back(&a);
}

std::string Accesses::text(const Access& a) {
    char text[200];
    snprintf(text, sizeof text, "%s of operation %u: address %llx, %u beats of %llu bytes, ID %u, "
             "%s, %u TLPs", a.write ? "write" : "read", a.op, ull(a.address), a.beats,
             ull(a.size), a.id, !a.accepted ? "not taken yet" : !a.tlps ? "taken" :
             a.answered ? "answered by the device" : "asked for", a.tlps);
    return text;
}

std::string Accesses::describe_oldest() const {
    for (auto& [number, a] : live_)
        if (!a->finished) return text(*a);
    return "nothing";
}

Accesses::Asked Accesses::asked(const Tlp& tlp) {
    const Header& h = tlp.header;
    Asked asked;
    asked.configuration = h.configuration(), asked.write = h.has_data();
    asked.target = asked.configuration ? h.config_offset() : h.address();
    unsigned bytes = 4 * h.length_dw();
    asked.enabled.assign(bytes, 1), asked.data.assign(bytes, 0);
    for (unsigned n = 0; n < 4; ++n) {
        asked.enabled[n] = h.first_be() >> n & 1;
        if (bytes > 4) asked.enabled[bytes - 4 + n] = h.last_be() >> n & 1;
    }
    memcpy(asked.data.data(), tlp.payload.data(), std::min<std::size_t>(bytes, 4 * tlp.payload.size()));
    return asked;
}

bool Accesses::contains(const Access& a, const Asked& asked) const {
    if (a.write != asked.write || a.configuration != asked.configuration || !a.has_target)
        return false;
    for (std::size_t n = 0; n < asked.enabled.size(); ++n) {
        u64 at = asked.target + n - a.target;
        if (!asked.enabled[n]) continue;
        if (at >= a.state.size() || !a.enabled[at]) return false;
        if (a.state[at] != Access::IDLE && a.state[at] != Access::RETRIED) return false;
    }
    return true;
}

bool Accesses::carries(const Access& a, const Asked& asked) const {
    for (std::size_t n = 0; n < asked.enabled.size(); ++n)
        if (asked.enabled[n] && a.data[asked.target + n - a.target] != asked.data[n]) return false;
    return true;
}

// The oldest that fits, and, of writes, that has these bytes; one that has ended only if nobody else.
Access* Accesses::find(const Asked& asked, bool optional) {
    Access* first = nullptr;
    Access* best = nullptr;
    Access* ended = nullptr;
    for (auto& [number, a] : live_) {
        if (!a->accepted || !contains(*a, asked)) continue;
        if (a->finished) {
            ended = a.get();
            continue;
        }
        if (!first) first = a.get();
        else if (!asked.write) first->ambiguous = a->ambiguous = true;
        if (asked.write && !best && carries(*a, asked)) best = a.get();
    }
    if (optional) return best;
    if (asked.write && first && !best)
        errors_.add("tx: write to %llx has other bytes than: %s", ull(asked.target),
                    text(*first).c_str());
    return best ? best : first ? first : ended;
}

u64 Accesses::request(const Tlp& tlp, bool optional) {
    Asked what = asked(tlp);
    Access* a = find(what, optional);
    if (!a && optional) return 0;
    if (!a) {
        errors_.add("tx: request %08x %08x for %llx belongs to no access of a core",
                    tlp.header.word[0], tlp.header.word[1], ull(what.target));
        return 0;
    }
    check_passing(*a);
    if (!a->tlps++) a->asked = tlp.accepted;
    for (std::size_t n = 0; n < what.enabled.size(); ++n)
        if (what.enabled[n]) {
            u8& state = a->state[what.target + n - a->target];
            if (state == Access::IDLE) --a->left;
            state = Access::ASKED;
        }
    bool simple = a->beats == 1 && a->size <= 8 && a->address % a->size == 0;
    if (simple && a->left)
        errors_.add("tx: an access that needs one TLP has several: %s", text(*a).c_str());
    u64 number = a->number;
    if (a->write && !a->left && a->has_response) finish_write(*a);
    return number;
}

// What was answered to a core before it asked for something else comes to devices first, and so do
// earlier writes of the same ID.
void Accesses::check_passing(const Access& a) {
    for (auto& [number, w] : live_) {
        if (!w->write || w->configuration || w->finished || !w->left || w->expect != EXPECT_AUTO)
            continue;
        bool before = w->has_response && w->responded < a.offered;
        before |= a.write && !a.configuration && w->id == a.id && w->accepted < a.accepted &&
                  w->accepted;
        if (before)
            errors_.add("tx: %s: passes an earlier %s", text(a).c_str(), text(*w).c_str());
    }
}

void Accesses::answer(u64 number, u64 target, const u8* bytes, const u8* enabled, unsigned count,
                      Access::State state) {
    auto found = live_.find(number);
    if (found == live_.end()) return;
    Access& a = *found->second;
    for (unsigned n = 0; n < count; ++n) {
        u64 at = target + n - a.target;
        if (!enabled[n] || at >= a.state.size()) continue;
        a.state[at] = state;
        a.captured[at] = bytes ? bytes[n] : 0;
    }
}

void Accesses::answered(u64 number, u64 cycle) {
    auto found = live_.find(number);
    if (found == live_.end()) return;
    found->second->answered = cycle;
    found->second->stamp = transfers_.writes_offered();
}

void Accesses::read_offered(unsigned id, bool last) {
    auto& queue = reads_[id];
    if (queue.empty() || !last) return;
    Access& a = *queue.front();
    if (!a.answered || a.ambiguous) return;
    for (u8 state : a.state)
        if (state != Access::GOOD) return;
    if (!transfers_.writes_done(a.stamp))
        errors_.add("pio: given before an earlier write of a device is observable: %s",
                    text(a).c_str());
    ++statistics_.pio_order_checked;
}

void Accesses::read_beat(unsigned id, const u8* lanes, unsigned count, unsigned resp,
                         bool poisoned, bool last, u64 cycle) {
    auto& queue = reads_[id];
    if (queue.empty()) {
        errors_.add("pio: R with ID %u that nobody waits for", id);
        return;
    }
    Access& a = *queue.front();
    u64 from = a.beat_address(a.beat), to = (from & ~(a.size - 1)) + a.size;
    for (u64 at = from; at < to && at - a.address < a.data.size(); ++at)
        a.data[at - a.address] = lanes[at % count];
    if (resp > a.resp) a.resp = resp;
    a.poisoned |= poisoned;
    ++a.beat;
    if (last != (a.beat == a.beats))
        errors_.add("pio: RLAST is %d on beat %u: %s", last, a.beat, text(a).c_str());
    if (a.beat < a.beats) return;
    queue.pop_front();
    finish_read(a, cycle);
}

void Accesses::finish_read(Access& a, u64 cycle) {
    a.responded = cycle, a.has_response = true;
    ++statistics_.pio_reads;
    check_read(a);
    finish(a);
}

void Accesses::check_read(Access& a) {
    bool ones = true, failed = false, asked = true;
    for (std::size_t n = 0; n < a.data.size(); ++n) {
        ones &= a.data[n] == 255;
        failed |= a.state[n] >= Access::FAILED;
        asked &= a.state[n] >= Access::GOOD;
    }
    statistics_.pio_failed += failed;
    bool wrong = false;
    switch (Expect(a.expect)) {
    case EXPECT_ANY: return;
    case EXPECT_ONES: wrong = !ones || a.resp || a.poisoned; break;
    case EXPECT_ERROR: wrong = !ones || a.resp != SLVERR; break;
    case EXPECT_DECERR: wrong = a.resp != DECERR; break;
    case EXPECT_POISON: wrong = a.resp || !a.poisoned; break;
    case EXPECT_AUTO:
        wrong = !asked || (!failed && (a.resp || a.poisoned));
        for (std::size_t n = 0; n < a.data.size() && !wrong && !a.ambiguous; ++n) {
            bool all = failed && a.data[n] == 255;
            wrong = !all && (a.state[n] >= Access::FAILED || a.data[n] != a.captured[n]);
            ++statistics_.pio_bytes_checked;
        }
    }
    if (!wrong) return;
    std::string got, wanted;
    char byte[8];
    for (std::size_t n = 0; n < a.data.size() && n < 16; ++n) {
        snprintf(byte, sizeof byte, "%02x", a.data[n]), got += byte;
        snprintf(byte, sizeof byte, a.state[n] == Access::GOOD ? "%02x" : "--", a.captured[n]);
        wanted += byte;
    }
    errors_.add("pio: read gave %s, RRESP %u%s; device said %s, wanted kind %u: %s", got.c_str(),
                a.resp, a.poisoned ? ", poisoned" : "", wanted.c_str(), a.expect, text(a).c_str());
}

void Accesses::write_response(unsigned id, unsigned resp, u64 cycle) {
    auto& queue = writes_[id];
    if (queue.empty()) {
        errors_.add("pio: B with ID %u that nobody waits for", id);
        return;
    }
    Access& a = *queue.front();
    queue.pop_front();
    a.responded = cycle, a.has_response = true, a.resp = resp;
    ++statistics_.pio_writes;
    bool failed = false, asked = true;
    for (std::size_t n = 0; n < a.state.size(); ++n)
        failed |= a.state[n] >= Access::FAILED, asked &= !a.enabled[n] || a.state[n] >= Access::GOOD;
    statistics_.pio_failed += failed;
    unsigned wanted = a.expect == EXPECT_ERROR ? unsigned(SLVERR) :
                      a.expect == EXPECT_DECERR ? unsigned(DECERR) : 0;
    if (a.expect != EXPECT_ANY && resp != wanted && !(a.expect == EXPECT_AUTO && failed))
        errors_.add("pio: BRESP is %u: %s", resp, text(a).c_str());
    if (a.expect == EXPECT_AUTO && a.configuration && !asked)
        errors_.add("pio: B before the device answered: %s", text(a).c_str());
    if (a.expect != EXPECT_AUTO || !a.left) finish_write(a);
}

void Accesses::finish_write(Access& a) {
    if (a.expect != EXPECT_AUTO && a.expect != EXPECT_ANY && a.tlps && !a.configuration)
        errors_.add("pio: a write that must be dropped came to the device: %s", text(a).c_str());
    if (!a.finished) finish(a);
}

void Accesses::finish(Access& a) {
    a.finished = true;
    statistics_.pio_clocks += a.responded - a.accepted;
    if (a.report) {
        std::vector<u64> record = {a.resp | u64(a.poisoned) << 2 | u64(a.tlps) << 8, a.offered,
                                   a.accepted, a.asked, a.answered, a.responded, a.data.size()};
        for (std::size_t n = 0; n < a.data.size() && !a.write; n += 8) {
            u64 word = 0;
            memcpy(&word, &a.data[n], std::min<std::size_t>(8, a.data.size() - n));
            record.push_back(word);
        }
        events_.add_words(EVENT_PIO, a.op, record);
    }
    groups.count(a.group, -1);
    if (!a.has_target || (a.expect != EXPECT_ANY && !a.left)) live_.erase(a.number);
    else prune();
}

void Accesses::prune() {
    if (live_.size() <= KEPT) return;
    for (auto at = live_.begin(); at != live_.end(); ++at)
        if (at->second->finished) {
            live_.erase(at);
            return;
        }
}

void Accesses::reset() {
    live_.clear(), reads_.clear(), writes_.clear();
    groups.clear();
}
