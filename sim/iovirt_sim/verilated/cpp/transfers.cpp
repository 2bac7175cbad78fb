// Life of a transfer: from the program to TLPs, and its end.
#include "transfers.h"

namespace {

using ull = unsigned long long;

}  // namespace

void Transfers::start(const TransferRequest& request) {
    Row* row = new Row{0, false};
    if (request.first_be >= 0) {
        row->left = 1;
        start_tlp(request, row);
        return;
    }
    u64 limit = request.write ? settings_.mps : settings_.mrrs;
    std::vector<TransferRequest> parts;
    for (u32 at = 0; at < request.length;) {
        TransferRequest part = request;
        part.iova += at, part.spa += at;
        u64 to_page = 4096 - part.iova % 4096, most = limit - part.iova % 4;
        part.length = request.length - at;
        if (part.length > most) part.length = u32(most);
        if (part.length > to_page) part.length = u32(to_page);
        at += part.length;
        parts.push_back(part);
    }
    row->left = u32(parts.size());
    for (auto& part : parts) start_tlp(part, row);
}

// Turns a range of bytes into Dwords with byte enables.
void Transfers::start_tlp(const TransferRequest& request, Row* row) {
    auto owned = std::make_unique<Transfer>();
    Transfer& t = *owned;
    t.request = request, t.row = row;
    TransferRequest& r = t.request;
    if (r.first_be < 0) {
        u32 skip = r.iova % 4, dwords = (skip + r.length + 3) / 4;
        u32 tail = dwords * 4 - skip - r.length;
        r.first_be = 15 << skip & 15, r.last_be = 15 >> tail;
        if (dwords == 1) r.first_be &= r.last_be, r.last_be = 0;
        r.iova -= skip, r.spa -= skip, r.length = dwords * 4;
    }
    t.source = &sources_[u32(r.segment) << 16 | r.rid];
    t.enabled.assign(r.length, 1);
    for (unsigned n = 0; n < 4; ++n) {
        t.enabled[n] = r.first_be >> n & 1;
        if (r.length > 4) t.enabled[r.length - 4 + n] = r.last_be >> n & 1;
    }
    u32 low = r.length, high = 0;
    for (u32 n = 0; n < r.length; ++n)
        if (t.enabled[n]) low = n < low ? n : low, high = n + 1, ++t.left;
    t.empty = !high;
    t.first = high ? low : 0, t.bytes = high ? high - low : 1;
    t.issued_to = t.first;
    if (r.write) {
        t.data.resize(r.length);
        for (u32 n = 0; n < r.length; n += 4) {
            u32 value = payload_word(r.seed, r.iova + n);
            memcpy(&t.data[n], &value, 4);
        }
    } else {
        t.data.assign(r.length, 0);
        t.captured.assign(r.length, MISSING);
    }
    Tlp tlp = make_tlp(t);
    tlp.owner = &t;
    groups_.count(r.group, 1);
    live_[&t] = std::move(owned);
    send(std::move(tlp));
}

Tlp Transfers::make_tlp(const Transfer& t) const {
    const TransferRequest& r = t.request;
    Tlp tlp;
    bool wide = r.iova >> 32;
    tlp.op = r.op, tlp.segment = r.segment;
    tlp.prefix = r.prefix, tlp.prefix_valid = r.prefix_valid;
    u32* word = tlp.header.word;
    word[0] = u32(wide) << 29 | u32(r.write) << 30 | u32(r.tc & 7) << 20 | u32(r.attr & 4) << 16 |
              u32(r.attr & 3) << 12 | (r.length / 4 & 1023);
    word[1] = u32(r.rid) << 16 | u32(r.last_be) << 4 | u32(r.first_be);
    if (wide) word[2] = u32(r.iova >> 32), word[3] = u32(r.iova);
    else word[2] = u32(r.iova);
    if (r.write) {
        tlp.payload.resize(r.length / 4);
        memcpy(tlp.payload.data(), t.data.data(), r.length);
    }
    return tlp;
}

void Transfers::start_raw(Tlp&& tlp, u16 group, bool answered) {
    if (answered && tlp.header.non_posted()) {
        raw_[tag_key(tlp.header.rid(), tlp.header.tag())] = {tlp.op, group};
        groups_.count(group, 1);
    }
    send(std::move(tlp));
}

std::string Transfers::describe_oldest() const {
    const Transfer* oldest = nullptr;
    for (auto& [key, t] : live_)
        if (!t->done && (!oldest || t->request.op < oldest->request.op)) oldest = key;
    return oldest ? text(*oldest) : raw_.empty() ? "nothing" : "an answer to a raw TLP";
}

std::string Transfers::text(const Transfer& t) {
    char text[200];
    const TransferRequest& r = t.request;
    snprintf(text, sizeof text, "%s of operation %u: rid %04x, iova %llx, spa %llx, %u bytes, %s",
             r.write ? "write" : "read", r.op, r.rid, ull(r.iova + t.first), ull(r.spa + t.first),
             t.bytes, t.has_issued ? "gone to memory" : t.accepted ? "taken" : "not taken yet");
    return text;
}

void Transfers::link_down() {
    for (auto& [key, t] : by_tag_) {
        t->done = true;
        ++statistics_.reads_lost;
        t->source->tags.insert(t->source->tags.begin(), t->tag);
        if (!--t->row->left) delete t->row;
        groups_.count(t->request.group, -1);
    }
    for (auto& [key, raw] : raw_) groups_.count(raw.group, -1);
    by_tag_.clear(), raw_.clear();
    np_used_ = 0;
}

void Transfers::reset() {
    for (auto& [key, t] : live_)
        if (!t->done && !--t->row->left) delete t->row;
    live_.clear(), by_tag_.clear(), raw_.clear(), reads_.clear(), writes_.clear();
    sources_.clear(), groups_.clear();
    open_.clear();
    np_used_ = 0;
}

bool Transfers::may_send(const Tlp& tlp) {
    if (!tlp.header.non_posted()) return true;
    if (np_used_ >= settings_.np_limit) return false;
    auto* t = static_cast<Transfer*>(tlp.owner);
    if (!t) return true;
    Source& source = *t->source;
    if (!source.made_tags) {
        for (u64 n = settings_.tags; n--;) source.tags.push_back(u32(n));
        source.made_tags = true;
    }
    return !source.tags.empty();
}

void Transfers::starting(Tlp& tlp) {
    np_used_ += tlp.header.non_posted();
    auto* t = static_cast<Transfer*>(tlp.owner);
    if (!t) return;
    Source& source = *t->source;
    if (t->request.write) {
        if (t->request.expect == SC && !t->empty) {
            ++source.writes;
            open_.insert(t->number = ++writes_offered_);
            source.writes_to_issue.push_back(t);
            writes_[t->request.spa / 4096].push_back(t);
        }
        return;
    }
    t->tag = source.tags.back();
    source.tags.pop_back();
    t->writes_before = source.writes;
    tlp.header.word[1] |= (t->tag & 255) << 8;
    tlp.header.word[0] |= (t->tag >> 8 & 1) << 19 | (t->tag >> 9 & 1) << 23;
    by_tag_[tag_key(t->request.rid, t->tag)] = t;
    if (t->request.expect == SC) reads_[t->request.spa / 4096].push_back(t);
}

void Transfers::taken(Tlp& tlp, u64 cycle) {
    auto* t = static_cast<Transfer*>(tlp.owner);
    if (!t) return;
    t->accepted = cycle;
    if (t->request.expect == SC) walks_.arrived(t->request.group, t->request.iova);
}

void Transfers::sent(Tlp& tlp, u64) {
    auto* t = static_cast<Transfer*>(tlp.owner);
    if (!t || !t->request.write) return;
    // Nothing tells when a denied write has been dropped.
    if (t->request.expect != SC || t->empty) finish(*t, t->request.expect);
}

void Transfers::finish(Transfer& t, unsigned status) {
    const TransferRequest& r = t.request;
    t.done = true;
    ++(r.write ? statistics_.writes : statistics_.reads);
    if (status == SC) {
        u64 bytes = 0;
        for (u8 on : t.enabled) bytes += on != 0;
        (r.write ? statistics_.write_bytes : statistics_.read_bytes) += bytes;
        ++statistics_.transfers_checked;
    }
    statistics_.denied += status == UR;
    statistics_.aborted += status == CA;
    statistics_.poisoned += t.poisoned;
    if (r.write) open_.erase(t.number);
    else {
        if (credit_by_answer) give_back(1);
        by_tag_.erase(tag_key(r.rid, t.tag));
        t.source->tags.insert(t.source->tags.begin(), t.tag);
        remove(reads_, t);
    }
    if (r.report)
        events_.add(EVENT_TRANSFER, r.op, status | u64(t.poisoned) << 3, t.accepted, t.issued, now);
    if (!--t.row->left) {
        if (r.expect == SC) ++(t.row->missed ? statistics_.row_misses : statistics_.row_hits);
        delete t.row;
    }
    groups_.count(r.group, -1);
    if (!t.axi) live_.erase(&t);
}
