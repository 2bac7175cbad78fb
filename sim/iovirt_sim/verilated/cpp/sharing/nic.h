// A ring NIC with registers and descriptors as the e1000e family has them: up to eight pairs of a
// transmit and a receive ring. What is sent on a ring is received on that of its peer.
#pragma once

#include <array>
#include <map>

#include "devices.h"
#include "sharing/dma.h"

// name, initial value
#define IOVIRT_NIC_OPTIONS(X)                                                                      \
    X(prefetch, 8)         /* descriptors fetched at a time, 1 to 32 */                            \
    X(batch, 4)            /* descriptors written back together ... */                             \
    X(delay, 64)           /* ... unless they are older */                                         \
    X(wire, 50)            /* clocks from one end to the other */                                  \
    X(hold, 64)            /* packets that wait for a receive descriptor; more are lost */         \
    X(odd_share, 256)      /* of 256: how often an odd device is odd */                            \
    X(reread, 0)           /* odd: descriptors are fetched twice */                                \
    X(beyond, 0)           /* odd: descriptors fetched beyond the tail */                          \
    X(whole, 0)            /* odd: transmit descriptors are written back whole */                  \
    X(deaf, 0)             /* odd: nothing is written back on these rings (a bit each) */          \
    X(foreign, 0)          /* odd: data go to this address ... */                                  \
    X(foreign_mask, 0)     /* ... in these bits */

// name
#define IOVIRT_NIC_COUNTS(X)                                                                       \
    X(sent) X(received) X(lost) X(contexts) X(descriptors) X(fetches) X(write_backs)               \
    X(doorbells) X(bytes) X(failed) X(too_long) X(odd)

struct NicOptions {
#define X(name, value) u64 name = value;
    IOVIRT_NIC_OPTIONS(X)
#undef X
    static constexpr unsigned count = 0
#define X(name, value) +1
        IOVIRT_NIC_OPTIONS(X)
#undef X
        ;
    u64* array() { return &prefetch; }
};

struct NicCounts {
#define X(name) u64 name = 0;
    IOVIRT_NIC_COUNTS(X)
#undef X
    static constexpr unsigned count = 0
#define X(name) +1
        IOVIRT_NIC_COUNTS(X)
#undef X
        ;
    u64* array() { return &sent; }
};

struct NicPacket {
    std::vector<u8> bytes;
    u32 vlan = 0;
};

struct NicDescriptor {
    u32 index = 0;
    std::array<u8, 32> bytes{};
    u64 number(unsigned at, unsigned size) const {
        u64 value = 0;
        memcpy(&value, &bytes[at], size);
        return value;
    }
};

struct NicRing {
    bool enabled = false, receive = false, fetching = false, working = false, timed = false;
    unsigned number = 0, issuer = 0, size = 16;
    u64 base = 0, life = 0;
    u32 depth = 0, fetch = 0, tail = 0;
    std::deque<NicDescriptor> ready;
    std::vector<NicDescriptor> done;   // to be written back
    std::deque<NicPacket> waiting;     // to be received
    NicPacket packet;                  // that is being collected
};

class RingNic {
  public:
    static constexpr unsigned QUEUES = 8, RECEIVE = 0x2800, TRANSMIT = 0x3800, STRIDE = 0x100;

    RingNic(unsigned function, u16 rid, u8 segment, Settings& settings, Errors& errors,
            Events& events, Monitor& monitor, Timers& timers, Memory& bars);

    NicOptions options;
    NicCounts counts;
    DeviceDma dma;
    std::map<unsigned, unsigned> issuers;   // guest by queue; receive rings are 8 and more
    std::map<unsigned, unsigned> peers;     // queue that hears a queue, if not itself

    void written(u64 offset, unsigned bytes);
    void reset();

  private:
    using Shared = std::shared_ptr<NicDescriptor>;

    u64 reg(u64 offset, unsigned bytes) const;
    void set_reg(u64 offset, u64 value, unsigned bytes);
    NicRing* find(unsigned number, u64 life);
    bool odd(u64 option) { return option && random_.chance(options.odd_share); }
    u64 place(u64 address, bool& forged);
    void control(NicRing& ring, u64 at);
    void pump(NicRing& ring);
    void fetched(NicRing& ring, u32 from, u32 count, const Dma& dma);
    void work(NicRing& ring);
    void transmit(NicRing& ring, NicDescriptor descriptor);
    void transmitted(NicRing& ring, NicDescriptor descriptor);
    void deliver(unsigned queue, NicPacket packet);
    void receive(NicRing& ring, NicDescriptor descriptor);
    void written_back(NicRing& ring, NicDescriptor descriptor);
    void flush(NicRing& ring);
    std::vector<u32> sizes(const NicRing& ring) const;

    unsigned function_;
    Monitor& monitor_;
    Timers& timers_;
    Memory& bars_;
    Random random_;
    std::array<NicRing, 2 * QUEUES> rings_;   // transmit, then receive
    u64 lives_ = 1;
};
