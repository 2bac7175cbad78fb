/* What the reader of an event queue does: all that a guest needs. */
#include <stddef.h>

#include "iovirt.h"
#include "iovirt_internal.h"

#define TIME_MASK ((UINT64_C(1) << 56) - 1)

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
