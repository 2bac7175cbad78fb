#include "transfers.h"

namespace {

using ull = unsigned long long;

u32 tag_key(unsigned rid, unsigned tag) { return rid << 10 | tag; }

}  // namespace

// ---------------------------------------------------------------- the program's side

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
    count(r.group, 1);
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
        count(group, 1);
    }
    send(std::move(tlp));
}

void Transfers::count(u16 group, int change) {
    if (group >= groups_.size()) groups_.resize(group + 1, 0);
    groups_[group] += change;
    outstanding_ += change;
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

void Transfers::reset() {
    for (auto& [key, t] : live_)
        if (!t->done && !--t->row->left) delete t->row;
    live_.clear(), by_tag_.clear(), raw_.clear(), reads_.clear(), writes_.clear();
    sources_.clear(), groups_.clear();
    outstanding_ = np_used_ = 0;
}

// ---------------------------------------------------------------- TLPs on their way in

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

// ---------------------------------------------------------------- the `dma` port

void Transfers::mark_issued(Transfer& t) {
    if (t.has_issued) return;
    t.has_issued = true;
    t.issued = now;
    statistics_.add_latency(now - t.accepted);
    statistics_.issue_clocks += now - t.accepted;
    bool hit = walks_.issued(t.request.group, t.request.iova, t.accepted);
    ++(hit ? statistics_.tlp_hits : statistics_.tlp_misses);
    if (!hit) t.row->missed = true;
}

bool Transfers::allowed(u64 low, u64 high) const {
    for (auto& [from, to] : allowed_)
        if (low >= from && high <= to) return true;
    return false;
}

Transfers::Transfer* Transfers::find_write(u64 address) const {
    auto page = writes_.find(address / 4096);
    if (page == writes_.end()) return nullptr;
    for (Transfer* t : page->second) {
        u64 at = address - t->request.spa;
        if (address >= t->request.spa && at < t->request.length && t->enabled[at] == 1) return t;
    }
    return nullptr;
}

void Transfers::remove(Pages& pages, Transfer& t) {
    auto page = pages.find(t.request.spa / 4096);
    if (page == pages.end()) return;
    auto& list = page->second;
    for (std::size_t n = 0; n < list.size(); ++n)
        if (list[n] == &t) {
            list.erase(list.begin() + n);
            break;
        }
    if (list.empty()) pages.erase(page);
}

void Transfers::read_issued(AxiRead& read) {
    ++statistics_.dma_reads;
    u64 low = read.address & ~(read.size - 1), high = low + read.beats * read.size;
    auto page = reads_.find(low / 4096);
    Transfer* found = nullptr;
    if (page != reads_.end())
        for (Transfer* t : page->second) {
            u64 from = t->request.spa, to = from + t->request.length, next = from + t->issued_to;
            bool open = t->empty ? !t->has_issued : t->issued_to < t->first + t->bytes;
            bool fits = open && next >= low && next < high && low >= (from & ~(read.size - 1)) &&
                        high <= ((to + read.size - 1) & ~(read.size - 1));
            if (fits && !found) found = t;
            // Bursts are whole bus words, so two reads of one word look the same, and may be issued
            // in either order.
            else if (from < high && to > low) read.others.push_back(t);
        }
    if (!found) {
        if (!allowed(low, high))
            errors_.add("dma: read of %llx..%llx belongs to no request of a device", ull(low),
                        ull(high));
        return;
    }
    Transfer& t = *found;
    if (!(t.request.attr & 4) && t.source->writes_answered < t.writes_before)
        errors_.add("dma: issued before an earlier write of its source was answered: %s",
                    text(t).c_str());
    mark_issued(t);
    read.owner = &t;
    ++t.axi;
    for (void* other : read.others) ++static_cast<Transfer*>(other)->axi;
    u64 end = high - t.request.spa;
    t.issued_to = u32(end < t.request.length ? end : t.request.length);
}

void Transfers::read_beat(AxiRead& read, u64 address, const u8* bytes, unsigned count, Resp resp) {
    if (!read.owner) return;
    auto& t = *static_cast<Transfer*>(read.owner);
    u64 spa = t.request.spa, length = t.request.length;
    u64 low = read.beat_address(read.beat) & ~(read.size - 1), high = low + read.size;
    Capture kind = resp == DECERR ? ABORT : resp == SLVERR ? POISON : GOOD;
    for (unsigned n = 0; n < count; ++n) {
        u64 a = address + n;
        if (a < low || a >= high || a < spa || a >= spa + length) continue;
        t.data[a - spa] = bytes[n];
        t.captured[a - spa] = kind;
    }
    for (void* owner : read.others) {
        auto& other = *static_cast<Transfer*>(owner);
        for (unsigned n = 0; n < count; ++n)
            if (u64 at = address + n - other.request.spa; at < other.request.length)
                other.others.push_back({u32(at), bytes[n]});
    }
    if (read.beat + 1 < read.beats) return;
    for (void* owner : read.others) leave_bus(owner);
    leave_bus(&t);
}

void Transfers::leave_bus(void* owner) {
    auto* t = static_cast<Transfer*>(owner);
    if (!--t->axi && t->done) live_.erase(t);
}

bool Transfers::other_fits(const Transfer& t, u32 offset, u8 byte) {
    for (auto& [at, value] : t.others)
        if (at == offset && value == byte) return true;
    return false;
}

void Transfers::write_assembled(AxiWrite& write) {
    ++statistics_.dma_writes;
    unsigned lanes = unsigned(write.data.size() / write.strobes.size());
    Transfer* t = nullptr;
    for (std::size_t beat = 0; beat < write.strobes.size(); ++beat)
        for (unsigned lane = 0; lane < lanes; ++lane) {
            if (!(write.strobes[beat] >> lane & 1)) continue;
            u64 address = write.lanes[beat] + lane, at = t ? address - t->request.spa : 0;
            if (!t || address < t->request.spa || at >= t->request.length || t->enabled[at] != 1) {
                t = find_write(address);
                if (!t) {
                    if (allowed(address, address + 1)) continue;
                    errors_.add("dma: write to %llx belongs to no request of a device",
                                ull(address));
                    return;
                }
                if (!t->has_issued && !(t->request.attr & 6) &&
                    t->source->writes_to_issue.front() != t)
                    errors_.add("dma: issued before an earlier write of its source: %s",
                                text(*t).c_str());
                mark_issued(*t);
                if (write.owners.empty() || write.owners.back() != t) {
                    write.owners.push_back(t);
                    ++t->axi;
                }
                at = address - t->request.spa;
            }
            u8 byte = write.data[beat * lanes + lane];
            if (byte != t->data[at])
                errors_.add("dma: byte %02x written to %llx instead of %02x: %s", byte,
                            ull(address), t->data[at], text(*t).c_str());
            t->enabled[at] = 2;
            ++statistics_.bytes_checked;
            if (--t->left) continue;
            auto& order = t->source->writes_to_issue;
            for (std::size_t n = 0; n < order.size(); ++n)
                if (order[n] == t) {
                    order.erase(order.begin() + n);
                    break;
                }
            remove(writes_, *t);
        }
}

void Transfers::write_answered(AxiWrite& write, Resp resp) {
    for (void* owner : write.owners) {
        auto& t = *static_cast<Transfer*>(owner);
        --t.axi;
        if (resp >= SLVERR) t.poisoned = true;
        if (t.left || t.axi) continue;
        ++t.source->writes_answered;
        finish(t, SC);
    }
}

// ---------------------------------------------------------------- TLPs that come back

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
    count(raw->second.group, -1);
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
    if (!r.write) {
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
    count(r.group, -1);
    if (!t.axi) live_.erase(&t);
}
