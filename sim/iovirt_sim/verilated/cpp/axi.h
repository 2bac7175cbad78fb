// AXI4 subordinate: memory behind one port, with latency, errors, reordering and the checks that
// the manager keeps to the protocol (IHI 0022, A3).
#pragma once

#include "memory.h"
#include "settings.h"

// One burst. `owner` belongs to the observer.
struct AxiRead {
    u64 address, id, beats, size, beat, ready_at;
    bool lock;
    void* owner;
    std::vector<void*> others;   // who may be meant as well
    u64 beat_address(u64 n) const { return n ? (address & ~(size - 1)) + n * size : address; }
};

struct AxiWrite {
    u64 address, id, beats, size, ready_at;
    bool lock, committed, shadowed;
    std::vector<u8> data;       // whole bus words
    std::vector<u64> strobes;   // one word per beat
    std::vector<u64> lanes;     // address of lane 0 of each beat
    std::vector<void*> owners;
};

struct AxiObserver {
    virtual ~AxiObserver() = default;
    virtual void read_issued(AxiRead&) {}
    // Lane 0 of `bytes` is at `address`.
    virtual void read_beat(AxiRead&, u64 /*address*/, const u8* /*bytes*/, unsigned /*count*/,
                           Resp) {}
    virtual void write_assembled(AxiWrite&) {}
    virtual void write_committed(AxiWrite&) {}
    virtual void write_answered(AxiWrite&, Resp) {}
};

struct AxiKnobs {
    u64 &latency, &write_latency, &jitter, &reorder, &stall;
};

template <class Port> class AxiSubordinate {
  public:
    static constexpr unsigned LANES = Port::data_bytes;

    AxiSubordinate(Port port, const char* name, Memory& memory, AxiKnobs knobs,
                   AxiObserver& observer, Errors& errors, Random& random)
        : port_(port), name_(name), memory_(memory), knobs_(knobs), observer_(observer),
          errors_(errors), random_(random) {}

    // Before the clock edge that ends `cycle`: take what is handed over.
    void sample(u64 cycle) {
        check_stable();
        if (r_valid_ && port_.rready()) finish_beat();
        if (b_valid_ && port_.bready()) b_valid_ = false;
        if (port_.arvalid() && port_.arready()) accept_read(cycle);
        if (port_.awvalid() && port_.awready()) accept_write();
        if (port_.wvalid() && port_.wready()) accept_data();
        assemble(cycle);
    }

    // After it: drive the inputs of `cycle`.
    void drive(u64 cycle) {
        put(port_.arready(), reads_.size() < LIMIT && !random_.chance(knobs_.stall));
        put(port_.awready(), addresses_.size() < LIMIT && !random_.chance(knobs_.stall));
        put(port_.wready(), beats_.size() < 4 * LIMIT && !random_.chance(knobs_.stall));
        if (!r_valid_) offer_read(cycle);
        if (!b_valid_) offer_response(cycle);
        put(port_.rvalid(), r_valid_);
        put(port_.bvalid(), b_valid_);
    }

    void reset() {
        reads_.clear(), addresses_.clear(), beats_.clear(), answers_.clear();
        current_ = -1;
        r_valid_ = b_valid_ = false;
        held_ar_.held = held_aw_.held = false;
        w_held_ = false;
        put(port_.arready(), 0), put(port_.awready(), 0), put(port_.wready(), 0);
        put(port_.rvalid(), 0), put(port_.bvalid(), 0);
    }

    bool idle() const { return reads_.empty() && addresses_.empty() && answers_.empty(); }

  private:
    static constexpr std::size_t LIMIT = 64;

    struct Beat {
        u8 data[LANES];
        u64 strobes;
        bool last;
    };
    struct Held {
        bool held = false;
        u64 address = 0, rest = 0;
    };

    void accept_read(u64 cycle) {
        AxiRead read{};
        read.address = port_.araddr(), read.id = port_.arid(), read.beats = port_.arlen() + 1u;
        read.size = u64(1) << port_.arsize(), read.lock = port_.arlock();
        read.ready_at = cycle + knobs_.latency + random_.below(knobs_.jitter + 1);
        check_burst("AR", read.address, read.beats, read.size, port_.arburst());
        observer_.read_issued(read);
        if (read.lock) reserved_id_ = read.id, reserved_ = read.address, reservation_ = true;
        reads_.push_back(std::move(read));
    }

    void accept_write() {
        AxiWrite write{};
        write.address = port_.awaddr(), write.id = port_.awid(), write.beats = port_.awlen() + 1u;
        write.size = u64(1) << port_.awsize(), write.lock = port_.awlock();
        check_burst("AW", write.address, write.beats, write.size, port_.awburst());
        addresses_.push_back(std::move(write));
    }

    void accept_data() {
        beats_.emplace_back();
        Beat& beat = beats_.back();
        memcpy(beat.data, words(port_.wdata()), LANES);
        beat.strobes = port_.wstrb();
        beat.last = port_.wlast();
    }

    // Write data follows the order of the addresses, and may come before them.
    void assemble(u64 cycle) {
        while (!addresses_.empty() && !beats_.empty()) {
            AxiWrite& write = addresses_.front();
            Beat& beat = beats_.front();
            u64 number = write.strobes.size();
            u64 at = number ? (write.address & ~(write.size - 1)) + number * write.size
                            : write.address;
            u64 lane = at % LANES, width = write.size - at % write.size;
            u64 legal = (width >= 64 ? ~u64(0) : (u64(1) << width) - 1) << lane;
            if (beat.strobes & ~legal)
                errors_.add("%s: WSTRB %llx outside the lanes of address %llx", name_,
                            (unsigned long long)beat.strobes, (unsigned long long)at);
            write.lanes.push_back(at & ~u64(LANES - 1));
            write.strobes.push_back(beat.strobes);
            write.data.insert(write.data.end(), beat.data, beat.data + LANES);
            bool full = write.strobes.size() == write.beats;
            if (beat.last != full)
                errors_.add("%s: WLAST is %d on beat %llu of %llu at address %llx", name_,
                            beat.last, (unsigned long long)number + 1,
                            (unsigned long long)write.beats, (unsigned long long)write.address);
            beats_.pop_front();
            if (!full) continue;
            observer_.write_assembled(write);
            write.ready_at = cycle + knobs_.write_latency + random_.below(knobs_.jitter + 1);
            answers_.push_back(std::move(write));
            addresses_.pop_front();
        }
    }

    // Index of the burst to answer next, or -1: the oldest of its ID, and, unless reordering is on,
    // the oldest of all.
    template <class Bursts> int choose(const Bursts& bursts, u64 cycle) {
        if (bursts.empty()) return -1;
        if (!knobs_.reorder) return bursts.front().ready_at <= cycle ? 0 : -1;
        u64 seen = 0;
        std::vector<int> ready;
        for (std::size_t n = 0; n < bursts.size(); ++n) {
            u64 bit = u64(1) << (bursts[n].id & 63);
            if (!(seen & bit) && bursts[n].ready_at <= cycle) ready.push_back(int(n));
            seen |= bit;
        }
        return ready.empty() ? -1 : ready[random_.below(ready.size())];
    }

    void offer_read(u64 cycle) {
        if (random_.chance(knobs_.stall)) return;
        int index = current_ >= 0 ? current_ : choose(reads_, cycle);
        if (index < 0) return;
        current_ = index;
        AxiRead& read = reads_[index];
        u64 address = read.beat_address(read.beat), lane = address & ~u64(LANES - 1);
        u64 count = read.size - address % read.size;
        u8 bytes[LANES];
        memory_.read_bytes(lane, bytes, LANES);
        Resp resp = memory_.read_response(address, unsigned(count));
        if (resp >= SLVERR) memset(bytes, 0xEE, LANES);
        else if (read.lock) resp = EXOKAY;
        observer_.read_beat(read, lane, bytes, LANES, resp);
        memcpy(words(port_.rdata()), bytes, LANES);
        put(port_.rid(), read.id);
        put(port_.rresp(), resp);
        put(port_.rlast(), read.beat + 1 == read.beats);
        r_valid_ = true;
    }

    void finish_beat() {
        r_valid_ = false;
        AxiRead& read = reads_[current_];
        if (++read.beat < read.beats) return;
        reads_.erase(reads_.begin() + current_);
        current_ = -1;
    }

    void offer_response(u64 cycle) {
        if (random_.chance(knobs_.stall)) return;
        int index = choose(answers_, cycle);
        if (index < 0) return;
        AxiWrite& write = answers_[index];
        Resp resp = commit(write);
        observer_.write_answered(write, resp);
        put(port_.bid(), write.id);
        put(port_.bresp(), resp);
        b_valid_ = true;
        answers_.erase(answers_.begin() + index);
    }

    // Data becomes visible with the response and not before.
    Resp commit(AxiWrite& write) {
        Resp resp = OKAY;
        for (std::size_t n = 0; n < write.strobes.size(); ++n) {
            u64 at = n ? (write.address & ~(write.size - 1)) + n * write.size : write.address;
            Resp one = memory_.write_response(at, unsigned(write.size - at % write.size));
            if (one > resp) resp = one;
        }
        if (resp >= SLVERR) return resp;
        bool mine = reservation_ && reserved_id_ == write.id && reserved_ == write.address;
        if (write.lock && !mine) return OKAY;
        if (reservation_ && write.address < reserved_ + 8 &&
            reserved_ < write.address + write.beats * write.size)
            reservation_ = false;
        for (std::size_t n = 0; n < write.strobes.size(); ++n)
            memory_.write_strobed(write.lanes[n], &write.data[n * LANES], write.strobes[n], LANES);
        observer_.write_committed(write);
        return write.lock ? EXOKAY : OKAY;
    }

    void check_burst(const char* channel, u64 address, u64 beats, u64 size, u64 burst) {
        u64 last = (address & ~(size - 1)) + beats * size - 1;
        if (burst != 1)
            errors_.add("%s: %sBURST is %llu, not INCR", name_, channel, (unsigned long long)burst);
        if (size > LANES)
            errors_.add("%s: %sSIZE of %llu bytes exceeds the bus", name_, channel,
                        (unsigned long long)size);
        if (address / 4096 != last / 4096)
            errors_.add("%s: %s burst at %llx of %llu beats crosses 4 KiB", name_, channel,
                        (unsigned long long)address, (unsigned long long)beats);
    }

    // VALID may not fall, and nothing may change, before READY.
    void check_stable() {
        check_held(held_ar_, "AR", port_.arvalid(), port_.arready(), port_.araddr(),
                   u64(port_.arid()) << 16 | port_.arlen() << 4 | port_.arsize());
        check_held(held_aw_, "AW", port_.awvalid(), port_.awready(), port_.awaddr(),
                   u64(port_.awid()) << 16 | port_.awlen() << 4 | port_.awsize());
        bool valid = port_.wvalid();
        if (w_held_ && (!valid || memcmp(w_data_, words(port_.wdata()), LANES) ||
                        w_strobes_ != port_.wstrb()))
            errors_.add("%s: W changed while it was stalled", name_);
        w_held_ = valid && !port_.wready();
        if (w_held_) memcpy(w_data_, words(port_.wdata()), LANES), w_strobes_ = port_.wstrb();
    }

    void check_held(Held& held, const char* channel, bool valid, bool ready, u64 address,
                    u64 rest) {
        if (held.held && (!valid || held.address != address || held.rest != rest))
            errors_.add("%s: %s changed while it was stalled", name_, channel);
        held.held = valid && !ready;
        held.address = address, held.rest = rest;
    }

    Port port_;
    const char* name_;
    Memory& memory_;
    AxiKnobs knobs_;
    AxiObserver& observer_;
    Errors& errors_;
    Random& random_;
    std::deque<AxiRead> reads_;
    std::deque<AxiWrite> addresses_, answers_;
    std::deque<Beat> beats_;
    int current_ = -1;
    bool r_valid_ = false, b_valid_ = false;
    bool reservation_ = false;
    u64 reserved_ = 0, reserved_id_ = 0;
    Held held_ar_, held_aw_;
    bool w_held_ = false;
    u8 w_data_[LANES] = {};
    u64 w_strobes_ = 0;
};
