// What counts as a breach.
#include "sharing/monitor.h"

namespace {

using ull = unsigned long long;

enum Kind : unsigned { DATA, PRP_LIST, TYPED_LIST, TYPED_LIST_8, RANGE_LIST, RING, NO_KIND, POISON };

unsigned kind_of(Use use) {
    switch (use) {
    case USE_ENTRY: case USE_COMPLETION: return RING;
    case USE_PRP_LIST: return PRP_LIST;
    case USE_SGL: return TYPED_LIST;
    case USE_RANGES: return RANGE_LIST;
    default: return DATA;
    }
}

}  // namespace

void Monitor::breach(u64& counter, const char* what, unsigned guest, u64 a, u64 b) {
    ++counter;
    if (strict) errors_.add("sharing: %s: for guest %u, %llx, %llx", what, guest, ull(a), ull(b));
    if (told_++ >= 20) return;
    events_.add(EVENT_BREACH, NO_OP, &counter - array(), guest, a, b);
}

void Monitor::use(unsigned guest, Use use, u64 address, u32 length) {
    ++uses;
    if (use == USE_FORGED) {
        ++forged;
        return;
    }
    if (!offset_bits) return;
    u64 above = address >> offset_bits;
    if (guest == 0) {
        if (above) breach(foreign, "an address of a guest", guest, address, use);
        return;
    }
    Owner o = owner(guest);
    unsigned kind = above >> 1 & 7, colour = above >> 4 & 255;
    u64 key = above >> 12;
    if (colour != o.colour || key != (o.key & ((u64(1) << key_bits) - 1))) {
        breach(foreign, "a foreign address", guest, address, use);
        return;
    }
    if ((above & 1) || kind == POISON) {
        ++poison;
        return;
    }
    if (use == USE_SGL && kind == TYPED_LIST_8) return;   // pieces may begin anywhere
    if (kind != kind_of(use))
        breach(wrong_kind, "an address of another kind", guest, address, use | length << 8);
}

void Monitor::data(unsigned guest, u64 address, const u8* bytes, u64 length) {
    for (u64 at = -address % 8; at + 8 <= length; at += 8) {
        u64 word;
        memcpy(&word, bytes + at, 8);
        if (!has_tag(word) || tag_guest(word) == guest) continue;
        breach(leaks, "data of another guest", guest, word, at);
        return;
    }
}

void Monitor::blocks(unsigned guest, u32 nsid, u64 first, u64 number) {
    if (guest == 0) return;
    Owner o = owner(guest);
    bool other = o.nsid && nsid != o.nsid;
    u64 at = first - o.base;
    if (other && !number) breach(foreign_namespace, "a foreign namespace", guest, nsid, 0);
    if (other || !number) return;
    if (first < o.base || at > o.count || number > o.count - at)
        breach(foreign_block, "a foreign block", guest, first, number);
}
