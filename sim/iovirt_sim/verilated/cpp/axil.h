// AXI4-Lite manager: one register access at a time. On a 32-bit port 8 bytes are two accesses, low
// half first.
#pragma once

#include "common.h"

template <class Port> class AxiLiteManager {
  public:
    static constexpr unsigned LANES = Port::data_bytes;

    AxiLiteManager(Port port, Errors& errors) : port_(port), errors_(errors) {}

    void start(u64 offset, unsigned size, bool write, u64 value) {
        offset_ = offset, left_ = size, write_ = write, to_write_ = value;
        done_bytes_ = 0, value_ = 0, resp_ = 0;
        begin();
    }

    bool busy() const { return left_ != 0; }
    u64 value() const { return value_; }
    unsigned resp() const { return resp_; }   // worst of the accesses

    void sample() {
        if (!left_) return;
        if (write_) {
            if (aw_ && port_.awready()) aw_ = false;
            if (w_ && port_.wready()) w_ = false;
            if (port_.bvalid()) finish(port_.bresp());
        } else {
            if (ar_ && port_.arready()) ar_ = false;
            if (port_.rvalid()) {
                u64 lane = (offset_ + done_bytes_) % LANES;
                u64 data = LANES == 8 ? u64(port_.rdata()) >> 8 * lane : u64(port_.rdata());
                u64 mask = step_ == 8 ? ~u64(0) : (u64(1) << 8 * step_) - 1;
                value_ |= (data & mask) << 8 * done_bytes_;
                finish(port_.rresp());
            }
        }
    }

    void drive() {
        u64 at = offset_ + done_bytes_, lane = at % LANES;
        put(port_.awvalid(), aw_), put(port_.wvalid(), w_), put(port_.arvalid(), ar_);
        put(port_.bready(), left_ && write_), put(port_.rready(), left_ && !write_);
        if (!left_) return;
        put(port_.awaddr(), at), put(port_.araddr(), at);
        put(port_.wdata(), (to_write_ >> 8 * done_bytes_) << 8 * lane);
        put(port_.wstrb(), ((u64(1) << step_) - 1) << lane);
    }

    void reset() {
        left_ = 0;
        aw_ = w_ = ar_ = false;
        drive();
    }

  private:
    void begin() {
        step_ = left_ < LANES ? left_ : LANES;
        aw_ = w_ = write_;
        ar_ = !write_;
    }

    void finish(unsigned resp) {
        if (write_ && (aw_ || w_)) errors_.add("csr: BVALID before the write was taken");
        if (!write_ && ar_) errors_.add("csr: RVALID before the read was taken");
        if (resp > resp_) resp_ = resp;
        done_bytes_ += step_;
        left_ -= step_;
        if (left_) begin();
        else aw_ = w_ = ar_ = false;
    }

    Port port_;
    Errors& errors_;
    u64 offset_ = 0, to_write_ = 0, value_ = 0;
    unsigned left_ = 0, step_ = 4, done_bytes_ = 0, resp_ = 0;
    bool write_ = false, aw_ = false, w_ = false, ar_ = false;
};
