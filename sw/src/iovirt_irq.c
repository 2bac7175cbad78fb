/* Remap table, and what a hypervisor does with event queues. */
#include <stddef.h>

#include "iovirt.h"
#include "iovirt_internal.h"

#define MESSAGES 16u
#define ENTRY_BYTES 32u
#define CONTROL_BYTES 64u
#define PAGE_BYTES 4096u

/* Remap table */

uint32_t iovirt_message_index(const struct iovirt *dev, enum iovirt_message message)
{
    return dev->entries + (uint32_t)message;
}

static bool entry_exists(const struct iovirt *dev, uint32_t index)
{
    return dev->table && index < dev->entries + MESSAGES;
}

int iovirt_entry_set(const struct iovirt *dev, uint32_t index, const struct iovirt_entry *entry)
{
    volatile uint8_t *place = dev->table + (size_t)index * ENTRY_BYTES;

    if (!entry_exists(dev, index))
        return IOVIRT_NO_DEVICE;
    if (entry->priority > 3 || entry->address & 3 || entry->address >> 56
        || (entry->delivery == IOVIRT_TO_QUEUE && entry->queue >= dev->queue_count))
        return IOVIRT_BAD_ARGUMENT;
    /* The first three words wait for the last one, which puts all four in place. */
    iovirt_write64(place + offsetof(iovirt__irtx_t, source),
                   PLACE(1, IRTX__SOURCE__VALID)
                   | PLACE(entry->delivery, IRTX__SOURCE__DELIVERY)
                   | PLACE(entry->suspend, IRTX__SOURCE__SUSPEND)
                   | PLACE(entry->urgent, IRTX__SOURCE__URGENT)
                   | PLACE(entry->merge, IRTX__SOURCE__MERGE)
                   | PLACE(entry->multi, IRTX__SOURCE__MULTI)
                   | PLACE(entry->priority, IRTX__SOURCE__PRIORITY)
                   | PLACE(entry->rid, IRTX__SOURCE__RID)
                   | PLACE(entry->rid_mask, IRTX__SOURCE__RID_MASK)
                   | PLACE(entry->segment, IRTX__SOURCE__SEGMENT));
    iovirt_write64(place + offsetof(iovirt__irtx_t, destination),
                   PLACE(entry->cookie, IRTX__DESTINATION__COOKIE)
                   | PLACE(entry->guest, IRTX__DESTINATION__GUEST)
                   | PLACE(entry->queue, IRTX__DESTINATION__QUEUE));
    iovirt_write64(place + offsetof(iovirt__irtx_t, target), entry->address);
    iovirt_write64(place + offsetof(iovirt__irtx_t, data),
                   PLACE(entry->data, IRTX__DATA__DATA)
                   | PLACE(entry->limit, IRTX__DATA__LIMIT));
    return IOVIRT_OK;
}

int iovirt_entry_clear(const struct iovirt *dev, uint32_t index)
{
    volatile uint8_t *place = dev->table + (size_t)index * ENTRY_BYTES;

    if (!entry_exists(dev, index))
        return IOVIRT_NO_DEVICE;
    for (size_t word = 0; word < ENTRY_BYTES; word += 8)
        iovirt_write64(place + word, 0);
    return IOVIRT_OK;
}

int iovirt_entry_pending(const struct iovirt *dev, uint32_t index)
{
    volatile uint8_t *place = dev->table + (size_t)index * ENTRY_BYTES;

    if (!entry_exists(dev, index))
        return IOVIRT_NO_DEVICE;
    return (int)FIELD(iovirt_read64(place + offsetof(iovirt__irtx_t, data)), IRTX__DATA__PENDING);
}

int iovirt_storm_interval(const struct iovirt *dev, uint32_t clocks)
{
    if (!dev->interrupts)
        return IOVIRT_NO_DEVICE;
    if (clocks > IOVIRT__INTERRUPTS__STORM__INTERVAL_bm)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write32(dev->interrupts + offsetof(iovirt__interrupts_t, storm), clocks);
    return IOVIRT_OK;
}

/* Event queues: control */

#define CONTROL(member) offsetof(iovirt__queuex_t, member)

static uint32_t get(const struct iovirt *dev, uint32_t queue, size_t offset)
{
    return iovirt_read32(dev->queues + (size_t)queue * CONTROL_BYTES + offset);
}

static void put(const struct iovirt *dev, uint32_t queue, size_t offset, uint64_t value)
{
    iovirt_write32(dev->queues + (size_t)queue * CONTROL_BYTES + offset, (uint32_t)value);
}

static bool queue_exists(const struct iovirt *dev, uint32_t queue)
{
    return dev->queues && queue < dev->queue_count;
}

/* Wait until nothing of a stopped queue is on its way. */
static int drain(const struct iovirt *dev, uint32_t queue)
{
    for (uint32_t tries = 0;; ++tries) {
        uint32_t status = get(dev, queue, CONTROL(status));

        if (!(status & IOVIRT__QUEUEX__STATUS__BUSY_bm))
            return status & IOVIRT__QUEUEX__STATUS__ERROR_bm ? IOVIRT_QUEUE_ERROR : IOVIRT_OK;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
}

static int check_setup(const struct iovirt *dev, uint32_t queue,
                       const struct iovirt_queue_setup *setup)
{
    if (!queue_exists(dev, queue))
        return IOVIRT_NO_DEVICE;
    if (setup->size_log2 < 1 || setup->size_log2 > 16 || setup->holdoff > 0x7fff
        || setup->ring % ((uint64_t)IOVIRT_EVENT_BYTES << setup->size_log2)
        || setup->notify > IOVIRT_NOTIFY_WIRE || setup->notify_address & 3
        || (setup->notify == IOVIRT_NOTIFY_WIRE && setup->wire >= dev->wires))
        return IOVIRT_BAD_ARGUMENT;
    return IOVIRT_OK;
}

static int run(const struct iovirt *dev, uint32_t queue, const struct iovirt_queue_setup *setup)
{
    put(dev, queue, CONTROL(base_low), setup->ring & 0xffffffffu);
    put(dev, queue, CONTROL(base_high), setup->ring >> 32);
    put(dev, queue, CONTROL(notify_low), setup->notify_address & 0xffffffffu);
    put(dev, queue, CONTROL(notify_high), setup->notify_address >> 32);
    put(dev, queue, CONTROL(notify_data), setup->notify_data);
    put(dev, queue, CONTROL(notify_kind), PLACE(setup->notify, QUEUEX__NOTIFY_KIND__KIND)
                                          | PLACE(setup->wire, QUEUEX__NOTIFY_KIND__WIRE_NUMBER));
    put(dev, queue, CONTROL(moderation), PLACE(setup->holdoff, QUEUEX__MODERATION__HOLDOFF)
                                         | PLACE(setup->threshold, QUEUEX__MODERATION__THRESHOLD));
    put(dev, queue, CONTROL(control), PLACE(1, QUEUEX__CONTROL__RUN)
                                      | PLACE(setup->drop_new, QUEUEX__CONTROL__DROP_NEW)
                                      | PLACE(!setup->every, QUEUEX__CONTROL__ONCE)
                                      | PLACE(setup->size_log2, QUEUEX__CONTROL__SIZE_LOG2));
    if (!(get(dev, queue, CONTROL(control)) & IOVIRT__QUEUEX__CONTROL__RUN_bm))
        return IOVIRT_REFUSED;
    return IOVIRT_OK;
}

int iovirt_queue_start(const struct iovirt *dev, uint32_t queue,
                       const struct iovirt_queue_setup *setup, volatile uint64_t *ring)
{
    int status = check_setup(dev, queue, setup);
    size_t words;

    if (status)
        return status;
    if (get(dev, queue, CONTROL(control)) & IOVIRT__QUEUEX__CONTROL__RUN_bm)
        return IOVIRT_REFUSED;
    status = drain(dev, queue);
    if (status && status != IOVIRT_QUEUE_ERROR)
        return status;
    /* Count 0 has phase 1, so a ring of zeros is empty. Nothing of an earlier reader is left. */
    words = (size_t)IOVIRT_EVENT_BYTES / 8 << setup->size_log2;
    for (size_t word = 0; word < words; ++word)
        iovirt_store64(ring + word, 0);
    put(dev, queue, CONTROL(tail), 0);
    put(dev, queue, CONTROL(forged), 0);
    iovirt_write32(dev->pages + (size_t)queue * PAGE_BYTES
                   + offsetof(iovirt__guestx__stride1000_t, mask), 0);
    return run(dev, queue, setup);
}

int iovirt_queue_stop(const struct iovirt *dev, uint32_t queue)
{
    if (!queue_exists(dev, queue))
        return IOVIRT_NO_DEVICE;
    put(dev, queue, CONTROL(control), 0);
    return drain(dev, queue);
}

/*
 * Records behind one that could not be written may have been written, but do not count. Their phase
 * must not look new when the tail comes there again.
 */
static void forget_records(const struct iovirt *dev, uint32_t queue,
                           const struct iovirt_queue_setup *setup, volatile uint64_t *ring)
{
    uint32_t size = UINT32_C(1) << setup->size_log2;
    uint32_t end = get(dev, queue, CONTROL(head)) + size;

    for (uint32_t count = get(dev, queue, CONTROL(tail)); count != end; ++count)
        iovirt_store64(ring + (size_t)(count & (size - 1)) * (IOVIRT_EVENT_BYTES / 8) + 3,
                       (uint64_t)(count >> setup->size_log2 & 1) << 63);
}

int iovirt_queue_resume(const struct iovirt *dev, uint32_t queue,
                        const struct iovirt_queue_setup *setup, volatile uint64_t *ring)
{
    int status = check_setup(dev, queue, setup);

    if (status)
        return status;
    if (get(dev, queue, CONTROL(control)) & IOVIRT__QUEUEX__CONTROL__RUN_bm)
        return IOVIRT_REFUSED;
    status = drain(dev, queue);
    if (status && status != IOVIRT_QUEUE_ERROR)
        return status;
    if (status == IOVIRT_QUEUE_ERROR)
        forget_records(dev, queue, setup, ring);
    return run(dev, queue, setup);
}

int iovirt_queue_moderate(const struct iovirt *dev, uint32_t queue, uint16_t holdoff,
                          uint8_t threshold)
{
    uint32_t control;

    if (!queue_exists(dev, queue))
        return IOVIRT_NO_DEVICE;
    if (holdoff > 0x7fff)
        return IOVIRT_BAD_ARGUMENT;
    control = get(dev, queue, CONTROL(control));
    if (!(control & IOVIRT__QUEUEX__CONTROL__RUN_bm))
        return IOVIRT_REFUSED;
    /* A write of control takes the new moderation over. */
    put(dev, queue, CONTROL(moderation), PLACE(holdoff, QUEUEX__MODERATION__HOLDOFF)
                                         | PLACE(threshold, QUEUEX__MODERATION__THRESHOLD));
    put(dev, queue, CONTROL(control), control);
    return IOVIRT_OK;
}

int iovirt_queue_settle(const struct iovirt *dev, uint32_t queue, uint32_t *count)
{
    uint32_t goal;

    if (!queue_exists(dev, queue))
        return IOVIRT_NO_DEVICE;
    if (!(get(dev, queue, CONTROL(status)) & IOVIRT__QUEUEX__STATUS__RUN_bm)) {
        int status = drain(dev, queue);

        *count = get(dev, queue, CONTROL(tail));
        return status;
    }
    goal = *count = get(dev, queue, CONTROL(accepted));
    for (uint32_t tries = 0; !reached(get(dev, queue, CONTROL(tail)), goal); ++tries) {
        if (get(dev, queue, CONTROL(status)) & IOVIRT__QUEUEX__STATUS__ERROR_bm)
            return IOVIRT_QUEUE_ERROR;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
    return IOVIRT_OK;
}

int iovirt_queue_get_state(const struct iovirt *dev, uint32_t queue,
                           struct iovirt_queue_state *state)
{
    uint32_t status;

    if (!queue_exists(dev, queue))
        return IOVIRT_NO_DEVICE;
    status = get(dev, queue, CONTROL(status));
    state->running = status & IOVIRT__QUEUEX__STATUS__RUN_bm;
    state->busy = status & IOVIRT__QUEUEX__STATUS__BUSY_bm;
    state->error = status & IOVIRT__QUEUEX__STATUS__ERROR_bm;
    state->waiting = status & IOVIRT__QUEUEX__STATUS__WAITING_bm;
    state->tail = get(dev, queue, CONTROL(tail));
    state->head = get(dev, queue, CONTROL(head));
    state->arm = get(dev, queue, CONTROL(arm));
    state->dropped = get(dev, queue, CONTROL(dropped));
    state->lost = get(dev, queue, CONTROL(lost));
    state->forged = get(dev, queue, CONTROL(forged));
    return IOVIRT_OK;
}

volatile void *iovirt_queue_page(const struct iovirt *dev, uint32_t queue)
{
    return queue_exists(dev, queue) ? dev->pages + (size_t)queue * PAGE_BYTES : NULL;
}

uint32_t iovirt_wires(const struct iovirt *dev)
{
    return iovirt_read32(dev->interrupts + offsetof(iovirt__interrupts_t, irq_wires));
}

void iovirt_wires_lower(const struct iovirt *dev, uint32_t wires)
{
    iovirt_write32(dev->interrupts + offsetof(iovirt__interrupts_t, irq_wires), wires);
}
