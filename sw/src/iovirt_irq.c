/* Remap table, event queues and their readers. */
#include <stddef.h>

#include "iovirt.h"
#include "iovirt_internal.h"

#define MESSAGES 16u
#define ENTRY_BYTES 32u
#define CONTROL_BYTES 64u
#define PAGE_BYTES 4096u
#define TIME_MASK ((UINT64_C(1) << 56) - 1)

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

/* Counts are modulo 2^32. */
static bool reached(uint32_t now, uint32_t count)
{
    return (int32_t)(now - count) >= 0;
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

/* Event queues: reader */

#define PAGE(member) offsetof(iovirt__guestx__stride1000_t, member)

int iovirt_reader_open(struct iovirt_reader *reader, volatile void *page,
                       const volatile uint64_t *ring)
{
    volatile uint8_t *registers = (volatile uint8_t *)page;
    uint32_t size_log2 = iovirt_read32(registers + PAGE(size));

    if (!size_log2)
        return IOVIRT_REFUSED;
    reader->page = registers;
    reader->ring = ring;
    reader->size_log2 = (uint8_t)size_log2;
    reader->head = reader->released = iovirt_read32(registers + PAGE(head));
    return IOVIRT_OK;
}

static const volatile uint64_t *next_record(const struct iovirt_reader *reader)
{
    uint32_t slot = reader->head & ((UINT32_C(1) << reader->size_log2) - 1);

    return reader->ring + (size_t)slot * (IOVIRT_EVENT_BYTES / 8);
}

/* The phase of a record is that of the lap: what is left of the lap before has the other one. */
static bool is_new(const struct iovirt_reader *reader, uint64_t last_word)
{
    return last_word >> 63 != (reader->head >> reader->size_log2 & 1);
}

bool iovirt_reader_ready(const struct iovirt_reader *reader)
{
    return is_new(reader, iovirt_load64(next_record(reader) + 3));
}

bool iovirt_reader_take(struct iovirt_reader *reader, struct iovirt_event *event)
{
    const volatile uint64_t *record = next_record(reader);
    uint64_t word[4];

    /* The word with the phase is written last, so it is read first. */
    word[3] = iovirt_load64(record + 3);
    if (!is_new(reader, word[3]))
        return false;
    iovirt_rmb();
    for (int n = 0; n < 3; ++n)
        word[n] = iovirt_load64(record + n);
    event->cookie = (uint32_t)word[0];
    event->count = (uint16_t)(word[0] >> 32);
    event->index = (uint16_t)(word[0] >> 48);
    event->rid = (uint16_t)word[1];
    event->segment = (uint8_t)(word[1] >> 16);
    event->guest = (uint16_t)(word[1] >> 24);
    event->more = word[1] >> 40 & 1;
    event->data = (uint32_t)word[2];
    event->sequence = (uint32_t)(word[2] >> 32);
    event->time = word[3] & TIME_MASK;
    event->type = (uint8_t)(word[3] >> 56 & 31);
    event->priority = (uint8_t)(word[3] >> 61 & 3);
    ++reader->head;
    return true;
}

void iovirt_reader_release(struct iovirt_reader *reader)
{
    if (reader->released == reader->head)
        return;
    reader->released = reader->head;
    iovirt_write32(reader->page + PAGE(head), reader->head);
}

void iovirt_reader_arm(const struct iovirt_reader *reader)
{
    iovirt_write32(reader->page + PAGE(arm), reader->head);
}

void iovirt_reader_mask(const struct iovirt_reader *reader, bool mask)
{
    iovirt_write32(reader->page + PAGE(mask), mask);
}

bool iovirt_reader_passed(const struct iovirt_reader *reader, uint32_t count)
{
    return reached(reader->head, count);
}

uint32_t iovirt_service(struct iovirt_reader *reader, uint32_t budget, iovirt_handler *handle,
                        void *context)
{
    struct iovirt_event event;
    uint32_t handled = 0;

    do {
        while (handled < budget && iovirt_reader_take(reader, &event)) {
            handle(context, &event);
            ++handled;
        }
        iovirt_reader_release(reader);
        if (handled == budget)
            return handled;
        iovirt_reader_arm(reader);
        /* A record behind this look finds the queue armed; one before it is taken at once. */
    } while (iovirt_reader_ready(reader));
    return handled;
}

bool iovirt_storm_check(struct iovirt_storm *storm, const struct iovirt_event *event)
{
    if (((event->time - storm->since) & TIME_MASK) >= storm->window) {
        storm->since = event->time;
        storm->count = 0;
    }
    storm->count += event->count;
    return storm->count > storm->limit;
}
