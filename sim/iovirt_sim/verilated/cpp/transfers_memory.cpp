// Checks of what transfers do on the `dma` port.
#include "transfers.h"

namespace {

using ull = unsigned long long;

}  // namespace

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
