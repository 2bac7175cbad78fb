// Rings and doorbells.
#include "sharing/guest.h"

void Guest::begin() {
    random_.state = options.seed * 1000 + number_;
    ++epoch_;
    tail_ = told_ = head_ = 0, phase_ = 1;
    todo_ = 0, counts.in_flight = 0;
    stepping_ = false;
    for (u64 at = 0; at < options.depth * 64; at += 8) world_.memory.write(options.sq + at, 0);
    for (u64 at = 0; at < options.cq_depth * 16; at += 8) world_.memory.write(options.cq + at, 0);
}

void Guest::forget() {
    forgotten();
    ++counts.resets;
    begin();
}

void Guest::go(u64 commands) {
    todo_ += commands;
    last_moved = world_.timers.now;
    if (!counts.first) counts.first = world_.timers.now;
    if (stepping_) return;
    stepping_ = true;
    u64 epoch = epoch_;
    world_.timers.in(1, [this, epoch] {
        if (epoch == epoch_) step();
    });
}

void Guest::step() {
    before_look();
    if (!options.interrupts) look();
    fill();
    if (!busy() && !options.report) {
        stepping_ = false;
        return;
    }
    u64 epoch = epoch_;
    world_.timers.in(options.poll ? options.poll : 1, [this, epoch] {
        if (epoch == epoch_) step();
    });
}

void Guest::interrupt() {
    ++counts.interrupts;
    u64 before = counts.completed;
    look();
    counts.empty_interrupts += before == counts.completed;
    fill();
}

// Takes all completions there are, and tells the head once.
void Guest::look() {
    u32 before = head_;
    for (;;) {
        u64 at = options.cq + 16 * u64(head_), high = world_.memory.read(at + 8);
        if ((high >> 48 & 1) != phase_) break;
        unsigned id = unsigned(high >> 32 & 0xffff), status = unsigned(high >> 49);
        unsigned sqid = unsigned(high >> 16 & 0xffff), sqhd = unsigned(high & 0xffff);
        if (options.report)
            world_.events.add(EVENT_COMPLETION, NO_OP, number_, world_.timers.now,
                              world_.memory.read(at), high);
        if (sqhd >= options.depth || (options.sqid && sqid != options.sqid)) ++counts.head_errors;
        if (++head_ == options.cq_depth) head_ = 0, phase_ ^= 1;
        ++counts.completed;
        counts.errors += status != 0;
        if (counts.in_flight) --counts.in_flight;
        counts.last = last_moved = world_.timers.now;
        completed(id, status);
        if (head_ == before) break;   // a full lap in one look
    }
    if (head_ != before && options.drain) store(options.cq_doorbell, head_);
}

void Guest::fill() {
    if (!todo_) return;
    u64 made = 0, limit = std::min(options.in_flight, options.depth - 1);
    while (made < options.batch && todo_ && counts.in_flight < limit) {
        GuestEntry entry{};
        if (!make(entry)) break;
        place(entry);
        --todo_, ++made;
    }
    if (!made) return;
    if (!odd_doorbells()) return ring_tail();
    u64 epoch = epoch_;
    world_.timers.in(4 * options.poll, [=] {
        if (epoch == epoch_) ring_tail();
    });
}

void Guest::place(const GuestEntry& entry) {
    for (unsigned at = 0; at < 64; at += 8) {
        u64 word;
        memcpy(&word, &entry[at], 8);
        world_.memory.write(options.sq + 64 * u64(tail_) + at, word);
    }
    if (++tail_ == options.depth) tail_ = 0;
    ++counts.submitted, ++counts.in_flight;
}

void Guest::ring_tail() {
    told_ = tail_;
    ++counts.doorbells;
    store(options.sq_doorbell, tail_);
}

u32 Guest::submit(const GuestEntry& entry, bool ring) {
    u32 slot = tail_;
    place(entry);
    if (ring) ring_tail();
    go(0);
    return slot;
}

// A core waits until the port takes it.
bool Guest::store(u64 address, u64 value, unsigned size) {
    if (world_.store(address, value, size, unsigned(options.core))) return true;
    u64 epoch = epoch_;
    world_.timers.in(16, [=] {
        if (epoch == epoch_) store(address, value, size);
    });
    return false;
}

void Guest::copy_in(u64 offset, const u8* bytes, u64 count) {
    u64 at = spa(offset);
    for (; count >= 8; at += 8, bytes += 8, count -= 8) {
        u64 word;
        memcpy(&word, bytes, 8);
        world_.memory.write(at, word);
    }
    if (count) world_.memory.write_strobed(at, bytes, (u64(1) << count) - 1, unsigned(count));
}

void Guest::copy_out(u64 offset, u8* bytes, u64 count) {
    world_.memory.read_bytes(spa(offset), bytes, unsigned(count));
}
