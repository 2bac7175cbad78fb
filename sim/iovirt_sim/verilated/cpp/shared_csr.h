// One register port, two who use it: the program, and the service of event queues.
#pragma once

#include "axil.h"

// The register port as seen from one of them. One access at a time.
struct Registers {
    virtual ~Registers() = default;
    virtual void start(u64 offset, unsigned size, bool write, u64 value) = 0;
    virtual bool busy() const = 0;
    virtual u64 value() const = 0;
    virtual unsigned resp() const = 0;
};

template <class Port> class SharedCsr {
  public:
    SharedCsr(Port port, Errors& errors) : manager_(port, errors), clients_{{*this}, {*this}} {}

    Registers& client(unsigned n) { return clients_[n]; }

    void sample() {
        manager_.sample();
        if (!active_ || manager_.busy()) return;
        active_->value_ = manager_.value(), active_->resp_ = manager_.resp();
        active_->busy_ = false;
        last_ = active_;
        active_ = nullptr;
        begin();
    }
    void drive() { manager_.drive(); }

    void reset() {
        manager_.reset();
        active_ = nullptr;
        for (Client& client : clients_) client.busy_ = client.waiting_ = false;
    }

  private:
    struct Client : Registers {
        SharedCsr& shared;
        Client(SharedCsr& s) : shared(s) {}
        void start(u64 offset, unsigned size, bool write, u64 value) override {
            offset_ = offset, size_ = size, write_ = write, to_write_ = value;
            busy_ = waiting_ = true;
            shared.begin();
            shared.drive();
        }
        bool busy() const override { return busy_; }
        u64 value() const override { return value_; }
        unsigned resp() const override { return resp_; }

        u64 offset_ = 0, to_write_ = 0, value_ = 0;
        unsigned size_ = 4, resp_ = 0;
        bool write_ = false, busy_ = false, waiting_ = false;
    };

    // Who did not have the last turn goes first.
    void begin() {
        if (active_) return;
        Client* first = last_ == &clients_[0] ? &clients_[1] : &clients_[0];
        Client* second = last_ == &clients_[0] ? &clients_[0] : &clients_[1];
        active_ = first->waiting_ ? first : second->waiting_ ? second : nullptr;
        if (!active_) return;
        active_->waiting_ = false;
        manager_.start(active_->offset_, active_->size_, active_->write_, active_->to_write_);
    }

    AxiLiteManager<Port> manager_;
    Client clients_[2];
    Client* active_ = nullptr;
    Client* last_ = nullptr;
};
