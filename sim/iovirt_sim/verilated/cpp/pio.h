// AXI4 manager: the cores. Addresses, data and responses of different accesses overlap.
#pragma once

#include "accesses.h"
#include "ports.h"

template <class Port> class PioManager {
  public:
    static constexpr unsigned LANES = Port::data_bytes;

    PioManager(Port port, Accesses& accesses, Settings& settings, Statistics& statistics,
               Random& random, Errors& errors)
        : port_(port), accesses_(accesses), settings_(settings), statistics_(statistics),
          random_(random), errors_(errors) {}

    bool full() const { return reads_.size() + writes_.size() + beats_.size() >= settings_.queue; }
    bool empty() const { return reads_.empty() && writes_.empty() && beats_.empty(); }

    void push(Access&& given) {
        Access* a = accesses_.start(std::move(given));
        if (!a->write) {
            reads_.push_back(a);
            return;
        }
        writes_.push_back(a);
        for (unsigned n = 0; n < a->beats; ++n) {
            Beat beat{};
            u64 from = a->beat_address(n), to = (from & ~(a->size - 1)) + a->size;
            for (u64 at = from; at < to; ++at) {
                beat.data[at % LANES] = a->data[at - a->address];
                beat.strobes |= u64(a->enabled[at - a->address] != 0) << at % LANES;
            }
            beat.last = n + 1 == a->beats;
            beats_.push_back(beat);
        }
    }

    void sample(u64 cycle) {
        if (ar_ && port_.arready()) take(ar_, reads_, cycle);
        if (aw_ && port_.awready()) take(aw_, writes_, cycle);
        if (w_ && port_.wready()) w_ = false, beats_.pop_front();
        check_stable();
        bool r = port_.rvalid(), b = port_.bvalid();
        unsigned id = r ? unsigned(port_.rid()) : 0;
        if (r && !r_held_) accesses_.read_offered(id, port_.rlast());
        if (r && r_ready_) {
            accesses_.read_beat(id, reinterpret_cast<u8*>(words(port_.rdata())), LANES,
                                unsigned(port_.rresp()), poisoned(), port_.rlast(), cycle);
            if (port_.rlast() && outstanding_) --outstanding_;
        }
        if (b && b_ready_) {
            accesses_.write_response(unsigned(port_.bid()), unsigned(port_.bresp()), cycle);
            if (outstanding_) --outstanding_;
        }
        hold(r && !r_ready_, b && !b_ready_);
    }

    void drive(u64 cycle) {
        if (!ar_) ar_ = offer(reads_, cycle);
        if (!aw_) aw_ = offer(writes_, cycle);
        if (!w_) w_ = !beats_.empty() && !random_.chance(settings_.pio_stall);
        if (ar_) {
            const Access& a = *reads_.front();
            put(port_.araddr(), a.address), put(port_.arid(), a.id), put(port_.arburst(), a.burst);
            put(port_.arlen(), a.beats - 1), put(port_.arsize(), log2(a.size));
        }
        if (aw_) {
            const Access& a = *writes_.front();
            put(port_.awaddr(), a.address), put(port_.awid(), a.id), put(port_.awburst(), a.burst);
            put(port_.awlen(), a.beats - 1), put(port_.awsize(), log2(a.size));
        }
        if (w_) {
            memcpy(words(port_.wdata()), beats_.front().data, LANES);
            put(port_.wstrb(), beats_.front().strobes);
            put(port_.wlast(), beats_.front().last);
        }
        r_ready_ = !random_.chance(settings_.pio_ready_stall);
        b_ready_ = !random_.chance(settings_.pio_ready_stall);
        put(port_.arvalid(), ar_), put(port_.awvalid(), aw_), put(port_.wvalid(), w_);
        put(port_.rready(), r_ready_), put(port_.bready(), b_ready_);
    }

    void reset() {
        reads_.clear(), writes_.clear(), beats_.clear();
        ar_ = aw_ = w_ = r_held_ = b_held_ = r_ready_ = b_ready_ = false;
        outstanding_ = 0;
        put(port_.arvalid(), 0), put(port_.awvalid(), 0), put(port_.wvalid(), 0);
        put(port_.rready(), 0), put(port_.bready(), 0);
    }

  private:
    struct Beat {
        u8 data[LANES];
        u64 strobes;
        bool last;
    };

    static unsigned log2(u64 value) { return unsigned(__builtin_ctzll(value)); }

    // A write counts from its address, so addresses may not be held back for ever by the limit.
    bool offer(std::deque<Access*>& queue, u64 cycle) {
        if (queue.empty() || outstanding_ >= settings_.pio_outstanding ||
            random_.chance(settings_.pio_stall))
            return false;
        ++outstanding_;
        queue.front()->offered = cycle;
        return true;
    }

    void take(bool& valid, std::deque<Access*>& queue, u64 cycle) {
        valid = false;
        accesses_.accepted(*queue.front(), cycle);
        queue.pop_front();
    }

    bool poisoned() {
#ifdef IOVIRT_HAS_PIO_RUSER
        return port_.ruser() & 1;
#else
        return false;
#endif
    }

    void check_stable() {
        if (r_held_ && (!port_.rvalid() || r_id_ != port_.rid() || r_resp_ != port_.rresp() ||
                        memcmp(r_data_, words(port_.rdata()), LANES)))
            errors_.add("pio: R changed while it was stalled");
        if (b_held_ && (!port_.bvalid() || b_id_ != port_.bid() || b_resp_ != port_.bresp()))
            errors_.add("pio: B changed while it was stalled");
    }

    void hold(bool r, bool b) {
        r_held_ = r, b_held_ = b;
        if (r) {
            r_id_ = port_.rid(), r_resp_ = port_.rresp();
            memcpy(r_data_, words(port_.rdata()), LANES);
        }
        if (b) b_id_ = port_.bid(), b_resp_ = port_.bresp();
    }

    Port port_;
    Accesses& accesses_;
    Settings& settings_;
    Statistics& statistics_;
    Random& random_;
    Errors& errors_;
    std::deque<Access*> reads_, writes_;
    std::deque<Beat> beats_;
    bool ar_ = false, aw_ = false, w_ = false, r_ready_ = false, b_ready_ = false;
    bool r_held_ = false, b_held_ = false;
    u64 outstanding_ = 0, r_id_ = 0, r_resp_ = 0, b_id_ = 0, b_resp_ = 0;
    u8 r_data_[LANES] = {};
};
