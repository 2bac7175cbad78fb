// Registers, doorbells, and fetching of entries.
#include "sharing/nvme.h"

namespace {

constexpr u64 CAP = 0, VS = 8, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30,
              DOORBELLS = 0x1000, DOORBELLS_END = 0x2000, TABLE = 0x2000, VECTORS = 128;
constexpr u32 ENABLE = 1, READY = 1, FATAL = 2, SHUT_DOWN = 3u << 14, SHUTDOWN_DONE = 2u << 2;

}  // namespace

Nvme::Nvme(unsigned function, u16 rid, u8 segment, Settings& settings, Errors& errors,
           Events& events, Monitor& monitor, Timers& timers, Memory& bars)
    : dma(settings, errors, events, monitor, timers), function_(function), monitor_(monitor),
      timers_(timers), bars_(bars) {
    dma.rid = rid, dma.segment = segment;
    random_.state = 0x4E56 + function;
    for (u64 at = 0; at < 0x4000; at += 8) set_reg(at, 0, 8);
    for (u64 n = 0; n < VECTORS; ++n) set_reg(TABLE + 16 * n + 12, 1, 4);   // masked
    written(CAP, 8);
}

u64 Nvme::reg(u64 offset, unsigned bytes) const {
    u64 value = 0;
    bars_.read_bytes(Devices::bar_address(function_, 0, offset), reinterpret_cast<u8*>(&value),
                     bytes);
    return value;
}

void Nvme::set_reg(u64 offset, u64 value, unsigned bytes) {
    bars_.write_strobed(Devices::bar_address(function_, 0, offset),
                        reinterpret_cast<const u8*>(&value), (u64(1) << bytes) - 1, bytes);
}

void Nvme::written(u64 offset, unsigned bytes) {
    if (offset >= DOORBELLS && offset < DOORBELLS_END) {
        ++counts.doorbells;
        u64 number = (offset - DOORBELLS) / 4;
        if (offset % 4 || bytes != 4) {
            monitor_.breach(monitor_.bad_doorbell, "a doorbell of an odd size", 0, offset, bytes);
            return;
        }
        doorbell(number, u32(reg(offset, 4)));
        return;
    }
    if (offset < 0x40 && offset + bytes > CC && offset < CC + 4) control();
    // What software cannot write.
    u64 most = options.entries - 1;
    set_reg(CAP, most | 1 << 16 | u64(20) << 24 | u64(1) << 37, 8);
    set_reg(VS, 0x10400, 4);
    u32 status = (enabled_ ? READY : 0) | (dead_ ? FATAL : 0);
    if (reg(CC, 4) & SHUT_DOWN) status |= SHUTDOWN_DONE;
    set_reg(CSTS, status, 4);
}

void Nvme::control() {
    bool on = reg(CC, 4) & ENABLE;
    if (!on && (enabled_ || dead_)) disable();
    if (!on || enabled_ || dead_) return;
    u64 life = controller_;
    timers_.in(options.ready, [this, life] {
        if (life == controller_ && (reg(CC, 4) & ENABLE) && !enabled_) enable();
    });
}

void Nvme::enable() {
    u32 cc = u32(reg(CC, 4)), sizes = u32(reg(AQA, 4));
    u64 sq = reg(ASQ, 8), cq = reg(ACQ, 8);
    u32 sq_depth = (sizes & 0xfff) + 1, cq_depth = (sizes >> 16 & 0xfff) + 1;
    bool good = !(sq & 4095) && !(cq & 4095) && sq_depth > 1 && cq_depth > 1 &&
                (cc >> 4 & 7) == 0 && (cc >> 7 & 15) == 0 && (cc >> 16 & 15) == 6 &&
                (cc >> 20 & 15) == 4;
    if (!good) {
        fatal();
        return;
    }
    enabled_ = true;
    NvmeQueue& queue = submission_[0] = {};
    queue.base = sq, queue.depth = sq_depth, queue.life = lives_++;
    NvmeCompletions& completions = completion_[0] = {};
    completions.base = cq, completions.depth = cq_depth, completions.interrupts = true;
    completions.life = lives_++;
    set_reg(CSTS, READY, 4);
}

void Nvme::disable() {
    ++counts.resets;
    ++controller_;
    enabled_ = dead_ = false;
    submission_.clear(), completion_.clear(), events_asked_.clear();
    busy_ = 0;
    set_reg(CSTS, 0, 4);
}

void Nvme::reset() {
    disable();
    dma.reset();
    set_reg(CC, 0, 4);
}

void Nvme::fatal() {
    ++counts.fatal;
    dead_ = true;
    set_reg(CSTS, reg(CSTS, 4) | FATAL, 4);
}

void Nvme::doorbell(u64 number, u32 value) {
    if (!enabled_ || dead_) return;
    unsigned queue = unsigned(number / 2);
    if (number & 1) {
        auto found = completion_.find(queue);
        if (found == completion_.end() || value >= found->second.depth) {
            monitor_.breach(monitor_.bad_doorbell, "a bad completion doorbell", 0, number, value);
            return;
        }
        NvmeCompletions& cq = found->second;
        if ((value + cq.depth - cq.head) % cq.depth > (cq.tail + cq.depth - cq.head) % cq.depth)
            monitor_.breach(monitor_.bad_doorbell, "a head beyond the tail", 0, number, value);
        cq.head = value;
        std::deque<std::array<u8, 16>> held;
        held.swap(cq.held);
        for (auto& bytes : held) post(cq, bytes);
        return;
    }
    auto found = submission_.find(queue);
    if (found == submission_.end() || value >= found->second.depth) {
        monitor_.breach(monitor_.bad_doorbell, "a bad tail doorbell", 0, number, value);
        return;
    }
    NvmeQueue& sq = found->second;
    if ((value + sq.depth - sq.head) % sq.depth < (sq.tail + sq.depth - sq.head) % sq.depth)
        monitor_.breach(monitor_.backward_doorbell, "a tail that goes back", sq.issuer, number, value);
    sq.tail = value;
    pump();
}

// Fetches and starts what there is, a burst of each queue in turn.
void Nvme::pump() {
    if (pumping_ || dead_ || !enabled_) return;
    pumping_ = true;
    for (auto& [number, queue] : submission_) fetch(queue);
    start_commands();
    for (auto& [number, queue] : submission_) fetch(queue);
    pumping_ = false;
}

void Nvme::fetch(NvmeQueue& q) {
    while (!dead_) {
        u32 ahead = (q.fetch + q.depth - q.head) % q.depth;
        u32 told = (q.tail + q.depth - q.head) % q.depth;
        u32 count = told > ahead ? told - ahead : 0;   // a tail may have been taken back
        if (ahead >= options.ahead) return;
        if (count > options.burst) count = u32(options.burst);
        if (count > options.ahead - ahead) count = u32(options.ahead - ahead);
        if (count > q.depth - q.fetch) count = q.depth - q.fetch;
        if (!count) return;
        u32 more = q.number && odd(options.prefetch, q.number) ? u32(options.prefetch) : 0;
        if (more > q.depth - q.fetch - count) more = q.depth - q.fetch - count;
        if (more) ++counts.odd;
        u32 from = q.fetch;
        q.fetch = (q.fetch + count) % q.depth;
        if (!options.shuffle) {
            fetch_some(q, from, count + more);
            continue;
        }
        std::vector<u32> order;
        for (u32 n = 0; n < count + more; ++n) order.push_back(from + n);
        for (u32 n = count + more; n > 1; --n) std::swap(order[n - 1], order[random_.below(n)]);
        for (u32 index : order) fetch_some(q, index, 1);
    }
}

// Entries that a prefetch brought are not fetched again.
void Nvme::fetch_some(NvmeQueue& q, u32 from, u32 count) {
    while (count && (q.fetched.count(from) || q.fetching.count(from))) ++from, --count;
    if (!count) return;
    for (u32 n = 0; n < count; ++n) q.fetching[from + n] = true;
    counts.entries_fetched += count;
    u64 life = q.life;
    unsigned number = q.number;
    bool pieces = q.number && odd(options.pieces < 64, q.number);
    if (!pieces) {
        ++counts.fetches;
        Dma r;
        r.address = q.base + 64 * from, r.length = 64 * count, r.use = USE_ENTRY;
        r.issuer = u16(q.issuer), r.queue = u16(number);
        r.done = [=](Dma& d) { fetched(number, life, from, d); };
        dma.start(std::move(r));
        return;
    }
    ++counts.odd;
    for (u32 n = 0; n < count; ++n) {
        auto whole = std::make_shared<Dma>();
        auto left = std::make_shared<u32>(64 / u32(options.pieces));
        whole->data.assign(64, 0);
        for (u32 at = 0; at < 64; at += u32(options.pieces)) {
            Dma r;
            r.address = q.base + 64 * (from + n) + at, r.length = u32(options.pieces);
            r.use = USE_ENTRY, r.issuer = u16(q.issuer), r.queue = u16(number);
            r.done = [=](Dma& d) {
                memcpy(&whole->data[at], d.data.data(), d.data.size());
                if (d.status) whole->status = d.status;
                if (!--*left) fetched(number, life, from + n, *whole);
            };
            dma.start(std::move(r));
        }
    }
}

void Nvme::fetched(unsigned number, u64 life, u32 from, const Dma& d) {
    auto found = submission_.find(number);
    if (found == submission_.end() || found->second.life != life || dead_) return;
    if (d.status || d.poisoned) {
        fatal();
        return;
    }
    NvmeQueue& q = found->second;
    for (u32 n = 0; 64 * n < d.data.size(); ++n) {
        q.fetching.erase(from + n);
        memcpy(q.fetched[from + n].data(), &d.data[64 * n], 64);
    }
    pump();
}

// Round robin over the queues, `arbitration` commands of each.
void Nvme::start_commands() {
    auto next = [this](unsigned after) {
        auto at = submission_.upper_bound(after);
        return at == submission_.end() ? submission_.begin() : at;
    };
    for (std::size_t idle = 0; busy_ < options.engines && idle <= submission_.size() && !dead_;) {
        auto at = submission_.find(turn_);
        bool ready = at != submission_.end() && credit_ && at->second.head != at->second.tail &&
                     at->second.fetched.count(at->second.head);
        if (!ready) {
            if (submission_.empty()) return;
            turn_ = next(turn_)->first, credit_ = unsigned(options.arbitration);
            ++idle;
            continue;
        }
        idle = 0, --credit_;
        NvmeQueue& q = at->second;
        NvmeEntry entry = q.fetched[q.head];
        q.fetched.erase(q.head);
        q.head = (q.head + 1) % q.depth;
        start(q, entry);
    }
}
