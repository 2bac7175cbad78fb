// Adversarial commands, lists and doorbells.
#include "sharing/guest.h"

namespace {

constexpr u64 PAGE = 4096;
constexpr u64 OFFSETS[] = {0, 0, 0, 4, 8, 16, 56, 72, 120, 0x200, 0x800, 0xff0, 0xff8, 0xffc, 0xfff, 0x1f8, 3840, 3848};
constexpr unsigned OPCODES[] = {0, 1, 2, 5, 8, 9, 12, 4, 0x0d, 0x0e, 0x19, 0x79, 0x7d, 0x80, 0xff};
constexpr u64 SIZES[] = {1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 64, 129, 2048, 2049, 65536};
constexpr u64 LENGTHS[] = {0, 16, 16, 16, 32, 64, 4096, 8192, 0xffff'ffff, 24, 512};
constexpr u64 STRADDLING[] = {8, 56, 120, 504, 568, 1016};   // descriptors over 64 bytes
constexpr unsigned TYPES[] = {0, 0, 0x20, 0x30, 0x30, 0x30, 0x10, 0x40, 0x01, 0xf0};
constexpr unsigned OPEN_KEY = 6;   // no kind of any address

template <class T, std::size_t N> T pick(Random& random, const T (&from)[N]) {
    return from[random.below(N)];
}

void put(GuestEntry& entry, unsigned at, u64 value, unsigned size) {
    memcpy(&entry[at], &value, size);
}

}  // namespace

// What it writes never is what the block makes of it: if a device uses it as it is, that shows,
// except that some are of others, with their right keys.
u64 hostile_pointer(Random& random, const Monitor& m, const HostileAim& aim) {
    u64 page = random.chance(aim.unmapped) ? random.below(1 << 16) + aim.pages :
               random.below(aim.pages);
    u64 offset = aim.gpa + page * PAGE + pick(random, OFFSETS);
    if (!random.chance(aim.wild))
        return m.offset_bits ? m.address(aim.guest, OPEN_KEY, offset) : offset;
    switch (random.below(6)) {
    case 0: return random.below(3) * 0x7f70'0000 + (random.below(2) << 9);   // 0, MSI, or others
    case 1: return random.next();
    case 2: return (u64(1) << m.offset_bits) - (u64(8) << random.below(10));
    case 3: return m.address(aim.guest, unsigned(random.below(8)), offset);
    default:
        unsigned other = 0;
        if (!m.owners.empty()) {
            auto at = m.owners.begin();
            std::advance(at, random.below(m.owners.size()));
            other = at->first;
        }
        return m.address(other, other == aim.guest ? OPEN_KEY : unsigned(random.below(8)), offset);
    }
}

u64 HostileGuest::pointer() {
    return hostile_pointer(random_, world_.monitor, {unsigned(options.guest), options.gpa,
                                                     pages.size(), options.unmapped, options.wild});
}

// Pages have lists of pointers, or of descriptors that begin at 0 or at 8 mod 16.
u64 HostileGuest::content(u64 page, u64 at) {
    u64 kind = page / PAGE & 3, second = kind == 1 ? 8 : 0;
    if (!options.sgl || kind == 3 || at % 16 != second) return pointer();
    return pick(random_, LENGTHS) | u64(pick(random_, TYPES)) << 56;
}

bool HostileGuest::make(GuestEntry& entry) {
    for (unsigned at = 0; at < 64; at += 8) put(entry, at, random_.next(), 8);
    bool usual = !random_.chance(24);
    unsigned opcode = random_.chance(200) ? 1 + unsigned(random_.below(2)) : pick(random_, OPCODES);
    if (!random_.chance(12)) put(entry, 0, opcode, 1);
    bool sgl = random_.chance(options.sgl);
    if (usual) put(entry, 1, sgl ? 0x40 : 0, 1);
    put(entry, 2, counts.submitted & 0xffff, 2);
    put(entry, 4, random_.chance(200) ? options.nsid : random_.below(8), 4);
    for (unsigned at : {16, 24, 32}) put(entry, at, pointer(), 8);
    if (sgl) {
        put(entry, 32, pick(random_, LENGTHS), 4), put(entry, 39, pick(random_, TYPES), 1);
        u64 word = pointer();
        if (random_.chance(128)) word = (word & ~(PAGE - 1)) | pick(random_, STRADDLING);
        put(entry, 24, word, 8);
    }
    u64 size = random_.chance(200) ? SIZES[random_.below(12)] : pick(random_, SIZES), limit = options.blocks;
    u64 blocks[] = {0, 1, limit - size, limit - size + 1, limit, random_.below(limit),
                    u64(0) - size, ~u64(0), u64(1) << 63};
    u64 block = random_.chance(160) ? random_.below(limit) : pick(random_, blocks);
    put(entry, 40, options.first_block + block, 8), put(entry, 48, size - 1, 2);
    if (!random_.chance(8)) put(entry, 50, 0, 1);   // directives, or the whole namespace
    return true;
}

// Rewrites what the device may be looking at.
void HostileGuest::before_look() {
    if (!filled_) {
        filled_ = true;
        for (u64 page : pages)
            for (u64 at = 0; at < PAGE; at += 8) world_.memory.write(page + at, content(page, at));
    }
    for (u64 n = 0; n < options.scribble; ++n) {
        u64 at = random_.below(PAGE / 8) * 8, page = pages[random_.below(pages.size())];
        world_.memory.write(page + at, content(page, at));
    }
    if (!options.scribble || !counts.in_flight) return;
    u64 back = random_.below(counts.in_flight) + 1;
    u64 slot = (tail_ + options.depth - back % options.depth) % options.depth;
    u64 at = random_.below(2) ? 24 + 8 * random_.below(2) : 40 + 8 * random_.below(2);
    world_.memory.write(options.sq + 64 * slot + at, at < 40 ? pointer() : random_.next());
}

bool HostileGuest::odd_doorbells() {
    if (!random_.chance(options.bells)) return false;
    ++counts.odd_doorbells;
    u64 depth = options.depth, bad = depth + random_.below(4);
    switch (random_.below(7)) {
    case 0: store(options.sq_doorbell, bad); break;
    case 1: store(options.sq_doorbell, random_.next() & 0xffff'ffff); break;
    case 2: {
        static constexpr unsigned ODD[] = {1, 2, 8};
        store(options.sq_doorbell, random_.below(depth), ODD[random_.below(3)]);
        break;
    }
    case 3:   // goes back
        if (told_ != head_) store(options.sq_doorbell, (told_ + depth - 1) % depth);
        break;
    case 4: store(options.cq_doorbell, (head_ + options.cq_depth - 1) % options.cq_depth); break;
    case 5: store(options.cq_doorbell, options.cq_depth + random_.below(1 << 20)); break;
    default:
        if (options.bells_to > options.bells_from) {
            u64 room = (options.bells_to - options.bells_from) / 4;
            store(options.bells_from + 4 * random_.below(room), random_.below(depth));
        }
    }
    return random_.below(2);
}

void HostileGuest::completed(unsigned, unsigned) {
    if (++since_scan_ < options.scan) return;
    since_scan_ = 0;
    scan();
}

// Data of others must not be here.
void HostileGuest::scan() {
    for (u64 page : pages)
        for (u64 at = 0; at < PAGE; at += 8) {
            u64 word = world_.memory.read(page + at);
            if (!has_tag(word) || tag_guest(word) == options.guest) continue;
            ++counts.leaks;
            world_.monitor.breach(world_.monitor.leaks, "data of another guest in memory",
                                  unsigned(options.guest), word, page + at);
            world_.memory.write(page + at, 0);
        }
}
