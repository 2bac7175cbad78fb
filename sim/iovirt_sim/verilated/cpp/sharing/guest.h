// A guest's driver of one NVMe queue pair: rings in memory, doorbells on the port of the cores.
#pragma once

#include <array>

#include "memory.h"
#include "sharing/monitor.h"
#include "sharing/timers.h"

// name, initial value
#define IOVIRT_GUEST_OPTIONS(X)                                                                    \
    X(guest, 1)            /* its number, and that of its data */                                  \
    X(seed, 1)                                                                                     \
    X(sq, 0)               /* where the rings are in memory */                                     \
    X(cq, 0)                                                                                       \
    X(depth, 64)                                                                                   \
    X(cq_depth, 64)                                                                                \
    X(sq_doorbell, 0)      /* addresses for cores */                                               \
    X(cq_doorbell, 0)                                                                              \
    X(core, 0)             /* ID on the port */                                                    \
    X(gpa, 0x10000)        /* address that the guest has for its first page */                     \
    X(nsid, 1)                                                                                     \
    X(sqid, 0)             /* that completions must have; 0: any */                                \
    X(first_block, 0)                                                                              \
    X(blocks, 1024)        /* that it works on */                                                  \
    X(most_blocks, 64)     /* of one command */                                                    \
    X(in_flight, 16)                                                                               \
    X(batch, 4)            /* commands per doorbell */                                             \
    X(write, 96)           /* share of 256, as the next ones; the rest reads */                    \
    X(compare, 8)                                                                                  \
    X(zeroes, 8)                                                                                   \
    X(flush, 4)                                                                                    \
    X(trim, 4)             /* dataset management, of one or two ranges */                          \
    X(sgl, 0)              /* with scatter-gather lists */                                         \
    X(poll, 64)            /* clocks between looks at the completions */                           \
    X(think, 0)            /* clocks after each batch */                                           \
    X(interrupts, 0)       /* look only when interrupted */                                        \
    X(index, 0)            /* of the interrupt */                                                  \
    X(drain, 1)            /* tell completion heads; 0: never */                                   \
    X(report, 0)           /* an event for each completion */                                      \
    X(unmapped, 4)         /* hostile: share of pointers to pages that are not mapped */           \
    X(wild, 64)            /* hostile: share of pointers that are no offsets of its own */         \
    X(bells, 32)           /* hostile: share of batches with an odd doorbell */                    \
    X(bells_from, 0)       /* hostile: doorbells of others */                                      \
    X(bells_to, 0)                                                                                 \
    X(scribble, 4)         /* hostile: words rewritten at each look */                             \
    X(scan, 256)           /* hostile: commands between searches for data of others */

// name
#define IOVIRT_GUEST_COUNTS(X)                                                                     \
    X(submitted) X(completed) X(errors) X(bytes) X(bytes_checked) X(mismatches) X(strays)          \
    X(doorbells) X(odd_doorbells) X(latency) X(latency_most) X(first) X(last) X(in_flight)         \
    X(leaks) X(interrupts) X(empty_interrupts) X(reads) X(writes) X(resets) X(head_errors)

struct GuestOptions {
#define X(name, value) u64 name = value;
    IOVIRT_GUEST_OPTIONS(X)
#undef X
    static constexpr unsigned size = 0
#define X(name, value) +1
        IOVIRT_GUEST_OPTIONS(X)
#undef X
        ;
    u64* array() { return &guest; }
};

struct GuestCounts {
#define X(name) u64 name = 0;
    IOVIRT_GUEST_COUNTS(X)
#undef X
    static constexpr unsigned size = 0
#define X(name) +1
        IOVIRT_GUEST_COUNTS(X)
#undef X
        ;
    u64* array() { return &submitted; }
};

using GuestEntry = std::array<u8, 64>;

// What a guest can reach.
struct GuestWorld {
    Memory& memory;
    Monitor& monitor;
    Errors& errors;
    Events& events;
    Timers& timers;
    // A core writes `size` bytes; false: not now.
    std::function<bool(u64 address, u64 value, unsigned size, unsigned core)> store;
};

class Guest {
  public:
    Guest(unsigned number, GuestWorld& world) : world_(world), number_(number) {}
    virtual ~Guest() = default;

    GuestOptions options;
    GuestCounts counts;
    std::vector<u64> pages;   // in memory

    void begin();                       // rings are empty
    void go(u64 commands);              // that many more
    void give_up() { todo_ = 0; }
    u32 submit(const GuestEntry& entry, bool ring);
    void interrupt();
    bool busy() const { return todo_ || counts.in_flight; }
    void forget();                      // everything in flight, after a reset
    u64 last_moved = 0;

  protected:
    // The next command; false: not now.
    virtual bool make(GuestEntry&) { return false; }
    virtual void completed(unsigned id, unsigned status) = 0;
    virtual void forgotten() {}
    virtual void before_look() {}
    // Whether the right one has to wait.
    virtual bool odd_doorbells() { return false; }

    void step();
    void look();
    void fill();
    void place(const GuestEntry& entry);
    void ring_tail();
    bool store(u64 address, u64 value, unsigned size = 4);
    void copy_in(u64 page_offset, const u8* bytes, u64 count);
    void copy_out(u64 page_offset, u8* bytes, u64 count);
    // Where a byte of its pages, counted on, is in memory.
    u64 spa(u64 offset) const { return pages[offset / 4096] + offset % 4096; }

    GuestWorld& world_;
    Random random_;
    unsigned number_;
    u64 todo_ = 0, epoch_ = 0;
    u32 tail_ = 0, told_ = 0, head_ = 0, phase_ = 1;
    bool stepping_ = false;
};

// Does nothing by itself.
class ScriptedGuest : public Guest {
  public:
    using Guest::Guest;

  protected:
    void completed(unsigned, unsigned) override {}
};

// Reads and writes its blocks in the way of Linux, and knows what each of them holds.
class LinuxGuest : public Guest {
  public:
    using Guest::Guest;

  protected:
    bool make(GuestEntry& entry) override;
    void completed(unsigned id, unsigned status) override;
    void forgotten() override;

  private:
    static constexpr u32 UNKNOWN = ~u32(0);
    struct Command {
        bool used = false;
        unsigned opcode = 0, id = 0;
        u64 block = 0, count = 0, offset = 0, started = 0;
        u32 version = 0;
        std::vector<u32> buffer, lists;   // pages
    };

    void set_up();
    bool reserve(u64& block, u64& count);
    bool all_known(const Command& c) const;
    bool buffers(Command& c, GuestEntry& entry);
    u64 prp_list(Command& c);
    u64 sgl(Command& c, GuestEntry& entry);
    void trim(Command& c, GuestEntry& entry);
    u32 take();
    u64 gpa(u32 page) const { return options.gpa + u64(page) * 4096; }
    u64 word(u64 block, u32 version, u64 at) const;
    void fill_buffer(const Command& c);
    void check_buffer(const Command& c);
    void each_piece(const Command& c, const std::function<void(u64, u64, u64)>& piece) const;

    std::vector<Command> commands_;
    std::vector<u32> free_pages_, versions_;
    std::vector<u8> locked_;
    u32 next_version_ = 1, generation_ = 0;
};

struct HostileAim {
    unsigned guest;
    u64 gpa, pages, unmapped, wild;
};
u64 hostile_pointer(Random& random, const Monitor& monitor, const HostileAim& aim);

// Writes the worst it can think of, to rings, lists and doorbells.
class HostileGuest : public Guest {
  public:
    using Guest::Guest;

  protected:
    bool make(GuestEntry& entry) override;
    void completed(unsigned id, unsigned status) override;
    void before_look() override;
    bool odd_doorbells() override;

  private:
    u64 pointer();
    u64 content(u64 page, u64 at);
    void scan();

    bool filled_ = false;
    u64 since_scan_ = 0;
};
