// Commands of an honest guest, and what they must do.
#include "sharing/guest.h"

namespace {

enum Opcode : unsigned { FLUSH = 0, WRITE = 1, READ = 2, COMPARE = 5, ZEROES = 8, TRIM = 9 };
constexpr u64 PAGE = 4096, BLOCK = 512, OFFSETS[] = {0, 0, 0, 512, 1024, 3584};
constexpr u64 PLACES[] = {0, 1, 7, 15};   // of a list of 256 bytes

void put(GuestEntry& entry, unsigned at, u64 value, unsigned size) {
    memcpy(&entry[at], &value, size);
}

}  // namespace

void LinuxGuest::set_up() {
    commands_.resize(options.depth);
    for (u32 n = u32(pages.size()); n--;) free_pages_.push_back(n);
    for (u32 n = u32(free_pages_.size()); n > 1; --n)
        std::swap(free_pages_[n - 1], free_pages_[random_.below(n)]);
    versions_.assign(options.blocks, 0);
    locked_.assign(options.blocks, 0);
}

// Nothing is known of what was being written.
void LinuxGuest::forgotten() {
    for (Command& c : commands_) {
        if (!c.used) continue;
        c.used = false;
        free_pages_.insert(free_pages_.begin(), c.buffer.begin(), c.buffer.end());
        free_pages_.insert(free_pages_.begin(), c.lists.begin(), c.lists.end());
        bool changes = c.opcode == WRITE || c.opcode == ZEROES || c.opcode == TRIM;
        for (u64 n = 0; n < c.count; ++n) {
            locked_[c.block + n] = 0;
            if (changes) versions_[c.block + n] = UNKNOWN;
        }
    }
}

u32 LinuxGuest::take() {
    u32 page = free_pages_.back();
    free_pages_.pop_back();
    return page;
}

// Blocks that nothing in flight touches.
bool LinuxGuest::reserve(u64& block, u64& count) {
    u64 most = std::min(options.most_blocks, options.blocks);
    count = random_.chance(64) ? most : random_.below(random_.chance(128) ? 8 : most) + 1;
    if (count > most) count = most;
    for (unsigned attempt = 0; attempt < 4; ++attempt) {
        block = random_.below(options.blocks - count + 1);
        u64 free = 0;
        while (free < count && !locked_[block + free]) ++free;
        if (free) {
            count = free;
            return true;
        }
    }
    return false;
}

bool LinuxGuest::all_known(const Command& c) const {
    for (u64 n = 0; n < c.count; ++n)
        if (versions_[c.block + n] == UNKNOWN) return false;
    return true;
}

bool LinuxGuest::make(GuestEntry& entry) {
    if (commands_.empty()) set_up();
    u32 slot = 0;
    while (slot < commands_.size() && commands_[slot].used) ++slot;
    if (slot == commands_.size()) return false;
    Command c;
    u64 draw = random_.next() & 255;
    auto share = [&](u64 of) { return draw < of ? true : (draw -= of, false); };
    c.opcode = share(options.write) ? WRITE : share(options.compare) ? COMPARE :
               share(options.zeroes) ? ZEROES : share(options.flush) ? FLUSH :
               share(options.trim) ? TRIM : READ;
    if (c.opcode != FLUSH && !reserve(c.block, c.count)) return false;
    if (c.opcode == COMPARE && !all_known(c)) c.opcode = READ;
    c.id = slot | (++generation_ & 15) << 12;
    put(entry, 0, c.opcode, 1), put(entry, 2, c.id, 2), put(entry, 4, options.nsid, 4);
    bool moves = c.opcode == WRITE || c.opcode == READ || c.opcode == COMPARE;
    if (moves && !buffers(c, entry)) return false;
    if (c.opcode == TRIM) {
        if (free_pages_.empty()) return false;
        trim(c, entry);
    } else if (c.opcode != FLUSH) {
        put(entry, 40, c.block + options.first_block, 8), put(entry, 48, c.count - 1, 2);
    }
    c.version = c.opcode == WRITE ? next_version_++ : 0;
    if (moves) fill_buffer(c);
    for (u64 n = 0; n < c.count; ++n) locked_[c.block + n] = 1;
    c.used = true, c.started = world_.timers.now;
    commands_[slot] = std::move(c);
    ++(commands_[slot].opcode == WRITE ? counts.writes : counts.reads);
    return true;
}

bool LinuxGuest::buffers(Command& c, GuestEntry& entry) {
    c.offset = OFFSETS[random_.below(6)];
    u64 free = free_pages_.size();
    if (free < 3) return false;
    u64 most = ((free - 2) * PAGE - c.offset) / BLOCK;   // two for lists
    if (c.count > most) c.count = most;
    u64 number = (c.offset + c.count * BLOCK + PAGE - 1) / PAGE;
    for (u64 n = 0; n < number; ++n) c.buffer.push_back(take());
    if (random_.chance(options.sgl)) {
        put(entry, 1, 0x40, 1);
        sgl(c, entry);
        return true;
    }
    put(entry, 24, gpa(c.buffer[0]) + c.offset, 8);
    if (number == 2) put(entry, 32, gpa(c.buffer[1]), 8);
    if (number > 2) put(entry, 32, prp_list(c), 8);
    return true;
}

// Up to 32 entries in a block of 256 bytes, else in a page of their own.
u64 LinuxGuest::prp_list(Command& c) {
    u32 page = take();
    c.lists.push_back(page);
    u64 at = c.buffer.size() - 1 <= 32 ? 256 * PLACES[random_.below(4)] : 0;
    for (std::size_t n = 1; n < c.buffer.size(); ++n)
        world_.memory.write(spa(page * PAGE + at + 8 * (n - 1)), gpa(c.buffer[n]));
    return gpa(page) + at;
}

// One descriptor, or a list of them that begins at byte 72, 128 or 0 of a page.
u64 LinuxGuest::sgl(Command& c, GuestEntry& entry) {
    u64 left = c.count * BLOCK;
    if (c.buffer.size() == 1) {
        put(entry, 24, gpa(c.buffer[0]) + c.offset, 8), put(entry, 32, left, 4);
        return 0;
    }
    u32 page = take();
    c.lists.push_back(page);
    u64 at = c.buffer.size() > 200 ? 0 : random_.chance(128) ? 72 : 128;
    put(entry, 24, gpa(page) + at, 8), put(entry, 32, 16 * c.buffer.size(), 4);
    put(entry, 39, 0x30, 1);
    for (std::size_t n = 0; n < c.buffer.size(); ++n) {
        u64 from = n ? 0 : c.offset, size = std::min(left, PAGE - from), to = page * PAGE + at + 16 * n;
        world_.memory.write(spa(to), gpa(c.buffer[n]) + from);
        world_.memory.write(spa(to + 8), size);
        left -= size;
    }
    return 0;
}

void LinuxGuest::trim(Command& c, GuestEntry& entry) {
    u32 page = take();
    c.lists.push_back(page);
    u64 first = c.count > 1 ? c.count / 2 : c.count, second = c.count - first;
    u64 at = page * PAGE;
    put(entry, 24, gpa(page), 8), put(entry, 40, second ? 1 : 0, 4), put(entry, 44, 4, 4);
    world_.memory.write(spa(at), first << 32);
    world_.memory.write(spa(at + 8), c.block + options.first_block);
    world_.memory.write(spa(at + 16), second << 32);
    world_.memory.write(spa(at + 24), c.block + first + options.first_block);
}

u64 LinuxGuest::word(u64 block, u32 version, u64 at) const {
    if (!version) return 0;
    return guest_tag(unsigned(options.guest)) | u32(mix(block << 32 ^ u64(version) << 8 ^ at));
}

// Calls with the offset in its pages, the offset in the data, and the size of each piece.
void LinuxGuest::each_piece(const Command& c, const std::function<void(u64, u64, u64)>& piece) const {
    u64 done = 0, all = c.count * BLOCK;
    for (std::size_t n = 0; n < c.buffer.size() && done < all; ++n) {
        u64 from = n ? 0 : c.offset, size = std::min(all - done, PAGE - from);
        piece(c.buffer[n] * PAGE + from, done, size);
        done += size;
    }
}

// Of a read, only the first word of each block is changed, so that it shows if nothing comes.
void LinuxGuest::fill_buffer(const Command& c) {
    each_piece(c, [&](u64 offset, u64 done, u64 size) {
        for (u64 n = 0; n < size; n += 8) {
            u64 block = c.block + (done + n) / BLOCK, at = (done + n) % BLOCK / 8;
            if (c.opcode == READ && at) continue;
            u32 version = c.opcode == WRITE ? c.version : versions_[block];
            world_.memory.write(spa(offset + n),
                                c.opcode == READ ? 0xBAD0'0BAD'0BAD'0BAD : word(block, version, at));
        }
    });
}

void LinuxGuest::check_buffer(const Command& c) {
    u64 wrong = 0;
    each_piece(c, [&](u64 offset, u64 done, u64 size) {
        for (u64 n = 0; n < size; n += 8) {
            u64 block = c.block + (done + n) / BLOCK, at = (done + n) % BLOCK / 8;
            if (versions_[block] == UNKNOWN) continue;
            u64 got = world_.memory.read(spa(offset + n)), want = word(block, versions_[block], at);
            counts.bytes_checked += 8;
            if (got == want || wrong++) continue;
            world_.events.add(EVENT_MISMATCH, NO_OP, number_, block, at, got, want);
            if (has_tag(got) && tag_guest(got) != options.guest) ++counts.leaks;
        }
    });
    counts.mismatches += wrong != 0;
}

void LinuxGuest::completed(unsigned id, unsigned status) {
    std::size_t slot = id & 0xfff;
    if (slot >= commands_.size() || !commands_[slot].used || commands_[slot].id != id) {
        ++counts.strays;
        return;
    }
    Command& c = commands_[slot];
    u64 clocks = world_.timers.now - c.started;
    counts.latency += clocks;
    if (clocks > counts.latency_most) counts.latency_most = clocks;
    counts.bytes += c.buffer.empty() ? 0 : c.count * BLOCK;
    if (!status && c.opcode == READ) check_buffer(c);
    bool changes = c.opcode == WRITE || c.opcode == ZEROES || c.opcode == TRIM;
    for (u64 n = 0; n < c.count; ++n) {
        locked_[c.block + n] = 0;
        if (changes) versions_[c.block + n] = status ? UNKNOWN : c.version;
    }
    free_pages_.insert(free_pages_.begin(), c.buffer.begin(), c.buffer.end());
    free_pages_.insert(free_pages_.begin(), c.lists.begin(), c.lists.end());
    c.used = false;
}
