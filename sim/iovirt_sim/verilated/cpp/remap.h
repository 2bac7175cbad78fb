// The request stream of the remap engine, driven directly: sends requests back to back, checks the
// answers, retires them. Compiled only for tops that have this stream.
#pragma once

#include "ports.h"
#include "settings.h"

struct RemapRequest {
    u32 op = NO_OP;
    u16 group = 0;
    u32 device_id = 0, pid = 0, source = 0;
    bool pv = false, priv = false, exec = false, write = false, report = false;
    u8 at = 0;
    int expect = -1;     // -1: nothing, 0: `wanted` is the cause, 1: it is the SPA
    u64 iova = 0, wanted = 0, accepted = 0;
};

class RemapDriver {
  public:
    RemapDriver(Model& model, Settings& settings, Statistics& statistics, Errors& errors,
                Events& events, Random& random)
        : model_(model), settings_(settings), statistics_(statistics), errors_(errors),
          events_(events), random_(random) {
        reset();
    }

    void push(const RemapRequest& request) {
        queue_.push_back(request);
        ++waiting_;
    }
    bool full() const { return queue_.size() >= settings_.queue; }
    bool empty() const { return queue_.empty() && !valid_; }
    u64 outstanding() const { return waiting_; }

    std::string describe_oldest() const {
        const RemapRequest* oldest = queue_.empty() ? nullptr : &queue_.front();
        for (auto& [id, request] : in_flight_)
            if (!oldest || request.op < oldest->op) oldest = &request;
        if (!oldest) return "nothing";
        char text[120];
        snprintf(text, sizeof text, "request of operation %u: device %06x, iova %llx", oldest->op,
                 oldest->device_id, (unsigned long long)oldest->iova);
        return text;
    }

    void sample(u64 cycle) {
        if (valid_ && model_.request___05Fready) {
            valid_ = false;
            if (!statistics_.requests++) statistics_.first_accept = cycle;
            RemapRequest request = queue_.front();
            queue_.pop_front();
            request.accepted = cycle;
            in_flight_[id_] = request;
            order_[request.source].push_back(id_);
        }
        if (model_.result___05Fvalid && model_.result___05Fready) answer(cycle);
        if (retiring_) retiring_ = false, retire_.pop_front();
    }

    void drive(u64 cycle) {
        if (!valid_ && !queue_.empty() && !ids_.empty() &&
            in_flight_.size() < settings_.max_requests && !random_.chance(settings_.rx_stall))
            offer();
        model_.request___05Fvalid = valid_;
        model_.result___05Fready = !random_.chance(settings_.tx_stall);
        retiring_ = !retire_.empty() && retire_.front().first <= cycle;
        set_retire(retiring_, retiring_ && retire_.front().second);
    }

    void reset() {
        queue_.clear(), in_flight_.clear(), retire_.clear(), ids_.clear(), order_.clear();
        unsigned bits = request_payload::id.width < 12 ? request_payload::id.width : 12;
        for (u32 n = 0; n < 1u << bits; ++n) ids_.push_back(n);
        valid_ = retiring_ = false;
        waiting_ = 0;
        model_.request___05Fvalid = 0;
        model_.result___05Fready = 0;
        set_retire(false, false);
    }

  private:
    void offer() {
        const RemapRequest& r = queue_.front();
        id_ = ids_.front();
        ids_.pop_front();
        valid_ = true;
        u32* payload = words(model_.request___05Fpayload);
        set_field(payload, request_payload::access__device_id, r.device_id);
        set_field(payload, request_payload::access__pv, r.pv);
        set_field(payload, request_payload::access__pid, r.pid);
        set_field(payload, request_payload::access__priv, r.priv);
        set_field(payload, request_payload::access__exec, r.exec);
        set_field(payload, request_payload::access__write, r.write);
        set_field(payload, request_payload::access__at, r.at);
        set_field(payload, request_payload::access__iova, r.iova);
        set_field(payload, request_payload::source, r.source);
        set_field(payload, request_payload::id, id_);
    }

    void answer(u64 cycle) {
        const u32* payload = words(model_.result___05Fpayload);
        u32 id = u32(get_field(payload, result_payload::id));
        auto found = in_flight_.find(id);
        if (found == in_flight_.end()) {
            errors_.add("result: id %u answers no request", id);
            return;
        }
        const RemapRequest& r = found->second;
        bool ok = get_field(payload, result_payload::ok);
        u64 ca = get_field(payload, result_payload::ca);
        u64 cause = get_field(payload, result_payload::cause);
        u64 epoch = get_field(payload, result_payload::epoch);
        u64 spa = ok ? get_field(payload, result_payload::ppn) << 12 | (r.iova & 4095) : 0;
        if (r.expect >= 0 && (ok != (r.expect == 1) || (ok ? spa : cause) != r.wanted))
            errors_.add("result: operation %u, device %06x, iova %llx: %s %llx instead of %s %llx",
                        r.op, r.device_id, (unsigned long long)r.iova, ok ? "spa" : "cause",
                        (unsigned long long)(ok ? spa : cause), r.expect == 1 ? "spa" : "cause",
                        (unsigned long long)r.wanted);
        auto& order = order_[r.source];
        if (order.front() != id)
            errors_.add("result: operation %u overtook an earlier request of its source %06x", r.op,
                        r.source);
        for (std::size_t n = 0; n < order.size(); ++n)
            if (order[n] == id) {
                order.erase(order.begin() + n);
                break;
            }
        if (r.report)
            events_.add(EVENT_TRANSLATED, r.op, u64(ok) | ca << 1 | epoch << 2 | cause << 16, spa,
                        r.accepted, cycle);
        ++statistics_.results;
        statistics_.results_ok += ok;
        statistics_.last_result = cycle;
        statistics_.add_latency(cycle - r.accepted);
        statistics_.issue_clocks += cycle - r.accepted;
        retire_.push_back({cycle + 1 + settings_.retire_delay, epoch != 0});
        ids_.push_back(id);
        in_flight_.erase(found);
        --waiting_;
    }

    void set_retire(bool valid, bool epoch) {
#ifdef IOVIRT_HAS_RETIRE
        model_.retire___05F0___05Fvalid = valid;
        model_.retire___05F0___05Fepoch = epoch;
#else
        (void)valid, (void)epoch;
#endif
    }

    Model& model_;
    Settings& settings_;
    Statistics& statistics_;
    Errors& errors_;
    Events& events_;
    Random& random_;
    std::deque<RemapRequest> queue_;
    std::unordered_map<u32, RemapRequest> in_flight_;
    std::unordered_map<u32, std::deque<u32>> order_;
    std::deque<u32> ids_;
    std::deque<std::pair<u64, bool>> retire_;
    u32 id_ = 0;
    u64 waiting_ = 0;
    bool valid_ = false, retiring_ = false;
};
