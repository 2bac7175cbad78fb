// Checks of the TLPs that come back.
#include "transfers.h"

namespace {

using ull = unsigned long long;

}  // namespace

void Transfers::received(Tlp& tlp, u64 cycle) {
    const Header& h = tlp.header;
    std::vector<u64> record = {cycle, u64(h.word[0]) << 32 | h.word[1],
                               u64(h.word[2]) << 32 | h.word[3],
                               u64(tlp.prefix_valid) << 32 | tlp.prefix, tlp.payload.size()};
    for (std::size_t n = 0; n < tlp.payload.size(); n += 2)
        record.push_back(tlp.payload[n] |
                         (n + 1 < tlp.payload.size() ? u64(tlp.payload[n + 1]) << 32 : 0));
    if (!h.completion()) {
        events_.add_words(EVENT_TLP, NO_OP, record);
        return;
    }
    ++statistics_.completions;
    u32 key = tag_key(h.requester(), h.completion_tag());
    auto found = by_tag_.find(key);
    if (found != by_tag_.end()) {
        receive_completion(*found->second, tlp);
        return;
    }
    auto raw = raw_.find(key);
    if (raw == raw_.end()) {
        errors_.add("tx: completion %08x %08x %08x answers no request", h.word[0], h.word[1],
                    h.word[2]);
        return;
    }
    events_.add_words(EVENT_TLP, raw->second.op, record);
    bool last = h.status() != SC || !h.has_data() ||
                h.byte_count() <= 4 * h.length_dw() - (h.lower_address() & 3);
    if (!last) return;
    groups_.count(raw->second.group, -1);
    if (credit_by_answer) give_back(1);
    raw_.erase(raw);
}

void Transfers::receive_completion(Transfer& t, const Tlp& tlp) {
    const Header& h = tlp.header;
    u32 left = t.bytes - t.answered;
    u64 at = t.request.iova + t.first + t.answered;
    auto complain = [&](const char* what, ull seen, ull wanted) {
        errors_.add("tx: completion has %s %llx instead of %llx: %s", what, seen, wanted,
                    text(t).c_str());
    };
    if (h.byte_count() != left) complain("byte count", h.byte_count(), left);
    if (h.tc() != t.request.tc) complain("TC", h.tc(), t.request.tc);
    if (h.attr() != t.request.attr) complain("Attr", h.attr(), t.request.attr);
    if (h.status() != SC || !h.has_data()) {
        unsigned wanted = t.request.expect;
        for (u8 kind : t.captured)
            if (kind == ABORT) wanted = CA;
        if (h.status() != wanted || h.has_data()) complain("status", h.status(), wanted);
        finish(t, h.status());
        return;
    }
    if (t.request.expect != SC) complain("status", SC, t.request.expect);
    if (h.lower_address() != (at & 127)) complain("lower address", h.lower_address(), at & 127);
    u32 carried = h.length_dw() * 4 - at % 4, piece = carried < left ? carried : left;
    if (h.length_dw() * 4 > settings_.mps) complain("payload", h.length_dw() * 4, settings_.mps);
    if (carried >= left + 4) complain("length", carried, left);
    if (piece < left && (at + piece) % settings_.rcb)
        complain("an end off the boundary,", (at + piece) % settings_.rcb, 0);
    if (tlp.payload.size() == h.length_dw()) check_data(t, tlp, piece);
    t.answered += piece;
    if (t.answered == t.bytes) finish(t, SC);
}

void Transfers::check_data(Transfer& t, const Tlp& tlp, u32 piece) {
    const u8* bytes = reinterpret_cast<const u8*>(tlp.payload.data());
    u32 from = t.first + t.answered, skip = u32((t.request.iova + from) % 4);
    bool poisoned = false;
    for (u32 n = 0; n < piece; ++n)
        poisoned |= t.enabled[from + n] && t.captured[from + n] == POISON;
    for (u32 n = 0; n < piece; ++n) {
        if (!t.enabled[from + n] || poisoned) continue;
        u8 kind = t.captured[from + n];
        if ((kind == GOOD && bytes[skip + n] == t.data[from + n]) ||
            other_fits(t, from + n, bytes[skip + n])) {
            ++statistics_.bytes_checked;
            continue;
        }
        errors_.add("tx: byte %02x at offset %u %s%02x: %s", bytes[skip + n], from + n,
                    kind == MISSING ? "was not read from memory, not " : "instead of ",
                    t.data[from + n], text(t).c_str());
        return;
    }
    if (poisoned != tlp.header.poisoned())
        errors_.add("tx: EP is %d, not %d: %s", tlp.header.poisoned(), poisoned, text(t).c_str());
    t.poisoned |= poisoned;
}
