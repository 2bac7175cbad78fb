// Completions of devices: split, late, wrong, or forged.
#include "devices.h"

void Devices::answer(Request& r, u64 cycle) {
    const Header& h = r.tlp.header;
    const Rule& rule = r.rule;
    if (rule.action == Rule::NONE) return;
    unsigned first = h.first_be(), last = h.last_be(), length = h.length_dw();
    r.skip = first ? unsigned(__builtin_ctz(first)) : 0;
    unsigned top = length > 1 ? last : first;
    r.bytes = top ? 4 * length - 3 + (31 - unsigned(__builtin_clz(top))) - r.skip : 1;
    if (!h.memory()) r.bytes = 4, r.skip = 0;
    u64 boundary = rule.split ? rule.split : settings_.mps, start = h.address() + r.skip;
    u64 due = cycle + rule.delay + random_.below(u64(rule.jitter) + 1);
    bool live = !rule.late;
    if (live) live_[h.tag()] = cycle;
    else ++statistics_.answers_late;
    std::size_t held = held_.size();
    if (rule.hold) held_.emplace_back();
    for (unsigned at = 0, piece = 0; at < r.bytes; ++piece) {
        unsigned count = r.bytes - at;
        u64 to = boundary - (start + at) % boundary;
        if (h.memory() && count > to) count = unsigned(to);
        bool bad = rule.action != Rule::OK && piece >= rule.piece;
        bool ends = at + count >= r.bytes || (bad && rule.action != Rule::POISON);
        Tlp tlp = completion(r, at, count, bad ? unsigned(rule.action) : unsigned(Rule::OK));
        Tlp forged = tlp;
        tamper(forged, rule);
        if (rule.forged == Rule::BEFORE) queue(r, Tlp(forged), due, false, false);
        if (rule.forged == Rule::INSTEAD) queue(r, Tlp(forged), due, ends, live);
        else queue(r, std::move(tlp), due, ends, live);
        if (rule.forged == Rule::AFTER) queue(r, Tlp(forged), due, false, false);
        at += count;
        if (ends) break;
        due += random_.below(u64(rule.jitter) + 1);
    }
    if (rule.hold && held < held_.size() && held_[held].empty()) held_.pop_back();
}

Tlp Devices::completion(const Request& r, unsigned at, unsigned bytes, unsigned action) const {
    static constexpr unsigned STATUS[] = {0, 1, 4, 2, 0, 0};
    const Header& h = r.tlp.header;
    bool data = !h.has_data() && (action == Rule::OK || action == Rule::POISON);
    unsigned from = r.skip + at, dwords = (from % 4 + bytes + 3) / 4;
    unsigned completer = r.place.function ? r.place.function->rid() : h.word[2] >> 16;
    Tlp tlp;
    tlp.kind = TLP_ANSWER, tlp.op = r.tlp.op;
    u32* word = tlp.header.word;
    // Tag[9:8], TC and Attr come back.
    word[0] = 0x0A000000u | (h.word[0] & 0x00fc3000u) |
              (data ? 0x40000000u | dwords : 0) | (action == Rule::POISON ? 1u << 14 : 0);
    word[1] = completer << 16 | STATUS[action] << 13 | ((r.bytes - at) & 4095);
    word[2] = h.rid() << 16 | (h.word[1] & 0xff00);
    if (h.memory()) word[2] |= u32(h.address() + from) & 127;
    if (data)
        tlp.payload.assign(r.payload.begin() + from / 4, r.payload.begin() + from / 4 + dwords);
    return tlp;
}

void Devices::tamper(Tlp& tlp, const Rule& rule) const {
    for (unsigned n = 0; n < 3; ++n) tlp.header.word[n] ^= rule.flip[n];
    if (!rule.dwords || !tlp.header.has_data()) return;
    int length = int(tlp.payload.size()) + rule.dwords;
    tlp.payload.resize(length > 1 ? std::size_t(length) : 1, 0xF00DF00D);
    tlp.header.word[0] = (tlp.header.word[0] & ~1023u) | (u32(tlp.payload.size()) & 1023);
}

void Devices::queue(const Request& r, Tlp&& tlp, u64 due, bool last, bool live) {
    tlp.owner = new Answer{r.access, r.tlp.header.tag(), last, live};
    if (r.rule.hold) held_.back().push_back(std::move(tlp));
    else due_.emplace(due, std::move(tlp));
}

void Devices::release(unsigned order) {
    while (!held_.empty()) {
        std::size_t n = order == 0 ? 0 : order == 1 ? held_.size() - 1 : random_.below(held_.size());
        for (Tlp& tlp : held_[n]) due_.emplace(0, std::move(tlp));
        held_.erase(held_.begin() + n);
    }
}

void Devices::drive(u64 cycle) {
    while (!due_.empty() && due_.begin()->first <= cycle) {
        Tlp tlp = std::move(due_.begin()->second);
        due_.erase(due_.begin());
        send(std::move(tlp));
    }
}

void Devices::sent(Tlp& tlp, u64 cycle) {
    auto* answer = static_cast<Answer*>(tlp.owner);
    ++statistics_.answers;
    if (answer->last) {
        if (answer->live) live_.erase(answer->tag);
        accesses_.answered(answer->access, cycle);
    }
    delete answer;
}

void Devices::dropped(Tlp& tlp) {
    auto* answer = static_cast<Answer*>(tlp.owner);
    if (answer->last && answer->live) live_.erase(answer->tag);
    delete answer;
}

void Devices::link_down() {
    for (auto& [when, tlp] : due_) dropped(tlp);
    for (auto& group : held_)
        for (Tlp& tlp : group) dropped(tlp);
    due_.clear(), held_.clear(), live_.clear();
}

void Devices::reset() {
    link_down();
}
