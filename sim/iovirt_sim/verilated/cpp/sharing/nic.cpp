// Registers, fetching of descriptors, and what is done with them.
#include "sharing/nic.h"

namespace {

// Registers of a ring; the control of a receive ring has {split 25, buffer size in bytes 15:0}.
constexpr u64 LOW = 0, LENGTH = 8, CONTROL = 0xc, HEAD = 0x10, TAIL = 0x18, ENABLE = 0x28,
              SPLIT_SIZES = 0x2170;
constexpr u32 ENABLED = 1u << 25, SPLIT = 1u << 25, MOST = 16384;
enum Command : u8 { EOP = 1, RS = 8, DEXT = 0x20, VLE = 0x40 };
constexpr unsigned DD = 1;

}  // namespace

RingNic::RingNic(unsigned function, u16 rid, u8 segment, Settings& settings, Errors& errors,
                 Events& events, Monitor& monitor, Timers& timers, Memory& bars)
    : dma(settings, errors, events, monitor, timers), function_(function), monitor_(monitor),
      timers_(timers), bars_(bars) {
    dma.rid = rid, dma.segment = segment;
    random_.state = 0xE1000 + function;
    for (u64 at = 0; at < 0x4000; at += 8) set_reg(at, 0, 8);
    for (unsigned n = 0; n < 2 * QUEUES; ++n) rings_[n].number = n, rings_[n].receive = n >= QUEUES;
}

u64 RingNic::reg(u64 offset, unsigned bytes) const {
    u64 value = 0;
    bars_.read_bytes(Devices::bar_address(function_, 0, offset), reinterpret_cast<u8*>(&value), bytes);
    return value;
}

void RingNic::set_reg(u64 offset, u64 value, unsigned bytes) {
    bars_.write_strobed(Devices::bar_address(function_, 0, offset),
                        reinterpret_cast<const u8*>(&value), (u64(1) << bytes) - 1, bytes);
}

NicRing* RingNic::find(unsigned number, u64 life) {
    return rings_[number].life == life ? &rings_[number] : nullptr;
}

void RingNic::reset() {
    dma.reset();
    for (unsigned n = 0; n < 2 * QUEUES; ++n) {
        rings_[n] = NicRing{};
        rings_[n].number = n, rings_[n].receive = n >= QUEUES;
    }
}

void RingNic::written(u64 offset, unsigned bytes) {
    for (u64 block : {u64(TRANSMIT), u64(RECEIVE)}) {
        if (offset < block || offset >= block + QUEUES * STRIDE) continue;
        u64 queue = (offset - block) / STRIDE, at = block + queue * STRIDE;
        NicRing& ring = rings_[queue + (block == RECEIVE ? QUEUES : 0)];
        if (offset - at == ENABLE) return control(ring, at);
        if (offset - at != TAIL) return;
        ++counts.doorbells;
        u32 value = u32(reg(at + TAIL, 4));
        if (!ring.enabled || value >= ring.depth || bytes != 4) {
            monitor_.breach(monitor_.bad_doorbell, "a bad tail", ring.issuer, offset, value);
            return;
        }
        ring.tail = value;
        pump(ring);
    }
}

void RingNic::control(NicRing& ring, u64 at) {
    bool on = reg(at + ENABLE, 4) & ENABLED, receive = ring.receive;
    unsigned number = ring.number;
    ring = NicRing{};
    ring.number = number, ring.receive = receive, ring.life = lives_++, ring.enabled = on;
    if (!on) return;
    if (receive && (reg(at + CONTROL, 4) & SPLIT)) ring.size = 32;
    auto issuer = issuers.find(number);
    ring.issuer = issuer == issuers.end() ? 0 : issuer->second;
    ring.base = reg(at + LOW, 8), ring.depth = u32(reg(at + LENGTH, 4)) / ring.size;
    set_reg(at + HEAD, 0, 4);
    if (!ring.depth) ring.enabled = false;
}

void RingNic::pump(NicRing& r) {
    if (r.fetching || !r.enabled || r.ready.size() >= options.prefetch) return;
    u32 count = (r.tail + r.depth - r.fetch) % r.depth;
    if (!count) return;
    if (odd(options.beyond)) count += u32(options.beyond), ++counts.odd;
    count = std::min({count, u32(options.prefetch), r.depth - r.fetch});
    r.fetching = true;
    ++counts.fetches;
    unsigned number = r.number;
    u64 life = r.life;
    u32 from = r.fetch;
    unsigned times = odd(options.reread) ? 2 : 1;
    counts.odd += times == 2;
    for (unsigned time = 1; time <= times; ++time) {
        Dma d;
        d.address = r.base + u64(r.size) * from, d.length = r.size * count, d.use = USE_ENTRY;
        d.issuer = u16(r.issuer), d.queue = u16(number);
        d.done = [=](Dma& got) {
            NicRing* ring = find(number, life);
            if (ring && time == times) fetched(*ring, from, count, got);
        };
        dma.start(std::move(d));
    }
}

void RingNic::fetched(NicRing& r, u32 from, u32 count, const Dma& d) {
    r.fetching = false;
    if (d.status || d.poisoned) {   // it stops
        ++counts.failed;
        r.enabled = false;
        return;
    }
    counts.descriptors += count;
    for (u32 n = 0; n < count; ++n) {
        NicDescriptor one;
        one.index = from + n;
        memcpy(one.bytes.data(), &d.data[n * r.size], r.size);
        r.ready.push_back(one);
    }
    r.fetch = (from + count) % r.depth;
    work(r);
    pump(r);
}

// One descriptor of a ring after the other.
void RingNic::work(NicRing& r) {
    if (r.working || r.ready.empty() || (r.receive && r.waiting.empty())) return;
    r.working = true;
    NicDescriptor next = r.ready.front();
    r.ready.pop_front();
    if (r.receive) receive(r, next);
    else transmit(r, next);
}

u64 RingNic::place(u64 address, bool& forged) {
    forged = odd(options.foreign_mask);
    counts.odd += forged;
    return forged ? (address & ~options.foreign_mask) | (options.foreign & options.foreign_mask)
                  : address;
}

void RingNic::transmit(NicRing& r, NicDescriptor next) {
    u8 command = next.bytes[11];
    bool extended = command & DEXT;
    if (extended && !(next.bytes[10] >> 4)) {   // offsets for checksums
        ++counts.contexts;
        return transmitted(r, next);
    }
    u32 length = u32(next.number(8, 4)) & (extended ? 0xfffff : 0xffff);
    if (command & VLE) r.packet.vlan = u32(next.number(14, 2));
    if (r.packet.bytes.size() + length > MOST) ++counts.too_long, length = 0;
    if (!length) return transmitted(r, next);
    bool forged;
    Dma d;
    d.address = place(next.number(0, 8), forged), d.length = length;
    d.use = forged ? USE_FORGED : USE_READ, d.issuer = u16(r.issuer), d.queue = u16(r.number);
    unsigned number = r.number;
    u64 life = r.life;
    d.done = [=](Dma& got) {
        NicRing* ring = find(number, life);
        if (!ring) return;
        counts.failed += got.status != 0;
        auto& bytes = ring->packet.bytes;
        bytes.insert(bytes.end(), got.data.begin(), got.data.end());
        transmitted(*ring, next);
    };
    dma.start(std::move(d));
}

void RingNic::transmitted(NicRing& r, NicDescriptor next) {
    if (next.bytes[11] & EOP && !r.packet.bytes.empty()) {
        ++counts.sent;
        counts.bytes += r.packet.bytes.size();
        auto peer = peers.find(r.number);
        unsigned to = peer == peers.end() ? r.number : peer->second;
        NicPacket packet;
        std::swap(packet, r.packet);
        timers_.in(options.wire, [this, to, packet] { deliver(to, packet); });
    }
    r.working = false;
    if (next.bytes[11] & RS) written_back(r, next);
    set_reg(TRANSMIT + STRIDE * r.number + HEAD, (next.index + 1) % r.depth, 4);
    work(r);
    pump(r);
}

void RingNic::deliver(unsigned queue, NicPacket packet) {
    NicRing& r = rings_[QUEUES + queue % QUEUES];
    if (!r.enabled || r.waiting.size() >= options.hold) {
        ++counts.lost;
        return;
    }
    r.waiting.push_back(std::move(packet));
    work(r);
}

// Bytes of each buffer of a descriptor.
std::vector<u32> RingNic::sizes(const NicRing& r) const {
    if (r.size == 16)
        return {u32(reg(RECEIVE + STRIDE * (r.number - QUEUES) + CONTROL, 4)) & 0xffff};
    u32 split = u32(reg(SPLIT_SIZES, 4));
    return {(split & 127) * 128, (split >> 8 & 63) * 1024, (split >> 16 & 63) * 1024,
            (split >> 24 & 63) * 1024};
}

// A packet takes one descriptor; what has no room is cut off.
void RingNic::receive(NicRing& r, NicDescriptor next) {
    NicPacket packet = std::move(r.waiting.front());
    r.waiting.pop_front();
    std::vector<u32> room = sizes(r);
    std::array<u32, 4> taken{};
    u32 done = 0, all = u32(packet.bytes.size());
    for (std::size_t n = 0; n < room.size() && done < all; ++n) {
        u32 count = std::min(room[n], all - done);
        if (!count) continue;
        bool forged;
        Dma d;
        d.write = true, d.address = place(next.number(unsigned(8 * n), 8), forged), d.length = count;
        d.use = forged ? USE_FORGED : USE_WRITE, d.issuer = u16(r.issuer), d.queue = u16(r.number);
        d.data.assign(packet.bytes.begin() + done, packet.bytes.begin() + done + count);
        dma.start(std::move(d));
        taken[n] = count, done += count;
    }
    counts.too_long += done < all;
    ++counts.received;
    next.bytes.fill(0);
    auto put = [&](unsigned at, u64 value, unsigned size) { memcpy(&next.bytes[at], &value, size); };
    put(8, DD | 2, 4), put(12, taken[0], 2), put(14, packet.vlan, 2);
    for (unsigned n = 1; n < 4 && r.size == 32; ++n) put(16 + 2 * n, taken[n], 2);
    r.working = false;
    written_back(r, next);
    work(r);
    pump(r);
}

void RingNic::written_back(NicRing& r, NicDescriptor next) {
    if (options.deaf >> r.number & 1) {
        ++counts.odd;
        return;
    }
    r.done.push_back(next);
    if (r.done.size() >= options.batch) return flush(r);
    if (r.timed) return;
    r.timed = true;
    unsigned number = r.number;
    u64 life = r.life;
    timers_.in(options.delay, [=] {
        if (NicRing* ring = find(number, life)) flush(*ring);
    });
}

// Neighbours of a receive ring are written together; of a transmit ring only the status is.
void RingNic::flush(NicRing& r) {
    r.timed = false;
    for (std::size_t n = 0; n < r.done.size();) {
        Dma d;
        d.write = true, d.use = USE_COMPLETION, d.issuer = u16(r.issuer), d.queue = u16(r.number);
        u32 index = r.done[n].index;
        d.address = r.base + u64(r.size) * index;
        bool whole = r.receive || odd(options.whole);
        if (!r.receive) r.done[n].bytes[12] = DD;
        if (whole) {
            do {
                auto& bytes = r.done[n].bytes;
                d.data.insert(d.data.end(), bytes.begin(), bytes.begin() + r.size);
            } while (++n < r.done.size() && r.receive && r.done[n].index == ++index);
        } else {
            d.address += 12;
            d.data.assign(r.done[n].bytes.begin() + 12, r.done[n].bytes.begin() + 16);
            ++n;
        }
        d.length = u32(d.data.size());
        ++counts.write_backs;
        dma.start(std::move(d));
    }
    r.done.clear();
}
