/*
 * A plain model of the interrupt block, from docs/registers.md and the rules of architecture.md:
 * table, pending slots, queues. Records and notifications take a random time to become visible.
 */
#include "model.h"

#include <string.h>

struct model model;

static uint64_t memory[1 << 19], broken_from, broken_to;
static unsigned latency = 20, jitter;

void world_open(const char *library, uint64_t seed)
{
    (void)library, (void)seed;
}

void world_close(void)
{
}

volatile void *world_registers(void)
{
    return (volatile void *)(uintptr_t)REGISTERS;
}

volatile uint64_t *world_memory(uint64_t spa)
{
    return memory + spa / 8;
}

uint64_t world_clocks(void)
{
    return model.now;
}

void world_slow(unsigned clocks, unsigned more)
{
    latency = clocks, jitter = more;
}

void world_break(uint64_t spa, uint64_t bytes, bool broken)
{
    broken_from = spa, broken_to = broken ? spa + bytes : spa;
}

static void deny(unsigned cause, uint16_t rid, uint32_t index)
{
    if (model.error_record)
        return;
    model.error_record = cause | (uint64_t)rid << 16;
    model.error_place = 8 * (uint64_t)index;
}

/* Queues */

static bool inside(const struct queue *queue)
{
    uint32_t beyond = queue->tail - queue->arm;

    return beyond >= 1 && beyond <= UINT32_C(1) << queue->size_log2;
}

static void notify(struct queue *queue)
{
    uint32_t holdoff = queue->moderation & 0x7fff, threshold = queue->moderation >> 16 & 255;
    bool due = !holdoff || queue->urgent || (threshold && queue->news >= threshold)
               || (queue->timing && model.now >= queue->deadline);

    if (!queue->run || queue->mask || queue->notifying || (queue->once && queue->fired)
        || !inside(queue) || !queue->news || !due)
        return;
    queue->notifying = queue->fired = true;
    queue->urgent = queue->timing = false;
    queue->news = 0;
    queue->notify_at = model.now + latency + random_below(jitter + 1);
}

static void restart_timer(struct queue *queue)
{
    if (!queue->timing && inside(queue) && queue->news) {
        queue->timing = true;
        queue->deadline = model.now + (uint64_t)(queue->moderation & 0x7fff) * TICK;
    }
}

/* After a write of arm or of a setting: what is unread behind arm counts as new. */
void model_judge_again(struct queue *queue)
{
    queue->news = inside(queue) ? queue->tail - queue->arm : 0;
    queue->timing = queue->urgent = false;
    restart_timer(queue);
}

bool model_busy(const struct queue *queue)
{
    return queue->first != queue->last || queue->notifying;
}

static void queue_step(struct queue *queue)
{
    struct record *record = &queue->flying[queue->first % FLYING];

    if (queue->first != queue->last && record->visible_at <= model.now) {
        uint64_t spa = (uint64_t)queue->base_high << 32 | queue->base_low;

        spa += 32 * (uint64_t)(record->count & ((1u << queue->size_log2) - 1));
        ++queue->first;
        bool broken = spa >= broken_from && spa < broken_to;

        /* What comes behind a record that failed is written, too, but does not count. */
        if (!broken)
            memcpy(&memory[spa / 8], record->word, sizeof record->word);
        if (queue->error || broken) {
            queue->error = true;
            queue->run = false;
            ++queue->lost;
        } else {
            ++queue->tail;
            queue->urgent |= record->urgent && inside(queue);
            queue->news += inside(queue);
            restart_timer(queue);
        }
    }
    notify(queue);
    if (queue->notifying && queue->notify_at <= model.now) {
        uint64_t address = (uint64_t)queue->notify[1] << 32 | queue->notify[0];

        queue->notifying = false;
        if ((queue->notify[3] & 3) == 1)
            memory[address / 8] = queue->notify[2];
        if ((queue->notify[3] & 3) == 2)
            model.wires |= 1u << (queue->notify[3] >> 8);
    }
}

/* Interrupts */

static void gather(struct entry *entry, uint16_t rid, uint32_t data)
{
    entry->more = entry->pending && (entry->more || entry->rid != rid);
    if (!entry->pending)
        entry->rid = rid, entry->count = 0;
    entry->pending = true;
    entry->count += entry->count < 65535;
    entry->data = data;
}

static void put_record(struct queue *queue, struct entry *entry, uint32_t index)
{
    struct record *record = &queue->flying[queue->last++ % FLYING];
    uint64_t type = index < ENTRIES ? 1 : index < ENTRIES + 4 ? 2 : index - ENTRIES - 1;
    uint64_t phase = ~queue->accepted >> queue->size_log2 & 1;
    uint64_t place = model.now + latency + random_below(jitter + 1);

    record->word[0] = (entry->word[1] & 0xffffffff) | (uint64_t)entry->count << 32
                      | (uint64_t)index << 48;
    record->word[1] = entry->rid | (entry->word[0] >> 48 & 255) << 16
                      | (entry->word[1] >> 32 & 0xffff) << 24 | (uint64_t)entry->more << 40;
    record->word[2] = entry->data | (uint64_t)queue->accepted << 32;
    record->word[3] = model.now | type << 56 | (entry->word[0] >> 8 & 3) << 61 | phase << 63;
    record->urgent = entry->word[0] >> 4 & 1;
    record->count = queue->accepted;
    if (queue->last - queue->first > 1) {
        uint64_t before = queue->flying[(queue->last - 2) % FLYING].visible_at;

        place = before > place ? before : place;
    }
    record->visible_at = place;
    entry->last = queue->accepted++;
    entry->last_valid = true;
}

/* Deliver what is pending, if nothing makes it wait. */
static void deliver(struct entry *entry, uint32_t index)
{
    struct queue *queue = &model.queues[entry->word[1] >> 48 & 255];
    uint32_t limit = entry->word[3] >> 32 & 0xffff, used, age;

    if (!entry->pending || entry->word[0] & 8)
        return;
    if (model.storm && entry->interval != model.now / model.storm)
        entry->interval = model.now / model.storm, entry->delivered = 0;
    if (entry->word[0] >> 1 & 2) {
        memory[entry->word[2] / 8] = (uint32_t)entry->word[3];
        entry->pending = false;
        return;
    }
    used = queue->accepted - queue->head, age = queue->accepted - entry->last;
    if ((model.storm && limit && entry->delivered >= limit) || !queue->run
        || queue->last - queue->first == FLYING)
        return;
    if (entry->word[0] & 32 && entry->last_valid && age && age <= used)
        return;
    if (used >> queue->size_log2) {
        queue->dropped += queue->drop_new;
        entry->pending = !queue->drop_new;
        return;
    }
    put_record(queue, entry, index);
    ++entry->delivered;
    entry->pending = false;
}

static void arrive(uint32_t index, uint16_t rid, uint32_t data, bool multi)
{
    struct entry *entry = &model.entries[index];
    uint64_t word = entry->word[0];

    if (!(word & 1) || ((rid ^ word >> 16) & 0xffff & ~(word >> 32)) || (multi && !(word & 64))) {
        deny(index < ENTRIES ? 12 : 10, rid, index);
        return;
    }
    bool waiting = entry->pending;
    gather(entry, rid, data);
    if (!waiting)
        deliver(entry, index);
}

void world_send(uint16_t rid, uint64_t address, uint32_t data)
{
    uint32_t offset = address & 0xffff, index = offset >> 3;

    if (!((model.window[0] & 1 && address >> 16 == model.window[0] >> 16)
          || (model.window[1] & 1 && address >> 16 == model.window[1] >> 16)))
        return;
    arrive(offset & 4 ? index + (data & 31) : index, rid, data, offset & 4);
}

void world_intx(uint16_t rid, unsigned pin, bool level)
{
    arrive(ENTRIES + pin, rid, level, false);
}

void world_run(unsigned clocks)
{
    while (clocks--) {
        uint32_t index = random_below(ENTRIES + MESSAGES);

        ++model.now;
        for (unsigned n = 0; n < QUEUES; ++n)
            queue_step(&model.queues[n]);
        deliver(&model.entries[index], index);
    }
}
