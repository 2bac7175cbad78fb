// An NVMe controller (NVM Express base specification 1.4) behind the link: registers in BAR 0, queues,
// commands with real data, MSI-X. How it behaves, honestly or not, is set by `NvmeOptions`.
#pragma once

#include <array>
#include <map>

#include "devices.h"
#include "sharing/dma.h"

// name, initial value
#define IOVIRT_NVME_OPTIONS(X)                                                                     \
    X(engines, 8)          /* commands executed at the same time */                                \
    X(ahead, 16)           /* entries fetched or being fetched, and not started */                 \
    X(burst, 4)            /* entries per fetch */                                                 \
    X(arbitration, 1)      /* commands of a queue before the next one has its turn */              \
    X(lists, 0)            /* reads of PRP lists: 0 exact, 1 rest of the page, else pieces of bytes */ \
    X(shuffle, 0)          /* entries are fetched one by one, in random order */                   \
    X(latency, 100)        /* clocks of the medium */                                              \
    X(jitter, 0)           /* random clocks on top */                                              \
    X(completions, 0)      /* 0 each alone, 1 up to four at once, 2 in parts of 12 and 4 bytes */  \
    X(merge, 32)           /* clocks that a completion waits for others */                         \
    X(coalesce, 1)         /* completions per interrupt ... */                                     \
    X(coalesce_clocks, 500) /* ... unless they are older */                                        \
    X(ready, 100)          /* clocks from CC.EN to CSTS.RDY */                                     \
    X(blocks, u64(1) << 32) /* in each namespace */                                                \
    X(shift, 9)            /* log2 of the block size */                                            \
    X(namespaces, 1)                                                                               \
    X(metadata, 0)         /* bytes in line with each block */                                     \
    X(queues, 64)          /* most I/O queues */                                                   \
    X(entries, 4096)       /* most entries of a queue */                                           \
    X(most_pages, 256)     /* of the data of a command; 0: any */                                  \
    X(strict_lists, 1)     /* offsets in pages of lists are an error, as QEMU has it */            \
    X(touch, 0)            /* bytes moved at the start of each part of the data; 0: all */        \
    X(touch_queues, ~u64(0)) /* those of which that is so (a bit each) */                          \
    X(odd_share, 256)      /* of 256: how often an odd device is odd */                            \
    X(odd_queues, ~u64(0)) /* those that it is odd on (a bit each) */                              \
    X(always_link, 0)      /* odd: slot 511 of a list always is a link */                          \
    X(honour_low, 0)       /* odd: PRP2 and list entries may have offsets */                       \
    X(pieces, 64)          /* odd: entries are fetched in pieces of this size */                   \
    X(prefetch, 0)         /* odd: entries fetched beyond the tail */                              \
    X(reread, 0)           /* odd: an entry is fetched again before it is executed */              \
    X(foreign, 0)          /* odd: data go to this address, added to `foreign_offset` */           \
    X(foreign_mask, 0)     /* odd: bits of data addresses that come from `foreign` */              \
    X(write_ring, 0)       /* odd: writes to its submission rings */                               \
    X(write_list, 0)       /* odd: writes to lists */                                              \
    X(late, 0)             /* odd: goes on after resets and deleted queues */                      \
    X(hang, 0)             /* odd: completes nothing of these queues (a bit each) */               \
    X(duplicate, 0)        /* odd: completes twice */                                              \
    X(stray, 0)            /* odd: completes what nobody asked for */                              \
    X(forge_head, 0)       /* odd: SQHD is random */                                               \
    X(translated, 0)       /* odd: says that addresses are translated */                           \
    X(next_lap, 0)         /* odd: completions go one slot too far */

// name
#define IOVIRT_NVME_COUNTS(X)                                                                      \
    X(commands) X(completed) X(errors) X(admin) X(fetches) X(entries_fetched) X(list_reads)        \
    X(blocks_read) X(blocks_written) X(interrupts) X(held) X(dropped) X(doorbells) X(resets)       \
    X(fatal) X(reads) X(writes) X(read_bytes) X(write_bytes) X(odd)

struct NvmeOptions {
#define X(name, value) u64 name = value;
    IOVIRT_NVME_OPTIONS(X)
#undef X
    static constexpr unsigned count = 0
#define X(name, value) +1
        IOVIRT_NVME_OPTIONS(X)
#undef X
        ;
    u64* array() { return &engines; }
};

struct NvmeCounts {
#define X(name) u64 name = 0;
    IOVIRT_NVME_COUNTS(X)
#undef X
    static constexpr unsigned count = 0
#define X(name) +1
        IOVIRT_NVME_COUNTS(X)
#undef X
        ;
    u64* array() { return &commands; }
};

using NvmeEntry = std::array<u8, 64>;

struct NvmeQueue {   // of submissions
    unsigned number = 0, completion = 0, issuer = 0;
    u64 base = 0, life = 0;
    u32 depth = 0, head = 0, fetch = 0, tail = 0;
    std::map<u32, NvmeEntry> fetched;
    std::map<u32, bool> fetching;
};

struct NvmeCompletions {
    struct Entry {
        std::array<u8, 16> bytes;
        unsigned issuer;
    };
    unsigned number = 0, vector = 0, issuer = 0;
    bool interrupts = false, waiting = false, timed = false;
    u64 base = 0, life = 0;
    u32 depth = 0, head = 0, tail = 0, phase = 1, untold = 0;
    std::deque<std::array<u8, 16>> held;             // no room
    std::vector<std::array<u8, 16>> merged;          // to be written at `merged_at`
    u32 merged_at = 0;
};

struct NvmePart {
    static constexpr u64 NOWHERE = ~u64(0);   // a bit bucket
    u64 address;
    u32 length;
};

struct NvmeCommand {
    NvmeEntry entry;
    unsigned queue = 0, completion = 0, issuer = 0, pending = 0;
    u64 life = 0, controller = 0, block = 0, count = 0, completions_at = 0;
    bool dropped = false;
    u64 length = 0, rest = 0;          // bytes in all; of them, those not found in lists so far
    u16 status = 0;
    u32 result = 0;
    std::vector<NvmePart> parts;
    std::vector<u8> buffer;
    // The list that is being read: its page, next slot, and what was read of it.
    u64 page = 0;
    u32 slot = 0, hops = 0;
    std::map<u32, u64> slots;

    u64 number(unsigned at, unsigned bytes) const {
        u64 value = 0;
        memcpy(&value, &entry[at], bytes);
        return value;
    }
    unsigned opcode() const { return entry[0]; }
    unsigned id() const { return unsigned(number(2, 2)); }
};
using NvmeWork = std::shared_ptr<NvmeCommand>;

class Nvme {
  public:
    Nvme(unsigned function, u16 rid, u8 segment, Settings& settings, Errors& errors,
         Events& events, Monitor& monitor, Timers& timers, Memory& bars);

    NvmeOptions options;
    NvmeCounts counts;
    DeviceDma dma;
    std::map<unsigned, unsigned> issuers;   // guest by number of submission queue
    Memory disk;

    unsigned function() const { return function_; }
    void written(u64 offset, unsigned bytes);   // a register
    void reset();                               // of the bench
    u64 place(u64 nsid, u64 block) const { return nsid << 56 | block << options.shift; }

  private:
    static constexpr unsigned READ = 2, WRITE = 1;

    u64 reg(u64 offset, unsigned bytes) const;
    void set_reg(u64 offset, u64 value, unsigned bytes);
    void control();
    void enable();
    void disable();
    void doorbell(u64 number, u32 value);
    bool odd_on(unsigned queue) const { return options.odd_queues >> (queue & 63) & 1; }
    bool odd(u64 option, unsigned queue) {
        return option && odd_on(queue) && random_.chance(options.odd_share);
    }

    // Fetching
    void pump();
    void fetch(NvmeQueue& queue);
    void fetch_some(NvmeQueue& queue, u32 from, u32 count);
    void fetched(unsigned number, u64 life, u32 from, const Dma& dma);
    void start_commands();
    void start(NvmeQueue& queue, const NvmeEntry& entry);
    void fatal();

    // Commands
    bool alive(NvmeCommand& c);
    void execute(NvmeWork c);
    void found_parts(NvmeWork c);
    void move(NvmeWork c);
    void moved(NvmeWork c);
    void ranges(NvmeWork c);
    void use_ranges(NvmeWork c);
    void medium(NvmeWork c);
    void end(NvmeWork c, unsigned status);
    void read(NvmeWork c, u64 address, u32 length, Use use, std::function<void(Dma&)> done);

    // Pointers
    void walk_prp(NvmeWork c);
    void walk_list(NvmeWork c);
    void read_list(NvmeWork c);
    void walk_sgl(NvmeWork c, std::vector<u8> descriptors);
    void read_segment(NvmeWork c, u64 address, u64 length);

    // Administration
    void administer(NvmeWork c);
    unsigned create_submission(const NvmeCommand& c);
    unsigned create_completion(const NvmeCommand& c);
    unsigned remove_queue(const NvmeCommand& c);
    void identify(NvmeWork c);

    // Completions
    void complete(const NvmeCommand& c);
    void post(NvmeCompletions& cq, std::array<u8, 16> bytes);
    void flush(NvmeCompletions& cq);
    void write_completions(NvmeCompletions& cq, u32 slot, std::vector<u8> bytes, u32 count);
    void interrupt(NvmeCompletions& cq, u32 count);
    void send_interrupt(unsigned number, u64 life);

    unsigned function_;
    Monitor& monitor_;
    Timers& timers_;
    Memory& bars_;
    Random random_;
    std::map<unsigned, NvmeQueue> submission_;
    std::map<unsigned, NvmeCompletions> completion_;
    std::deque<NvmeCommand> events_asked_;   // asynchronous event requests
    bool enabled_ = false, dead_ = false, pumping_ = false;
    u64 lives_ = 1, controller_ = 1;   // queues made so far; number of resets
    unsigned busy_ = 0, turn_ = 0, credit_ = 0;
};
