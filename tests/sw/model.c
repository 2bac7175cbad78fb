/*
 * A plain model of the interrupt block, from docs/registers.md and the rules of architecture.md:
 * table, pending slots, queues. Records and notifications take a random time to become visible.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "iovirt_platform.h"
#include "iovirt_registers.h"
#include "world.h"

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

static struct entry entries[ENTRIES + MESSAGES];
static struct queue queues[QUEUES];
static uint64_t memory[1 << 19], window[2], now, broken_from, broken_to, error_record, error_place;
static uint32_t storm, wires;
static unsigned latency = 20, jitter;

/* What the driver takes for the address of the registers. */
#define REGISTERS UINT64_C(0x1000000000)

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
    return now;
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
    if (error_record)
        return;
    error_record = cause | (uint64_t)rid << 16;
    error_place = 8 * (uint64_t)index;
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
               || (queue->timing && now >= queue->deadline);

    if (!queue->run || queue->mask || queue->notifying || (queue->once && queue->fired)
        || !inside(queue) || !queue->news || !due)
        return;
    queue->notifying = queue->fired = true;
    queue->urgent = queue->timing = false;
    queue->news = 0;
    queue->notify_at = now + latency + random_below(jitter + 1);
}

static void restart_timer(struct queue *queue)
{
    if (!queue->timing && inside(queue) && queue->news) {
        queue->timing = true;
        queue->deadline = now + (uint64_t)(queue->moderation & 0x7fff) * TICK;
    }
}

/* After a write of arm or of a setting: what is unread behind arm counts as new. */
static void judge_again(struct queue *queue)
{
    queue->news = inside(queue) ? queue->tail - queue->arm : 0;
    queue->timing = queue->urgent = false;
    restart_timer(queue);
}

static bool busy(const struct queue *queue)
{
    return queue->first != queue->last || queue->notifying;
}

static void queue_step(struct queue *queue)
{
    struct record *record = &queue->flying[queue->first % FLYING];

    if (queue->first != queue->last && record->visible_at <= now) {
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
    if (queue->notifying && queue->notify_at <= now) {
        uint64_t address = (uint64_t)queue->notify[1] << 32 | queue->notify[0];

        queue->notifying = false;
        if ((queue->notify[3] & 3) == 1)
            memory[address / 8] = queue->notify[2];
        if ((queue->notify[3] & 3) == 2)
            wires |= 1u << (queue->notify[3] >> 8);
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
    uint64_t place = now + latency + random_below(jitter + 1);

    record->word[0] = (entry->word[1] & 0xffffffff) | (uint64_t)entry->count << 32
                      | (uint64_t)index << 48;
    record->word[1] = entry->rid | (entry->word[0] >> 48 & 255) << 16
                      | (entry->word[1] >> 32 & 0xffff) << 24 | (uint64_t)entry->more << 40;
    record->word[2] = entry->data | (uint64_t)queue->accepted << 32;
    record->word[3] = now | type << 56 | (entry->word[0] >> 8 & 3) << 61 | phase << 63;
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
    struct queue *queue = &queues[entry->word[1] >> 48 & 255];
    uint32_t limit = entry->word[3] >> 32 & 0xffff, used, age;

    if (!entry->pending || entry->word[0] & 8)
        return;
    if (storm && entry->interval != now / storm)
        entry->interval = now / storm, entry->delivered = 0;
    if (entry->word[0] >> 1 & 2) {
        memory[entry->word[2] / 8] = (uint32_t)entry->word[3];
        entry->pending = false;
        return;
    }
    used = queue->accepted - queue->head, age = queue->accepted - entry->last;
    if ((storm && limit && entry->delivered >= limit) || !queue->run
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
    struct entry *entry = &entries[index];
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

    if (!((window[0] & 1 && address >> 16 == window[0] >> 16)
          || (window[1] & 1 && address >> 16 == window[1] >> 16)))
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

        ++now;
        for (unsigned n = 0; n < QUEUES; ++n)
            queue_step(&queues[n]);
        deliver(&entries[index], index);
    }
}

/* Registers */

#define OFFSET(member) offsetof(iovirt_t, member)

static uint64_t read_queue(struct queue *queue, unsigned word)
{
    switch (word) {
    case 2: return queue->run | queue->drop_new << 1 | queue->once << 2 | queue->size_log2 << 8;
    case 3: return queue->moderation;
    case 8: return queue->run | busy(queue) << 1 | queue->error << 2 | queue->notifying << 3;
    case 9: return queue->accepted;
    case 10: return queue->tail;
    case 11: return queue->head;
    case 12: return queue->arm;
    case 13: return queue->dropped;
    case 14: return queue->forged;
    case 15: return queue->lost;
    default: return 0;
    }
}

static void write_control(struct queue *queue, uint32_t value)
{
    uint32_t size_log2 = value >> 8 & 31;
    bool run = value & 1;

    queue->once = value >> 2 & 1;
    queue->drop_new = value >> 1 & 1;
    if (!run) {
        queue->run = false;
    } else if (!queue->run && !busy(queue) && size_log2 >= 1 && size_log2 <= 16) {
        queue->run = true;
        queue->error = queue->fired = false;
        queue->size_log2 = size_log2;
        queue->accepted = queue->tail;
        judge_again(queue);
    }
}

static void write_queue(struct queue *queue, unsigned word, uint32_t value)
{
    switch (word) {
    case 0: queue->base_low = value; break;
    case 1: queue->base_high = value; break;
    case 2: write_control(queue, value); break;
    case 3: queue->moderation = value; break;
    case 4: case 5: case 6: case 7: queue->notify[word - 4] = value; break;
    case 14: queue->forged = 0; break;
    case 10:
        if (!queue->run && !busy(queue))
            queue->tail = queue->head = queue->arm = value;
        break;
    }
}

static void write_page(struct queue *queue, unsigned offset, uint32_t value)
{
    if (offset == 0 && value - queue->head > queue->tail - queue->head)
        ++queue->forged;
    else if (offset == 0)
        queue->head = value;
    else if (offset == 8)
        queue->arm = value, queue->fired = false, judge_again(queue);
    else if (offset == 16)
        queue->mask = value & 1;
}

static uint64_t read_page(struct queue *queue, unsigned offset)
{
    switch (offset) {
    case 0: return queue->head;
    case 8: return queue->arm;
    case 16: return queue->mask;
    case 24: return queue->tail;
    case 40: return queue->size_log2;
    default: return 0;
    }
}

static void write_entry(struct entry *entry, unsigned word, uint64_t value)
{
    entry->staged[word] = value;
    if (word < 3)
        return;
    memcpy(entry->word, entry->staged, sizeof entry->word);
    memset(entry->staged, 0, sizeof entry->staged);
    entry->last_valid = false;
    entry->pending &= entry->word[0] & 1;
}

static uint64_t read_register(uint64_t at)
{
    if (at >= OFFSET(guest))
        return read_page(&queues[(at - OFFSET(guest)) / 4096], at % 4096);
    if (at >= OFFSET(irt)) {
        struct entry *entry = &entries[(at - OFFSET(irt)) / 32];

        return entry->word[at / 8 % 4] | (at % 32 == 24 ? (uint64_t)entry->pending << 63 : 0);
    }
    if (at >= OFFSET(queue))
        return read_queue(&queues[(at - OFFSET(queue)) / 64], at / 4 % 16);
    switch (at) {
    case OFFSET(identification.magic): return UINT64_C(0x747269766f69);
    case OFFSET(identification.irq_geometry):
        return ENTRIES | QUEUES << 16 | UINT64_C(2) << 32 | UINT64_C(7) << 40;
    case OFFSET(identification.directory_irt): return OFFSET(irt) / 4096 | 2 << 16;
    case OFFSET(identification.directory_eq_control): return OFFSET(queue) / 4096 | 1 << 16;
    case OFFSET(identification.directory_eq_guest): return OFFSET(guest) / 4096 | 8 << 16;
    case OFFSET(identification.directory_interrupts): return OFFSET(interrupts) / 4096 | 1 << 16;
    case OFFSET(control.status): return 1;
    case OFFSET(control.error_status): return error_record != 0;
    case OFFSET(control.error_record): return error_record;
    case OFFSET(control.error_address): return error_place;
    case OFFSET(interrupts.irq_wires): return wires;
    default: return 0;
    }
}

static void write_register(uint64_t at, uint64_t value)
{
    if (at >= OFFSET(guest))
        write_page(&queues[(at - OFFSET(guest)) / 4096], at % 4096, (uint32_t)value);
    else if (at >= OFFSET(irt))
        write_entry(&entries[(at - OFFSET(irt)) / 32], at / 8 % 4, value);
    else if (at >= OFFSET(queue))
        write_queue(&queues[(at - OFFSET(queue)) / 64], at / 4 % 16, (uint32_t)value);
    else if (at == OFFSET(interrupts.msi_window_32))
        window[0] = value;
    else if (at == OFFSET(interrupts.msi_window_64))
        window[1] = value;
    else if (at == OFFSET(interrupts.storm))
        storm = (uint32_t)value;
    else if (at == OFFSET(interrupts.irq_wires))
        wires &= ~(uint32_t)value;
    else if (at == OFFSET(control.error_status) && value & 1)
        error_record = 0;
}

/* The driver's platform. */

static void step(void)
{
    devices_step();
    world_run(4 + random_below(20));
}

static uint64_t place(const volatile void *address)
{
    return (uintptr_t)address - REGISTERS;
}

/* Only configuration space has accesses of 1 and 2 bytes, and this model has none. */
uint8_t iovirt_read8(const volatile void *address)
{
    fail("read of 1 byte at %p", (const void *)(uintptr_t)address);
}

uint16_t iovirt_read16(const volatile void *address)
{
    fail("read of 2 bytes at %p", (const void *)(uintptr_t)address);
}

void iovirt_write8(volatile void *address, uint8_t value)
{
    fail("write of %u at %p", value, (const void *)(uintptr_t)address);
}

void iovirt_write16(volatile void *address, uint16_t value)
{
    fail("write of %u at %p", value, (const void *)(uintptr_t)address);
}

uint32_t iovirt_read32(const volatile void *address)
{
    step();
    return (uint32_t)read_register(place(address));
}

uint64_t iovirt_read64(const volatile void *address)
{
    step();
    return read_register(place(address));
}

void iovirt_write32(volatile void *address, uint32_t value)
{
    step();
    write_register(place(address), value);
}

void iovirt_write64(volatile void *address, uint64_t value)
{
    step();
    write_register(place(address), value);
}

uint64_t iovirt_load64(const volatile uint64_t *address)
{
    devices_step();
    world_run(random_below(6));
    return *address;
}

void iovirt_store64(volatile uint64_t *address, uint64_t value)
{
    *address = value;
}

void iovirt_rmb(void)
{
}

bool iovirt_wait(uint32_t tries)
{
    world_run(16);
    return tries < 2000;
}
