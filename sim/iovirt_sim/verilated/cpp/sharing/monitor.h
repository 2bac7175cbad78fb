// The judge of a shared device: each address that it uses must be one of the guest that it works
// for, and of the kind that it is used as; and commands must stay within what the guest may do.
#pragma once

#include "settings.h"

// What an address is used for.
enum Use : u8 {
    USE_ENTRY, USE_PRP_LIST, USE_SGL, USE_RANGES, USE_READ, USE_WRITE, USE_COMPLETION, USE_INTERRUPT,
    USE_FORGED,   // by a device that lies about it
};

// name
#define IOVIRT_MONITOR(X)                                                                          \
    X(uses)               /* addresses looked at */                                                \
    X(poison)             /* of them poisoned ones: the block will deny them */                    \
    X(foreign)            /* breach: key or colour of another guest, or none */                    \
    X(wrong_kind)         /* breach: a guest's own bytes, or another kind of thing */              \
    X(foreign_block)      /* breach */                                                             \
    X(foreign_namespace)  /* breach */                                                             \
    X(device_command)     /* breach: a command for the device as a whole */                        \
    X(bad_doorbell)       /* breach: beyond the ring, or of no queue */                            \
    X(backward_doorbell)  /* breach: a tail that takes back what was told */                       \
    X(leaks)              /* breach: data of another guest */                                      \
    X(failed)             /* breach: answered UR or CA, or not at all */                           \
    X(poisoned)           /* reads with EP */                                                      \
    X(forged)             /* addresses that an odd device made up */

// Data of honest guests say whose they are in the upper half of each 64-bit word.
inline u64 guest_tag(unsigned guest) { return u64(0x5EC0D000u | (guest & 0xfff)) << 32; }
inline bool has_tag(u64 word) { return (word >> 44) == 0x5EC0D; }
inline unsigned tag_guest(u64 word) { return unsigned(word >> 32 & 0xfff); }

struct Owner {
    u32 colour = 0, key = 0, nsid = 0;   // 0: any
    u64 base = 0, count = ~u64(0);       // blocks
};

class Monitor {
  public:
    Monitor(Errors& errors, Events& events) : errors_(errors), events_(events) {}

#define X(name) u64 name = 0;
    IOVIRT_MONITOR(X)
#undef X
    static constexpr unsigned count = 0
#define X(name) +1
        IOVIRT_MONITOR(X)
#undef X
        ;
    u64* array() { return &uses; }

    unsigned offset_bits = 0, key_bits = 0;   // 0: addresses are plain ones
    bool strict = false;                      // a breach fails the run
    std::unordered_map<unsigned, Owner> owners;   // by guest; 0 is the manager

    Owner owner(unsigned guest) const {
        auto found = owners.find(guest);
        return found == owners.end() ? Owner{} : found->second;
    }
    u64 address(unsigned guest, unsigned kind, u64 offset) const {
        if (!offset_bits) return offset;
        Owner o = owner(guest);
        return offset | u64(kind) << (offset_bits + 1) | u64(o.colour) << (offset_bits + 4) |
               (offset_bits + 12 < 64 ? u64(o.key) << (offset_bits + 12) : 0);
    }

    void use(unsigned guest, Use use, u64 address, u32 length);
    void data(unsigned guest, u64 address, const u8* bytes, u64 length);
    // Without blocks, only the namespace is looked at; with them, only they are.
    void blocks(unsigned guest, u32 nsid, u64 first, u64 number);
    void breach(u64& counter, const char* what, unsigned guest, u64 a, u64 b);

  private:
    Errors& errors_;
    Events& events_;
    u64 told_ = 0;
};
