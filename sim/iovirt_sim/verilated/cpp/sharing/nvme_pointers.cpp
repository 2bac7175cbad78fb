// PRP entries and lists, scatter-gather lists.
#include "sharing/nvme.h"

namespace {

constexpr u64 PAGE = 4096;
constexpr u32 LINK = 511, MOST_LISTS = 64;
constexpr unsigned BAD_FIELD = 0x4002, BAD_SEGMENT = 0x400d, BAD_TYPE = 0x4011, BAD_OFFSET = 0x4013;

u64 word_at(const std::vector<u8>& bytes, std::size_t at) {
    u64 word = 0;
    memcpy(&word, &bytes[at], 8);
    return word;
}

}  // namespace

void Nvme::walk_prp(NvmeWork c) {
    u64 first = c->number(24, 8) & ~u64(3), second = c->number(32, 8);
    u64 size = std::min<u64>(c->rest, PAGE - first % PAGE);
    c->parts.push_back({first, u32(size)});
    c->rest -= size;
    if (!c->rest) return found_parts(c);
    u64 offset = second % PAGE;
    bool honours = options.honour_low && odd_on(c->queue);
    if (c->rest <= PAGE - (honours ? offset : 0)) {
        if (offset && !honours && options.strict_lists) return end(c, BAD_OFFSET);
        c->parts.push_back({honours ? second : second - offset, u32(c->rest)});
        c->rest = 0;
        return found_parts(c);
    }
    if (second & 7 && options.strict_lists) return end(c, BAD_OFFSET);
    c->page = second & ~(PAGE - 1), c->slot = u32(offset / 8);
    read_list(c);
}

// Reads what is missing from the present slot on, in the way of the device.
void Nvme::read_list(NvmeWork c) {
    u32 left = u32((c->rest + PAGE - 1) / PAGE), from = c->slot, to = 512;
    if (options.lists == 0) to = std::min(512u, from + left);
    if (options.lists > 1) {
        u32 step = std::max<u32>(1, u32(options.lists / 8));
        from = from / step * step, to = std::min(512u, from + step);
    }
    ++counts.list_reads;
    if (odd(options.write_list, c->queue)) {
        Dma w;
        w.write = true, w.address = c->page + 8 * from, w.length = 8, w.use = USE_FORGED;
        w.issuer = u16(c->issuer), w.data.assign(8, 0xBD);
        ++counts.odd;
        dma.start(std::move(w));
    }
    read(c, c->page + 8 * from, 8 * (to - from), USE_PRP_LIST, [this, c, from, to](Dma& d) {
        if (c->status) return end(c, c->status);
        for (u32 n = from; n < to; ++n) c->slots[n] = word_at(d.data, 8 * (n - from));
        walk_list(c);
    });
}

void Nvme::walk_list(NvmeWork c) {
    bool honours = options.honour_low && odd_on(c->queue);
    while (c->rest) {
        auto found = c->slots.find(c->slot);
        if (found == c->slots.end()) return read_list(c);
        u64 entry = found->second, offset = entry % PAGE;
        if (offset && !honours && options.strict_lists) return end(c, BAD_OFFSET);
        if (c->slot == LINK && ((options.always_link && odd_on(c->queue)) || c->rest > PAGE)) {
            if (++c->hops > MOST_LISTS) return end(c, BAD_FIELD);
            c->page = entry - offset, c->slot = 0;
            c->slots.clear();
            continue;
        }
        u64 size = std::min<u64>(c->rest, PAGE - (honours ? offset : 0));
        c->parts.push_back({honours ? entry : entry - offset, u32(size)});
        c->rest -= size;
        if (++c->slot == 512 && c->rest) return end(c, BAD_FIELD);
    }
    found_parts(c);
}

void Nvme::walk_sgl(NvmeWork c, std::vector<u8> descriptors) {
    for (std::size_t at = 0; at + 16 <= descriptors.size() && c->rest; at += 16) {
        u64 address = word_at(descriptors, at), length = word_at(descriptors, at + 8) & 0xffff'ffff;
        unsigned kind = descriptors[at + 15];
        u64 size = std::min<u64>(length, c->rest);
        switch (kind) {
        case 0x00:
        case 0x10:
            if (size) c->parts.push_back({kind ? NvmePart::NOWHERE : address, u32(size)});
            c->rest -= size;
            break;
        case 0x20:
        case 0x30:
            if (at + 16 != descriptors.size() || length % 16 || !length || ++c->hops > MOST_LISTS)
                return end(c, BAD_SEGMENT);
            return read_segment(c, address, std::min<u64>(length, 2 * PAGE));
        default: return end(c, BAD_TYPE);
        }
    }
    found_parts(c);
}

// Descriptors may lie over the boundaries of the reads.
void Nvme::read_segment(NvmeWork c, u64 address, u64 length) {
    u64 step = options.lists > 1 ? options.lists : PAGE;
    auto bytes = std::make_shared<std::vector<u8>>(length);
    c->pending = 0;
    for (u64 at = 0; at < length;) {
        u64 from = address + at, size = std::min(length - at, step - from % step);
        size = std::min(size, PAGE - from % PAGE);
        ++c->pending, ++counts.list_reads;
        read(c, from, u32(size), USE_SGL, [this, c, bytes, at](Dma& d) {
            memcpy(&(*bytes)[at], d.data.data(), d.data.size());
            if (--c->pending) return;
            if (c->status) end(c, c->status);
            else walk_sgl(c, std::move(*bytes));
        });
        at += size;
    }
}
