// A guest's driver of a pair of NIC rings, honest or hostile.
#pragma once

#include "sharing/guest.h"

// name, initial value
#define IOVIRT_NIC_GUEST_OPTIONS(X)                                                                \
    X(guest, 1)            /* its number, and that of its data */                                  \
    X(seed, 1)                                                                                     \
    X(tx, 0)               /* where the rings are in memory */                                     \
    X(rx, 0)                                                                                       \
    X(depth, 64)           /* of both */                                                           \
    X(split, 0)            /* receive descriptors have four buffers */                             \
    X(header, 128)         /* bytes of the first of them; the others have 1024 */                  \
    X(buffer, 2048)        /* bytes of a buffer that is the only one */                            \
    X(tx_doorbell, 0)      /* addresses for cores */                                               \
    X(rx_doorbell, 0)                                                                              \
    X(core, 0)             /* ID on the port */                                                    \
    X(gpa, 0x10000)        /* address that the guest has for its first page */                     \
    X(longest, 1514)       /* packet */                                                            \
    X(batch, 4)            /* packets per doorbell */                                              \
    X(refill, 16)          /* buffers per doorbell */                                              \
    X(legacy, 64)          /* share of 256, of packets with legacy descriptors */                  \
    X(contexts, 32)        /* of packets after a context descriptor */                             \
    X(poll, 64)            /* clocks between looks */                                              \
    X(vlan, 0)             /* tag that it asks for */                                              \
    X(hostile, 0)                                                                                  \
    X(unmapped, 4)         /* hostile: as of guests with NVMe */                                   \
    X(wild, 64)                                                                                    \
    X(scribble, 4)

// name
#define IOVIRT_NIC_GUEST_COUNTS(X)                                                                 \
    X(sent) X(received) X(bytes) X(bytes_checked) X(mismatches) X(lost) X(in_flight) X(doorbells)  \
    X(leaks) X(first) X(last) X(contexts) X(vlans)

struct NicGuestOptions {
#define X(name, value) u64 name = value;
    IOVIRT_NIC_GUEST_OPTIONS(X)
#undef X
    static constexpr unsigned size = 0
#define X(name, value) +1
        IOVIRT_NIC_GUEST_OPTIONS(X)
#undef X
        ;
    u64* array() { return &guest; }
};

struct NicGuestCounts {
#define X(name) u64 name = 0;
    IOVIRT_NIC_GUEST_COUNTS(X)
#undef X
    static constexpr unsigned size = 0
#define X(name) +1
        IOVIRT_NIC_GUEST_COUNTS(X)
#undef X
        ;
    u64* array() { return &sent; }
};

class NicGuest {
  public:
    NicGuest(unsigned number, GuestWorld& world) : world_(world), number_(number) {}

    NicGuestOptions options;
    NicGuestCounts counts;
    // In memory: one per transmit descriptor, one per receive descriptor, and any others.
    std::vector<u64> pages;
    u64 last_moved = 0;

    void begin();              // empty rings; receive buffers are given out by `go`
    void go(u64 packets);
    bool busy() const { return todo_ || counts.in_flight; }

  private:
    static constexpr u64 PAGE = 4096;

    void step();
    void fill();
    bool send_packet();
    void context();
    void put(u64 low, u64 high);
    void clean();
    void refill();
    void look();
    void take(const u64* descriptor);
    void check(const std::vector<u8>& packet);
    void scribble();
    u64 pointer();
    void store(u64 address, u64 value);
    u64 gpa(u64 page) const { return options.gpa + page * PAGE; }
    unsigned rx_size() const { return options.split ? 32 : 16; }
    u64 word(u64 seq, u64 at) const {
        return guest_tag(unsigned(options.guest)) | u32(mix(seq << 16 ^ at));
    }

    GuestWorld& world_;
    Random random_;
    unsigned number_;
    u64 todo_ = 0, epoch_ = 0, sequence_ = 0;
    u32 tail_ = 0, clean_ = 0, free_ = 0, rx_tail_ = 0, rx_head_ = 0, refilled_ = 0;
    std::vector<u8> ends_;                        // descriptors whose status is awaited
    std::unordered_map<unsigned, u64> heard_;     // last number of each sender
    bool stepping_ = false;
};
