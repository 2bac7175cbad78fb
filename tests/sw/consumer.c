#include "consumer.h"

#include "iovirt_platform.h"

/* Clocks within which a sleeping reader must be woken: hold-off times of the tests are shorter. */
#define PATIENCE 60000

struct iovirt dev;
struct consumer consumers[CONSUMERS];
void (*on_event)(const struct iovirt_event *event, struct source *source);

void set_up(void)
{
    CHECK(iovirt_probe(&dev, world_registers()) == IOVIRT_OK);
    CHECK(dev.entries >= 64 && dev.queue_count >= CONSUMERS && dev.wires >= 1);
    CHECK(iovirt_window_open(&dev, IOVIRT_WINDOW_32, WINDOW_32) == IOVIRT_OK);
    CHECK(iovirt_window_open(&dev, IOVIRT_WINDOW_64, WINDOW_64) == IOVIRT_OK);
}

struct iovirt_entry entry_of(const struct source *source, uint32_t queue)
{
    struct iovirt_entry entry = {.rid = source->rid, .queue = (uint8_t)queue, .guest = 0x1234,
                                 .cookie = (uint32_t)(source - sources), .multi = source->several};

    return entry;
}

void admit_as(struct source *source, const struct iovirt_entry *entry)
{
    CHECK(iovirt_entry_set(&dev, source->index, entry) == IOVIRT_OK);
    source->live = true;
    source->next = world_clocks() + random_below(2 * source->interval);
}

void admit(struct source *source, uint32_t queue)
{
    struct iovirt_entry entry = entry_of(source, queue);

    admit_as(source, &entry);
}

struct iovirt_queue_setup plain_setup(uint32_t queue, uint8_t size_log2)
{
    struct iovirt_queue_setup setup = {
        .ring = RINGS + ((uint64_t)queue << 16), .size_log2 = size_log2,
        .notify = IOVIRT_NOTIFY_MSI, .notify_address = MAILBOXES + 8 * (uint64_t)queue,
        .notify_data = queue + 1};

    return setup;
}

struct consumer *start(uint32_t queue, uint8_t size_log2)
{
    struct iovirt_queue_setup setup = plain_setup(queue, size_log2);

    return start_with(queue, &setup);
}

struct consumer *start_with(uint32_t queue, const struct iovirt_queue_setup *setup)
{
    struct consumer *consumer = &consumers[queue];

    *consumer = (struct consumer){.setup = *setup, .queue = queue};
    CHECK(iovirt_queue_start(&dev, queue, setup, world_memory(setup->ring)) == IOVIRT_OK);
    CHECK(iovirt_reader_open(&consumer->reader, iovirt_queue_page(&dev, queue),
                             world_memory(setup->ring)) == IOVIRT_OK);
    return consumer;
}

static void handle(void *context, const struct iovirt_event *event)
{
    struct consumer *consumer = context;
    struct source *source = &sources[event->cookie];

    CHECK(event->sequence == consumer->position++);
    CHECK(event->guest == 0x1234 && event->segment == 0 && event->count > 0);
    CHECK(event->cookie < source_count && event->index == source->index);
    CHECK(event->type == IOVIRT_EVENT_MSI && event->rid == source->rid && !event->more);
    source->received += event->count;
    consumer->handled += event->count;
    if (event->count > consumer->largest)
        consumer->largest = event->count;
    /* Interrupts are numbered: the last of this event has the number that we have counted. */
    if (!source->several && event->data != source->received - 1)
        fail("entry %u: event of %u interrupts ends with %u, and %u have come", source->index,
             event->count, event->data, source->received);
    if (on_event)
        on_event(event, source);
}

void serve(struct consumer *consumer, uint32_t budget)
{
    while (iovirt_service(&consumer->reader, budget, handle, consumer) == budget)
        world_run(random_below(100));
}

bool notified(struct consumer *consumer)
{
    volatile uint64_t *mailbox = world_memory(consumer->setup.notify_address);
    uint64_t value = iovirt_load64(mailbox);

    if (!value)
        return false;
    CHECK(value == consumer->setup.notify_data);
    iovirt_store64(mailbox, 0);
    ++consumer->woken;
    return true;
}

static bool any_unread(void)
{
    for (unsigned n = 0; n < CONSUMERS; ++n)
        if (consumers[n].setup.ring && iovirt_reader_ready(&consumers[n].reader))
            return true;
    return false;
}

/*
 * Readers do nothing unless they are told to. `nap` is how long they are away at most; with 0 they
 * only look as often as the world goes on.
 */
bool run_until_done(unsigned nap, unsigned budget)
{
    uint64_t asleep_since = world_clocks();

    while (!devices_done()) {
        bool awake = false;

        for (unsigned n = 0; n < CONSUMERS; ++n) {
            if (!consumers[n].setup.ring || !notified(&consumers[n]))
                continue;
            awake = true;
            serve(&consumers[n], budget);
        }
        if (awake)
            asleep_since = world_clocks();
        else if (world_clocks() - asleep_since > PATIENCE)
            fail(any_unread() ? "lost wake-up: a record is unread and nobody was told"
                              : "an interrupt is lost: all records are read");
        devices_step();
        world_run(1 + random_below(nap + 8));
    }
    return true;
}

void all_quiet(void)
{
    struct iovirt_error error;

    for (unsigned n = 0; n < source_count; ++n)
        CHECK(iovirt_entry_pending(&dev, sources[n].index) == 0);
    for (unsigned n = 0; n < CONSUMERS; ++n) {
        struct iovirt_queue_state state;

        if (!consumers[n].setup.ring)
            continue;
        CHECK(iovirt_queue_get_state(&dev, consumers[n].queue, &state) == IOVIRT_OK);
        CHECK(state.head == state.tail && state.tail == consumers[n].position);
        if (state.error || state.lost || state.forged || state.dropped)
            fail("queue %u: error %d, lost %u, forged %u, dropped %u", consumers[n].queue,
                 state.error, state.lost, state.forged, state.dropped);
    }
    CHECK(!iovirt_error_take(&dev, &error));
}
