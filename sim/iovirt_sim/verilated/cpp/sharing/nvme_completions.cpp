// Completions and interrupts.
#include "sharing/nvme.h"

namespace {

constexpr u64 TABLE = 0x2000;

}  // namespace

void Nvme::complete(const NvmeCommand& c) {
    auto found = completion_.find(c.completion);
    auto queue = submission_.find(c.queue);
    if (found == completion_.end() || queue == submission_.end()) return;
    ++counts.completed;
    u32 head = queue->second.head;
    if (c.queue && odd(options.forge_head, c.queue)) head = u32(random_.next()) & 0xffff, ++counts.odd;
    std::array<u8, 16> bytes{};
    auto put = [&](unsigned at, u64 value, unsigned size) { memcpy(&bytes[at], &value, size); };
    put(0, c.result, 4), put(8, head, 2), put(10, c.queue, 2), put(12, c.id(), 2);
    put(14, u64(c.status) << 1, 2);
    post(found->second, bytes);
    if (c.queue && odd(options.duplicate, c.queue)) post(found->second, bytes), ++counts.odd;
    if (c.queue && odd(options.stray, c.queue)) {
        put(12, random_.next() & 0xffff, 2);
        post(found->second, bytes);
        ++counts.odd;
    }
}

void Nvme::post(NvmeCompletions& q, std::array<u8, 16> bytes) {
    u32 next = (q.tail + 1) % q.depth;
    if (next == q.head || !q.held.empty()) {
        ++counts.held;
        q.held.push_back(bytes);
        return;
    }
    bytes[14] = u8((bytes[14] & ~1u) | q.phase);
    u32 slot = q.tail;
    q.tail = next;
    if (!next) q.phase ^= 1;
    if (options.completions != 1) {
        write_completions(q, slot, {bytes.begin(), bytes.end()}, 1);
        return;
    }
    if (q.merged.empty()) {
        q.merged_at = slot;
        unsigned number = q.number;
        u64 life = q.life;
        timers_.in(options.merge, [this, number, life, slot] {
            auto found = completion_.find(number);
            bool same = found != completion_.end() && found->second.life == life;
            if (same && found->second.merged_at == slot) flush(found->second);
        });
    }
    q.merged.push_back(bytes);
    if (q.merged.size() == 4 || !next) flush(q);
}

void Nvme::flush(NvmeCompletions& q) {
    if (q.merged.empty()) return;
    std::vector<u8> bytes;
    for (auto& entry : q.merged) bytes.insert(bytes.end(), entry.begin(), entry.end());
    u32 count = u32(q.merged.size());
    q.merged.clear();
    write_completions(q, q.merged_at, std::move(bytes), count);
}

void Nvme::write_completions(NvmeCompletions& q, u32 slot, std::vector<u8> bytes, u32 count) {
    bool beyond = q.number && odd(options.next_lap, q.number);
    counts.odd += beyond;
    u64 at = q.base + 16 * (slot + beyond);
    u32 length = u32(bytes.size()), cut = options.completions == 2 ? 12 : length;
    for (u32 from = 0; from < length; from = cut, cut = length) {
        Dma w;
        w.write = true, w.address = at + from, w.length = cut - from;
        w.use = USE_COMPLETION, w.issuer = u16(q.issuer), w.queue = u16(q.number);
        w.data.assign(bytes.begin() + from, bytes.begin() + cut);
        unsigned number = q.number;
        u64 life = q.life;
        if (cut == length)
            w.done = [=](Dma&) {
                auto found = completion_.find(number);
                if (found != completion_.end() && found->second.life == life)
                    interrupt(found->second, count);
            };
        dma.start(std::move(w));
    }
    if (q.number && odd(options.write_ring, q.number)) {
        for (auto& [number, queue] : submission_) {
            if (queue.completion != q.number || !number) continue;
            Dma w;
            w.write = true, w.address = queue.base + 64 * queue.head, w.length = 64;
            w.use = USE_FORGED, w.issuer = u16(queue.issuer), w.data.assign(64, 0xBD);
            ++counts.odd;
            dma.start(std::move(w));
        }
    }
}

void Nvme::interrupt(NvmeCompletions& q, u32 count) {
    if (!q.interrupts) return;
    q.untold += count;
    unsigned number = q.number;
    u64 life = q.life;
    if (q.untold >= options.coalesce || !number) {
        send_interrupt(number, life);
        return;
    }
    if (q.timed) return;
    q.timed = true;
    timers_.in(options.coalesce_clocks, [=] { send_interrupt(number, life); });
}

void Nvme::send_interrupt(unsigned number, u64 life) {
    auto found = completion_.find(number);
    if (found == completion_.end() || found->second.life != life) return;
    NvmeCompletions& q = found->second;
    q.timed = false;
    if (!q.untold) return;
    q.untold = 0;
    u64 at = TABLE + 16 * q.vector, address = reg(at, 8);
    if (reg(at + 12, 4) & 1 || !address) return;   // masked, or not set up
    ++counts.interrupts;
    Dma w;
    u32 value = u32(reg(at + 8, 4));
    w.write = true, w.address = address, w.length = 4, w.use = USE_INTERRUPT;
    w.issuer = 0, w.queue = u16(number);
    w.data.resize(4);
    memcpy(w.data.data(), &value, 4);
    dma.start(std::move(w));
}
