/* State of the plain model of the interrupt block. */
#ifndef MODEL_H
#define MODEL_H

#include "world.h"

/* What the driver takes for the address of the registers. */
#define REGISTERS UINT64_C(0x1000000000)

enum { ENTRIES = 128, MESSAGES = 16, QUEUES = 8, FLYING = 32, TICK = 128 };

struct record {
    uint64_t word[4];
    uint64_t visible_at;
    uint32_t count;
    bool urgent;
};

struct entry {
    uint64_t word[4], staged[4];
    bool pending, more, last_valid;
    uint32_t count, data, last, delivered;
    uint64_t interval;
    uint16_t rid;
};

struct queue {
    uint32_t base_low, base_high, moderation, notify[4];
    bool run, error, drop_new, once, mask, fired, notifying, urgent, timing;
    uint32_t size_log2, accepted, tail, head, arm, dropped, forged, lost, news;
    uint64_t notify_at, deadline;
    struct record flying[FLYING];
    unsigned first, last;
};

struct model {
    struct entry entries[ENTRIES + MESSAGES];
    struct queue queues[QUEUES];
    uint64_t window[2], now, error_record, error_place;
    uint32_t storm, wires;
};

extern struct model model;

bool model_busy(const struct queue *queue);
void model_judge_again(struct queue *queue);

#endif /* MODEL_H */
