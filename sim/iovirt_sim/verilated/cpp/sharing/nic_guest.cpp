// Packets, and what must come of them.
#include "sharing/nic_guest.h"

namespace {

constexpr u64 EOP = 1, RS = 8, DEXT = 0x20, VLE = 0x40, DD = 1;
constexpr u64 SHORTEST = 32, SEGMENT = 1460, PATIENCE = 3000;

u64 command(u64 bits) { return bits << 24; }   // in the second doubleword of a descriptor

}  // namespace

void NicGuest::begin() {
    random_.state = options.seed * 7919 + number_;
    ++epoch_;
    todo_ = counts.in_flight = 0;
    tail_ = clean_ = rx_tail_ = rx_head_ = refilled_ = 0;
    free_ = u32(options.depth) - 1;
    stepping_ = false;
    ends_.assign(options.depth, 0);
    for (u64 at = 0; at < options.depth * 16; at += 8) world_.memory.write(options.tx + at, 0);
    for (u64 at = 0; at < options.depth * rx_size(); at += 8) world_.memory.write(options.rx + at, 0);
}

void NicGuest::go(u64 packets) {
    todo_ += packets;
    last_moved = world_.timers.now;
    if (!counts.first) counts.first = world_.timers.now;
    if (stepping_) return;
    stepping_ = true;
    for (u32 n = 0; n + 1 < options.depth; ++n) refill();
    refilled_ = 0;
    store(options.rx_doorbell, rx_tail_);
    u64 epoch = epoch_;
    world_.timers.in(1, [=] {
        if (epoch == epoch_) step();
    });
}

// It never ends, because packets may come at any time.
void NicGuest::step() {
    if (options.hostile) scribble();
    look();
    clean();
    fill();
    u64 epoch = epoch_;
    world_.timers.in(options.poll ? options.poll : 1, [=] {
        if (epoch == epoch_) step();
    });
}

void NicGuest::store(u64 address, u64 value) {
    ++counts.doorbells;
    if (world_.store(address, value, 4, unsigned(options.core))) return;
    --counts.doorbells;
    u64 epoch = epoch_;
    world_.timers.in(16, [=] {
        if (epoch == epoch_) store(address, value);
    });
}

void NicGuest::put(u64 low, u64 high) {
    u64 at = options.tx + 16 * u64(tail_);
    world_.memory.write(at, low), world_.memory.write(at + 8, high);
    ends_[tail_] = high >> 24 & RS ? 1 : 0;
    if (++tail_ == options.depth) tail_ = 0;
    --free_;
}

void NicGuest::fill() {
    u64 made = 0;
    while (todo_ && made < options.batch && free_ >= 5 && send_packet()) --todo_, ++made;
    if (made) store(options.tx_doorbell, tail_);
}

void NicGuest::context() {
    ++counts.contexts;
    put(random_.next() >> 8, SEGMENT << 48 | command(DEXT));
}

// Up to three pieces anywhere in the page of its first descriptor.
bool NicGuest::send_packet() {
    if (options.hostile) {
        u64 high = random_.next() & ~(DD << 32);
        if (!random_.chance(16)) high = (high & ~u64(0xf0'fff0)) | (random_.below(2) << 20);
        put(pointer(), high | command(RS | (random_.below(2) ? EOP : 0)));
        ++counts.in_flight, ++counts.sent;
        return true;
    }
    if (random_.chance(options.contexts)) context();
    bool legacy = random_.chance(options.legacy);
    u64 length = SHORTEST + random_.below(options.longest - SHORTEST + 1), page = tail_;
    u64 offset = random_.below(PAGE - length - 8) & ~u64(7), number = ++sequence_;
    std::vector<u64> words((length + 7) / 8);
    for (u64 n = 0; n < words.size(); ++n) words[n] = word(number, n);
    words[0] = guest_tag(unsigned(options.guest)) | u32(number);
    words[1] = guest_tag(unsigned(options.guest)) | length;
    for (u64 n = 0; n < words.size(); ++n)
        world_.memory.write(pages[page] + offset + 8 * n, words[n]);
    u64 pieces = 1 + random_.below(3), vlan = options.vlan ? options.vlan << 48 : 0;
    for (u64 n = 0, done = 0; done < length; ++n) {
        u64 size = n + 1 < pieces ? 1 + random_.below(length - done) : length - done;
        bool last = done + size == length;
        u64 bits = (last ? EOP | RS : 0) | (vlan && last ? VLE : 0);
        u64 high = legacy ? size | command(bits) : size | u64(1) << 20 | command(bits | DEXT);
        put(gpa(page) + offset + done, high | (last ? vlan : 0));
        done += size;
    }
    ++counts.in_flight, ++counts.sent;
    counts.bytes += length;
    return true;
}

// Descriptors are free when the status of the last one of their packet is there.
void NicGuest::clean() {
    // Of replaced descriptors nothing is told.
    if (options.hostile && tail_ != clean_ && world_.timers.now - last_moved > PATIENCE) {
        free_ = u32(options.depth) - 1, clean_ = tail_, counts.in_flight = 0;
        last_moved = world_.timers.now;
    }
    for (;;) {
        u32 at = clean_;
        auto done = [&] { return world_.memory.read(options.tx + 16 * u64(at) + 8) >> 32 & DD; };
        auto skip = [&] { return !ends_[at] || (options.hostile && !done()); };
        while (at != tail_ && skip()) at = at + 1 == options.depth ? 0 : at + 1;
        if (at == tail_ || !done()) return;
        ends_[at] = 0;
        u32 next = at + 1 == options.depth ? 0 : at + 1;
        free_ += (next + u32(options.depth) - clean_) % u32(options.depth);
        clean_ = next;
        if (counts.in_flight) --counts.in_flight;
        if (clean_ == tail_) counts.in_flight = 0;
        last_moved = counts.last = world_.timers.now;
    }
}

void NicGuest::refill() {
    u64 at = options.rx + rx_size() * u64(rx_tail_), page = options.depth + rx_tail_;
    for (u64 n = 0; n < rx_size() / 8; ++n) {
        u64 buffer = options.split ? gpa(page) + 1024 * n : n ? 0 : gpa(page) + 2048 * (page & 1);
        world_.memory.write(at + 8 * n, options.hostile ? pointer() : buffer);
    }
    if (++rx_tail_ == options.depth) rx_tail_ = 0;
    ++refilled_;
}

void NicGuest::look() {
    u64 size = rx_size();
    while (rx_head_ != rx_tail_) {
        u64 at = options.rx + size * rx_head_, words[4];
        for (u64 n = 0; n < size / 8; ++n) words[n] = world_.memory.read(at + 8 * n);
        if (words[0] || !(words[1] & DD)) break;
        ++counts.received;
        last_moved = counts.last = world_.timers.now;
        if (!options.hostile) take(words);
        if (++rx_head_ == options.depth) rx_head_ = 0;
        refill();
    }
    if (refilled_ < options.refill) return;
    refilled_ = 0;
    store(options.rx_doorbell, rx_tail_);
}

void NicGuest::take(const u64* words) {
    u64 page = options.depth + rx_head_, lengths[4] = {words[1] >> 32 & 0xffff, 0, 0, 0};
    for (unsigned n = 1; n < 4 && options.split; ++n) lengths[n] = words[2] >> 16 * n & 0xffff;
    counts.vlans += words[1] >> 48 != 0;
    std::vector<u8> packet;
    for (unsigned n = 0; n < 4; ++n) {
        u64 most = !options.split ? options.buffer : n ? 1024 : options.header;
        u64 length = std::min(lengths[n], most), from = packet.size();
        packet.resize(from + length);
        u64 at = options.split ? 1024 * n : 2048 * (page & 1);
        if (length) world_.memory.read_bytes(pages[page] + at, &packet[from], unsigned(length));
    }
    check(packet);
}

void NicGuest::check(const std::vector<u8>& packet) {
    u64 head[2] = {};
    if (packet.size() >= SHORTEST) memcpy(head, packet.data(), 16);
    unsigned sender = tag_guest(head[0]);
    u64 number = u32(head[0]);
    bool wrong = !has_tag(head[0]) || (head[0] ^ head[1]) >> 32 || u32(head[1]) != packet.size();
    for (u64 n = 2; 8 * n < packet.size() && !wrong; ++n) {
        u64 want = guest_tag(sender) | u32(mix(number << 16 ^ n));
        wrong = memcmp(&packet[8 * n], &want, std::min<u64>(8, packet.size() - 8 * n)) != 0;
    }
    counts.bytes_checked += wrong ? 0 : packet.size();
    if (wrong && !counts.mismatches++)
        world_.events.add(EVENT_MISMATCH, NO_OP, number_, packet.size(), number, head[0], head[1]);
    if (wrong) return;
    u64& last = heard_[sender];
    if (number <= last) ++counts.mismatches;
    else counts.lost += number - last - 1;
    last = number;
}

u64 NicGuest::pointer() {
    return hostile_pointer(random_, world_.monitor, {unsigned(options.guest), options.gpa,
                                                     pages.size(), options.unmapped, options.wild});
}

void NicGuest::scribble() {
    for (u64 n = 0; n < options.scribble && tail_ != clean_; ++n) {
        u64 back = random_.below((tail_ + options.depth - clean_) % options.depth) + 1;
        u64 slot = (tail_ + options.depth - back) % options.depth;
        world_.memory.write(options.tx + 16 * slot, pointer());
    }
}
