// Life of a request of a modelled device.
#include "sharing/dma.h"

namespace {

using ull = unsigned long long;

constexpr unsigned SC = 0;

}  // namespace

void DeviceDma::start(Dma&& given) {
    auto request = std::make_shared<Dma>(std::move(given));
    Dma& r = *request;
    monitor_.use(r.issuer, r.use, r.address, r.length);
    if (!r.write) r.data.assign(r.length, 0);
    ++(r.write ? writes : reads);
    (r.write ? write_bytes : read_bytes) += r.length;
    cut(std::move(request));
    pump();
}

// Pieces end at pages, and are no longer than MPS or MRRS allow; those after the first begin at a
// multiple of that.
void DeviceDma::cut(std::shared_ptr<Dma> request) {
    Dma& r = *request;
    u64 limit = r.write ? settings_.mps : settings_.mrrs;
    for (u32 at = 0; at < r.length;) {
        u64 from = r.address + at, count = limit - from % limit;
        if (count > 4096 - from % 4096) count = 4096 - from % 4096;
        if (count > r.length - at) count = r.length - at;
        auto owned = std::make_unique<Piece>(Piece{this, request, at, u32(count), 0, 0});
        (r.write ? write_queue_ : read_queue_).push_back(owned.get());
        live_[owned.get()] = std::move(owned);
        at += u32(count);
        ++r.left;
    }
}

// Writes in their order, and reads in theirs.
void DeviceDma::pump() {
    while (!write_queue_.empty() && writing_ < most_writes) {
        Tlp tlp = make(*write_queue_.front());
        write_queue_.pop_front();
        ++writing_;
        send(std::move(tlp));
    }
    while (!read_queue_.empty() && reading_ < most_reads) {
        Tlp tlp = make(*read_queue_.front());
        read_queue_.pop_front();
        ++reading_;
        send(std::move(tlp));
    }
}

Tlp DeviceDma::make(const Piece& piece) const {
    const Dma& r = *piece.request;
    u64 from = r.address + piece.at, start = from & ~u64(3);
    u32 skip = u32(from % 4), dwords = (skip + piece.length + 3) / 4;
    u32 first = 15u << skip & 15, last = 15u >> (dwords * 4 - skip - piece.length);
    if (dwords == 1) first &= last, last = 0;
    Tlp tlp;
    tlp.kind = TLP_DEVICE, tlp.owner = const_cast<Piece*>(&piece), tlp.segment = segment;
    u32* word = tlp.header.word;
    bool wide = start >> 32;
    word[0] = u32(wide) << 29 | u32(r.write) << 30 | u32(r.at & 3) << 10 | (dwords & 1023);
    word[1] = u32(rid) << 16 | last << 4 | first;
    if (wide) word[2] = u32(start >> 32), word[3] = u32(start);
    else word[2] = u32(start);
    if (r.write) {
        tlp.payload.assign(dwords, 0);
        memcpy(reinterpret_cast<u8*>(tlp.payload.data()) + skip, &r.data[piece.at], piece.length);
    }
    return tlp;
}

void DeviceDma::starting(Tlp& tlp) {
    if (!tlp.header.non_posted()) return;
    if (!made_tags_) {
        for (u64 n = settings_.tags; n--;) tags_.push_back(u32(n));
        made_tags_ = true;
    }
    auto* piece = static_cast<Piece*>(tlp.owner);
    piece->tag = tags_.back();
    tags_.pop_back();
    tlp.header.word[1] |= (piece->tag & 255) << 8;
    tlp.header.word[0] |= (piece->tag >> 8 & 1) << 19 | (piece->tag >> 9 & 1) << 23;
    by_tag_[piece->tag] = piece;
}

void DeviceDma::sent(Tlp& tlp) {
    auto* piece = static_cast<Piece*>(tlp.owner);
    if (!piece->request->write) return;
    --writing_;
    finish(piece);
}

bool DeviceDma::completed(const Tlp& tlp) {
    auto found = by_tag_.find(tlp.header.completion_tag());
    if (found == by_tag_.end()) return false;
    Piece* piece = found->second;
    Dma& r = *piece->request;
    const Header& h = tlp.header;
    if (h.status() != SC || !h.has_data()) {
        if (!r.status) r.status = u8(h.status() ? h.status() : 7);
        piece->answered = piece->length;
    } else check(*piece, tlp);
    if (piece->answered < piece->length) return true;
    by_tag_.erase(found);
    tags_.insert(tags_.begin(), piece->tag);
    --reading_;
    finish(piece);
    return true;
}

void DeviceDma::check(Piece& piece, const Tlp& tlp) {
    const Header& h = tlp.header;
    Dma& r = *piece.request;
    u32 left = piece.length - piece.answered;
    u64 at = r.address + piece.at + piece.answered;
    auto complain = [&](const char* what, ull seen, ull wanted) {
        errors_.add("tx: completion for a device has %s %llx instead of %llx: rid %04x, read of "
                    "%llx, %u bytes", what, seen, wanted, rid, ull(at), left);
    };
    if (h.byte_count() != left) complain("byte count", h.byte_count(), left);
    if (h.lower_address() != (at & 127)) complain("lower address", h.lower_address(), at & 127);
    if (h.tc() || h.attr()) complain("TC or Attr", h.tc() << 4 | h.attr(), 0);
    u32 carried = h.length_dw() * 4 - u32(at % 4), count = carried < left ? carried : left;
    if (h.length_dw() * 4 > settings_.mps) complain("payload", h.length_dw() * 4, settings_.mps);
    if (carried >= left + 4) complain("length", carried, left);
    if (count < left && (at + count) % settings_.rcb) complain("an end off the boundary,", count, left);
    if (tlp.payload.size() != h.length_dw()) return;
    memcpy(&r.data[piece.at + piece.answered],
           reinterpret_cast<const u8*>(tlp.payload.data()) + at % 4, count);
    piece.answered += count;
    r.poisoned |= h.poisoned();
}

void DeviceDma::finish(Piece* piece) {
    auto request = std::move(piece->request);
    live_.erase(piece);
    pump();
    Dma& r = *request;
    if (--r.left) return;
    if (r.status) monitor_.breach(monitor_.failed, "an access failed", r.issuer, r.address, r.status);
    monitor_.poisoned += r.poisoned;
    if (!r.write && r.issuer && !r.status) 
        monitor_.data(r.issuer, r.address, r.data.data(), r.length);
    if (trace) report(r);
    if (r.done) r.done(r);
}

void DeviceDma::report(const Dma& r) {
    std::vector<u64> words = {timers_.now, u64(r.use) | u64(r.write) << 8 | u64(r.issuer) << 16 |
                              u64(r.queue) << 32, r.address, r.length,
                              u64(r.status) | u64(r.poisoned) << 8};
    for (u32 at = 0; at < r.length; at += 8) {
        u64 word = 0;
        memcpy(&word, &r.data[at], r.length - at < 8 ? r.length - at : 8);
        words.push_back(word);
    }
    events_.add_words(EVENT_DEVICE_DMA, NO_OP, words);
}

void DeviceDma::reset() {
    live_.clear(), by_tag_.clear(), read_queue_.clear(), write_queue_.clear(), tags_.clear();
    made_tags_ = false;
    reading_ = writing_ = 0;
}
