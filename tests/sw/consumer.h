/* Readers that check: every interrupt once, in the order of its source. */
#ifndef CONSUMER_H
#define CONSUMER_H

#include "world.h"

struct consumer {
    struct iovirt_queue_setup setup;
    struct iovirt_reader reader;
    uint32_t queue;
    uint32_t position;        /* sequence of the next event */
    uint32_t handled, woken;
    uint32_t largest;         /* most interrupts in one event */
};

#define CONSUMERS 8

extern struct iovirt dev;
extern struct consumer consumers[CONSUMERS];

void set_up(void);                                    /* probe and open both windows */
struct iovirt_entry entry_of(const struct source *source, uint32_t queue);
void admit(struct source *source, uint32_t queue);    /* and let it send */
void admit_as(struct source *source, const struct iovirt_entry *entry);
struct consumer *start(uint32_t queue, uint8_t size_log2);
struct consumer *start_with(uint32_t queue, const struct iovirt_queue_setup *setup);
struct iovirt_queue_setup plain_setup(uint32_t queue, uint8_t size_log2);
void serve(struct consumer *consumer, uint32_t budget);   /* until it may sleep */
bool notified(struct consumer *consumer);             /* and forget it */
bool run_until_done(unsigned nap, unsigned budget);   /* sleep, wake, serve */
void all_quiet(void);                                 /* nothing is left anywhere */

extern void (*on_event)(const struct iovirt_event *event, struct source *source);

#endif /* CONSUMER_H */
