// Execution of I/O commands.
#include "sharing/nvme.h"

namespace {

enum Opcode : unsigned {
    FLUSH = 0, WRITE = 1, READ = 2, UNCORRECTABLE = 4, COMPARE = 5, ZEROES = 8, DSM = 9, VERIFY = 12,
    COPY = 0x19,
};
enum Status : unsigned {
    OK = 0, BAD_OPCODE = 0x4001, BAD_FIELD = 0x4002, TRANSFER_ERROR = 4, BAD_NAMESPACE = 0x400b,
    BAD_LENGTH = 0x400f, BAD_RANGE = 0x4080, DIFFERENT = 0x285,
};

}  // namespace

// False, once, if its queue or the controller is gone.
bool Nvme::alive(NvmeCommand& c) {
    if (c.dropped) return false;
    auto found = submission_.find(c.queue);
    bool same = c.controller == controller_ && found != submission_.end() &&
                found->second.life == c.life;
    if ((same && !dead_) || options.late) return true;
    c.dropped = true;
    ++counts.dropped;
    if (c.controller == controller_ && busy_) --busy_;
    return false;
}

void Nvme::start(NvmeQueue& q, const NvmeEntry& entry) {
    auto c = std::make_shared<NvmeCommand>();
    c->entry = entry, c->queue = q.number, c->completion = q.completion, c->issuer = q.issuer;
    c->life = q.life, c->controller = controller_;
    auto cq = completion_.find(q.completion);
    if (cq != completion_.end()) c->completions_at = cq->second.base;
    ++busy_;
    if (!q.number) {
        ++counts.admin;
        administer(std::move(c));
        return;
    }
    ++counts.commands;
    if (!odd(options.reread, q.number)) {
        execute(std::move(c));
        return;
    }
    ++counts.odd;
    u64 at = q.base + 64 * ((q.head + q.depth - 1) % q.depth);
    read(c, at, 64, USE_ENTRY, [this, c](Dma& d) {
        memcpy(c->entry.data(), d.data.data(), 64);
        execute(c);
    });
}

// A read that ends the command if it fails.
void Nvme::read(NvmeWork c, u64 address, u32 length, Use use, std::function<void(Dma&)> done) {
    Dma r;
    r.address = address, r.length = length, r.use = use;
    r.issuer = u16(c->issuer), r.queue = u16(c->queue), r.at = odd(options.translated, c->queue) ? 2 : 0;
    r.done = [this, c, done = std::move(done)](Dma& d) {
        if (!alive(*c)) return;
        if (d.status || d.poisoned) c->status = TRANSFER_ERROR;
        done(d);
    };
    dma.start(std::move(r));
}

void Nvme::execute(NvmeWork c) {
    unsigned opcode = c->opcode(), flags = c->entry[1];
    u64 space = c->number(4, 4);
    if (flags & 3 || flags >> 7) return end(c, BAD_FIELD);
    if (!space || space > options.namespaces) return end(c, BAD_NAMESPACE);
    monitor_.blocks(c->issuer, u32(space), 0, 0);
    switch (opcode) {
    case FLUSH: return medium(c);
    case WRITE: case READ: case COMPARE: case ZEROES: case VERIFY: break;
    case DSM: case COPY:
        if (opcode == COPY && c->issuer)
            monitor_.breach(monitor_.device_command, "a copy", c->issuer, opcode, 0);
        return ranges(c);
    default:
        if (c->issuer)
            monitor_.breach(monitor_.device_command, "another command", c->issuer, opcode, flags);
        return end(c, BAD_OPCODE);
    }
    c->block = c->number(40, 8), c->count = c->number(48, 2) + 1;
    if (c->block > options.blocks || c->count > options.blocks - c->block) return end(c, BAD_RANGE);
    monitor_.blocks(c->issuer, u32(space), c->block, c->count);
    if (opcode == ZEROES && c->entry[50] >> 7 && c->issuer)   // NSZ
        monitor_.breach(monitor_.device_command, "zeroes everywhere", c->issuer, opcode, c->block);
    if (opcode == ZEROES || opcode == VERIFY) return medium(c);
    c->length = c->rest = c->count * ((u64(1) << options.shift) + options.metadata);
    if (options.most_pages && c->length > options.most_pages * 4096) return end(c, BAD_FIELD);
    if (flags >> 6) walk_sgl(c, {c->entry.begin() + 24, c->entry.begin() + 40});
    else walk_prp(c);
}

void Nvme::found_parts(NvmeWork c) {
    u64 found = 0;
    for (auto& part : c->parts) found += part.length;
    if (found != c->length) return end(c, BAD_LENGTH);
    c->buffer.assign(c->length, 0);
    if (c->opcode() == READ) medium(c);
    else move(c);
}

void Nvme::move(NvmeWork c) {
    bool write = c->opcode() == READ;
    auto one = [this, c] {
        if (--c->pending) return;
        moved(c);
    };
    c->pending = 1;
    u64 at = 0, touch = options.touch_queues >> (c->queue & 63) & 1 ? options.touch : 0;
    for (NvmePart part : c->parts) {
        u64 from = at;
        at += part.length;
        if (touch && part.length > touch) part.length = u32(touch);
        if (part.address == NvmePart::NOWHERE || !part.length) continue;
        ++c->pending;
        bool forged = odd(options.foreign_mask, c->queue);
        counts.odd += forged;
        u64 address = forged ? (part.address & ~options.foreign_mask) |
                               (options.foreign & options.foreign_mask) : part.address;
        Use use = forged ? USE_FORGED : write ? USE_WRITE : USE_READ;
        if (!write) {
            read(c, address, part.length, use, [=](Dma& d) {
                memcpy(&c->buffer[from], d.data.data(), d.data.size());
                one();
            });
            continue;
        }
        Dma w;
        w.write = true, w.address = address, w.length = part.length, w.use = use;
        w.issuer = u16(c->issuer), w.queue = u16(c->queue);
        w.data.assign(c->buffer.begin() + from, c->buffer.begin() + from + part.length);
        w.done = [this, c, one](Dma&) {
            if (alive(*c)) one();
        };
        dma.start(std::move(w));
    }
    one();
}

// Of a write or comparison the medium comes afterwards.
void Nvme::moved(NvmeWork c) {
    if (c->status) return end(c, c->status);
    if (c->opcode() == READ) end(c, OK);
    else medium(c);
}

void Nvme::medium(NvmeWork c) {
    timers_.in(options.latency + random_.below(options.jitter + 1), [this, c] {
        if (!alive(*c)) return;
        u64 at = place(c->number(4, 4), c->block), bytes = c->count << options.shift;
        switch (c->opcode()) {
        case READ:
            disk.read_bytes(at, c->buffer.data(), unsigned(bytes));
            counts.blocks_read += c->count;
            return move(c);
        case WRITE:
            counts.blocks_written += c->count;
            for (u64 n = 0; n < bytes; n += 64)
                disk.write_strobed(at + n, &c->buffer[n], ~u64(0), 64);
            return end(c, OK);
        case COMPARE: {
            std::vector<u8> own(bytes);
            disk.read_bytes(at, own.data(), unsigned(bytes));
            return end(c, memcmp(own.data(), c->buffer.data(), bytes) ? DIFFERENT : OK);
        }
        case ZEROES:
            for (u64 n = 0; n < bytes; n += 8) disk.write(at + n, 0);
            return end(c, OK);
        case DSM: case COPY: return use_ranges(c);
        default: return end(c, OK);
        }
    });
}

// The list of ranges lies where PRP1 says, and goes on where PRP2 does.
void Nvme::ranges(NvmeWork c) {
    bool copy = c->opcode() == COPY;
    u32 step = copy ? 32 : 16, count = u32(c->number(copy ? 48 : 40, 1)) + 1, left = step * count;
    u64 at = c->number(24, 8) & ~u64(3);
    c->buffer.assign(left, 0), c->count = count;
    u32 first = std::min<u32>(left, u32(4096 - at % 4096));
    c->pending = 1 + (left > first);
    auto take = [this, c](u32 to, const Dma& d) {
        memcpy(&c->buffer[to], d.data.data(), d.data.size());
        if (--c->pending) return;
        if (c->status) end(c, c->status);
        else medium(c);
    };
    u64 second = c->number(32, 8) & ~u64(4095);
    if (c->entry[1] >> 6) {   // one descriptor, of data
        if (c->entry[39] || c->number(32, 4) < left) return end(c, BAD_FIELD);
        second = at + first;
    }
    read(c, at, first, USE_RANGES, [=](Dma& d) { take(0, d); });
    if (left > first)
        read(c, second, left - first, USE_RANGES, [=](Dma& d) { take(first, d); });
}

void Nvme::use_ranges(NvmeWork c) {
    bool copy = c->opcode() == COPY;
    u64 space = c->number(4, 4), to = c->number(40, 8), shift = options.shift;
    bool deallocate = !copy && c->number(44, 4) & 4;
    for (u64 n = 0; n < c->count; ++n) {
        u64 first = 0, number = 0;
        memcpy(&first, &c->buffer[(copy ? 32 : 16) * n + 8], 8);
        memcpy(&number, &c->buffer[copy ? 32 * n + 16 : 16 * n + 4], copy ? 2 : 4);
        number += copy;
        if (first > options.blocks || number > options.blocks - first) return end(c, BAD_RANGE);
        monitor_.blocks(c->issuer, u32(space), first, number);
        if (number > 1 << 16) number = 1 << 16;   // a hint
        if (!deallocate && !copy) continue;
        for (u64 at = 0; at < number << shift; at += 8) {
            u64 word = copy ? disk.read(place(space, first) + at) : 0;
            disk.write(place(space, copy ? to : first) + at, word);
        }
        to += number;
    }
    end(c, OK);
}

// The command is over: its completion is written, and there is room for another one.
void Nvme::end(NvmeWork c, unsigned status) {
    c->status = u16(status);
    bool current = c->controller == controller_;
    if (current && busy_) --busy_;
    counts.errors += status != 0;
    if (options.late && (!current || !submission_.count(c->queue))) {
        Dma w;
        w.write = true, w.address = c->completions_at, w.length = 16, w.use = USE_FORGED;
        w.issuer = u16(c->issuer), w.data.assign(16, 0xEE);
        ++counts.odd;
        dma.start(std::move(w));
        return;
    }
    if (options.hang >> (c->queue & 63) & 1) ++counts.odd;
    else complete(*c);
    pump();
}
