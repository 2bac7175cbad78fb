// Knobs and counts of the bench. Python reads their names from here through the library.
#pragma once

#include "common.h"

// name, initial value
#define IOVIRT_SETTINGS(X)                                                                         \
    X(seed, 1)                  /* of every random choice */                                       \
    X(table_latency, 20)        /* AR accepted in cycle t: first R beat valid in cycle t + this */ \
    X(table_write_latency, 20)  /* last W beat accepted in cycle t: B valid in cycle t + this */   \
    X(table_jitter, 0)          /* random clocks, 0 to this, on top of either */                   \
    X(table_reorder, 0)         /* answer different IDs in random order */                         \
    X(table_stall, 0)           /* share, of 256, of clocks in which a ready or valid is withheld */ \
    X(dma_latency, 20)                                                                             \
    X(dma_write_latency, 20)                                                                       \
    X(dma_jitter, 0)                                                                               \
    X(dma_reorder, 0)                                                                              \
    X(dma_stall, 0)                                                                                \
    X(rx_stall, 0)                                                                                 \
    X(tx_stall, 0)                                                                                 \
    X(np_limit, 32)             /* credits of non-posted TLPs */                    \
    X(mps, 256)                 /* largest payload, in bytes */                                    \
    X(mrrs, 512)                /* largest read request, in bytes */                               \
    X(rcb, 64)                  /* read completion boundary, in bytes */                           \
    X(tags, 256)                /* tags each requester uses */                                     \
    X(queue, 256)               /* TLPs or requests waiting to be sent before the program waits */ \
    X(retire_delay, 0)          /* clocks from a result of the remap engine to its retirement */   \
    X(max_requests, 1 << 20)    /* requests in the remap engine */                                 \
    X(timeout, 200000)          /* clocks without progress after which a wait gives up */          \
    X(fc_header, 255)           /* tx credits: headers of each kind */                             \
    X(fc_data, 4095)            /* tx credits: 16-byte units of each kind */                       \
    X(line_pages, 8)            /* pages a table line holds, for the statistics */                 \
    X(pass_blocked, 0)          /* posted TLPs may pass requests without credit; completions do */ \
    X(link_up, 1)               /* 0: the link is down, answers of devices are lost */             \
    X(pio_stall, 0)             /* share, of 256, of clocks in which AR, AW, W are not offered */  \
    X(pio_ready_stall, 0)       /* or R, B not taken */                                            \
    X(pio_outstanding, 64)      /* accesses of cores on the port */                                \
    X(device_delay, 20)         /* clocks from a request to its answer */                          \
    X(device_jitter, 0)         /* random clocks on top: answers overtake each other */            \
    X(device_split, 0)          /* boundary at which answers are split, 0: only at the MPS */      \
    X(report_requests, 0)       /* events for TLPs to devices, even if devices are there */        \
    X(records_unordered, 0)     /* records of one source may come from several queues */           \
    X(weaken, 0)                /* defences that are off, in a design built for that */

#define IOVIRT_STATISTICS(X)                                                                       \
    X(cycles) X(tlps_sent) X(rx_beats) X(tlps_received) X(tx_beats)                                \
    X(writes) X(write_bytes) X(reads) X(read_bytes) X(completions)                                 \
    X(denied) X(aborted) X(poisoned)                                                               \
    X(transfers_checked) X(bytes_checked)                                                          \
    X(tlp_hits) X(tlp_misses) X(row_hits) X(row_misses)                                            \
    X(demand_walks) X(prefetch_walks) X(prefetch_useful) X(prefetch_late) X(prefetch_useless)      \
    X(table_reads) X(table_read_beats) X(table_writes) X(reads_ddt) X(reads_pointer)               \
    X(reads_leaf) X(reads_queue) X(reads_other) X(dma_reads) X(dma_writes)                         \
    X(requests) X(results) X(results_ok) X(first_accept) X(last_result)                            \
    X(commands) X(command_waits) X(command_wait_clocks) X(idle_clocks) X(issue_clocks)             \
    X(rx_blocked)                                                                                  \
    X(pio_reads) X(pio_writes) X(pio_bytes_checked) X(pio_order_checked) X(pio_failed)             \
    X(pio_clocks) X(requests_to_devices) X(writes_to_devices) X(answers) X(answers_late)           \
    X(unclaimed) X(signals) X(records) X(interrupts) X(interrupts_ordered) X(forwards)             \
    X(notifications) X(notifications_empty) X(record_clocks) X(heads) X(reads_lost)

struct Settings {
#define X(name, value) u64 name = value;
    IOVIRT_SETTINGS(X)
#undef X
    static constexpr unsigned count = 0
#define X(name, value) +1
        IOVIRT_SETTINGS(X)
#undef X
        ;
    u64* array() { return &seed; }
};

struct Statistics {
#define X(name) u64 name = 0;
    IOVIRT_STATISTICS(X)
#undef X
    // Clocks from the first beat of a TLP to its first access on AXI, by powers of two.
    u64 latency[32] = {};

    static constexpr unsigned count = 0
#define X(name) +1
        IOVIRT_STATISTICS(X)
#undef X
        ;
    u64* array() { return &cycles; }
    void add_latency(u64 clocks) {
        unsigned bucket = clocks ? 64 - __builtin_clzll(clocks) : 0;
        ++latency[bucket < 31 ? bucket : 31];
    }
};
