/* Storms, queues that stop, devices and readers that do what they must not. */
#include <stdio.h>

#include "consumer.h"
#include "iovirt_platform.h"
#include "scenarios.h"

static struct iovirt_storm watch;
static bool caught;
static uint32_t storm_events;

static void look(const struct iovirt_event *event, struct source *source)
{
    if (source != sources)
        return;
    ++storm_events;
    caught |= iovirt_storm_check(&watch, event);
}

/* A source that storms is bounded, then suspended, and loses nothing. */
void storm(void)
{
    struct iovirt_entry entry;
    struct consumer *consumer = start(0, 7);
    uint64_t since = world_clocks();

    watch = (struct iovirt_storm){.window = 4096, .limit = 8};
    on_event = look;
    CHECK(iovirt_storm_interval(&dev, 2048) == IOVIRT_OK);
    for (uint32_t n = 0; n < 5; ++n)
        add_source(n, (uint16_t)(0x500 + n), n ? 1500 : 40, n ? 40 : 2000);
    entry = entry_of(&sources[0], 0);
    entry.limit = 2;
    admit_as(&sources[0], &entry);
    for (unsigned n = 1; n < source_count; ++n)
        admit(&sources[n], 0);
    while (!caught) {
        if (notified(consumer))
            serve(consumer, 16);
        world_run(20);
    }
    entry.suspend = true;
    CHECK(iovirt_entry_set(&dev, 0, &entry) == IOVIRT_OK);
    for (unsigned n = 0; n < 40; ++n) {
        if (notified(consumer))
            serve(consumer, 16);
        world_run(100);
    }
    CHECK(iovirt_entry_pending(&dev, 0) == 1);
    entry.suspend = false;
    CHECK(iovirt_entry_set(&dev, 0, &entry) == IOVIRT_OK);
    run_until_done(10, 16);
    all_quiet();
    on_event = NULL;
    printf("storm of %u interrupts came as events of up to %u\n", sources[0].sent,
           consumer->largest);
    CHECK(consumer->largest > 50 && storm_events <= 2 * (world_clocks() - since) / 2048 + 2);
}

/* Stopped under fire, a queue drains; it goes on where it was, and tells another mailbox. */
void drain(void)
{
    struct consumer *consumer = start(1, 3);
    uint64_t longest = 0;

    for (uint32_t n = 0; n < 4; ++n) {
        add_source(n, (uint16_t)(0x600 + n), 150, 200);
        admit(&sources[n], 1);
    }
    for (unsigned turn = 0; turn < 12; ++turn) {
        struct iovirt_queue_state state;
        uint64_t since;

        for (unsigned n = 0; n < 5; ++n) {
            if (notified(consumer))
                serve(consumer, 8);
            world_run(random_below(100));
        }
        since = world_clocks();
        CHECK(iovirt_queue_stop(&dev, 1) == IOVIRT_OK);
        since = world_clocks() - since;
        longest = since > longest ? since : longest;
        CHECK(iovirt_queue_get_state(&dev, 1, &state) == IOVIRT_OK);
        CHECK(!state.running && !state.busy);
        serve(consumer, 4);
        CHECK(iovirt_reader_passed(&consumer->reader, state.tail));
        CHECK(!iovirt_reader_ready(&consumer->reader));
        notified(consumer);
        consumer->setup.notify_address = MAILBOXES + 0x100 + 8 * (turn & 1);
        consumer->setup.notify_data = 0x1000 + turn;
        CHECK(iovirt_queue_resume(&dev, 1, &consumer->setup,
                                  world_memory(consumer->setup.ring)) == IOVIRT_OK);
    }
    run_until_done(30, 8);
    all_quiet();
    printf("stopped and drained within %llu clocks\n", (unsigned long long)longest);
    CHECK(longest < 3000);
}

/* What a queue drops by policy it counts. */
void drop(void)
{
    struct iovirt_queue_setup setup = plain_setup(2, 2);
    struct iovirt_queue_state state;
    struct source *source = add_source(9, 0x700, 100, 200);

    setup.drop_new = true;
    start_with(2, &setup);
    admit(source, 2);
    while (source->left) {
        devices_step();
        world_run(40);
    }
    world_run(400);
    CHECK(iovirt_queue_get_state(&dev, 2, &state) == IOVIRT_OK);
    CHECK(state.tail == 4 && state.dropped == source->sent - 4);
    serve(&consumers[2], 16);
    CHECK(source->received == 4);
}

/* Two queues share a wire; it is lowered before they are read. */
void wire(void)
{
    uint64_t asleep_since = world_clocks();

    for (uint32_t queue = 4; queue < 6; ++queue) {
        struct iovirt_queue_setup setup = plain_setup(queue, 4);

        setup.notify = IOVIRT_NOTIFY_WIRE;
        setup.wire = (uint8_t)(dev.wires - 1);
        start_with(queue, &setup);
    }
    for (uint32_t n = 0; n < 6; ++n) {
        add_source(n, (uint16_t)(0x800 + n), 600, 60);
        admit(&sources[n], 4 + n % 2);
    }
    while (!devices_done()) {
        uint32_t raised = iovirt_wires(&dev);

        if (raised) {
            CHECK(raised == 1u << (dev.wires - 1));
            iovirt_wires_lower(&dev, raised);
            for (unsigned queue = 4; queue < 6; ++queue)
                serve(&consumers[queue], 5);
            asleep_since = world_clocks();
        }
        if (world_clocks() - asleep_since > 60000)
            fail("lost wake-up");
        world_run(random_below(200));
    }
    all_quiet();
    world_run(2000);
    iovirt_wires_lower(&dev, iovirt_wires(&dev));
    CHECK(iovirt_wires(&dev) == 0);
}

static unsigned pins;

static void count_pins(void *context, const struct iovirt_event *event)
{
    (void)context;
    CHECK(event->type == IOVIRT_EVENT_INTX && event->cookie == 77 && event->rid == 0x905);
    CHECK(event->index == iovirt_message_index(&dev, IOVIRT_INTC) && event->data == 1);
    pins += event->count;
}

/* Several vectors of one MSI, a requester that may not, a message, and one that is forwarded. */
void sources_of_all_kinds(void)
{
    struct iovirt_entry entry = {.queue = 1, .cookie = 77, .rid = 0x900, .rid_mask = 0xff,
                                 .guest = 0x1234};
    struct iovirt_entry forward = {.delivery = IOVIRT_FORWARD, .address = MAILBOXES + 0x200,
                                   .data = 0x77777, .rid = 0x903};
    struct iovirt_error error;
    uint64_t since = world_clocks();

    start(0, 6);
    start(1, 2);
    for (uint32_t n = 0; n < 4; ++n) {
        struct source *source = add_source(40 + n, 0x901, 200, 50);

        source->address = iovirt_message_address(WINDOW_64, 40, true);
        source->several = true;
        source->select = n;
        admit(source, 0);
    }
    run_until_done(50, 8);
    all_quiet();
    world_send(0x902, iovirt_message_address(WINDOW_32, 41, false), 5);
    while (!iovirt_error_take(&dev, &error))
        CHECK(world_clocks() - since < 200000);
    CHECK(error.cause == 12 && error.rid == 0x902 && error.address == 8 * 41);
    CHECK(iovirt_entry_set(&dev, iovirt_message_index(&dev, IOVIRT_INTC), &entry) == IOVIRT_OK);
    world_intx(0x905, 2, true);
    while (!notified(&consumers[1]))
        CHECK(world_clocks() - since < 400000);
    CHECK(iovirt_service(&consumers[1].reader, 4, count_pins, NULL) == 1 && pins == 1);
    CHECK(iovirt_entry_set(&dev, 50, &forward) == IOVIRT_OK);
    world_send(0x903, iovirt_message_address(WINDOW_64, 50, false), 5);
    world_run(1000);
    CHECK(iovirt_load64(world_memory(MAILBOXES + 0x200)) == 0x77777);
    forward.address |= 2;
    CHECK(iovirt_entry_set(&dev, 50, &forward) == IOVIRT_BAD_ARGUMENT);
    CHECK(!iovirt_error_take(&dev, &error));
    CHECK(iovirt_entry_clear(&dev, 50) == IOVIRT_OK);
    world_send(0x903, iovirt_message_address(WINDOW_64, 50, false), 6);
    world_run(1000);
    CHECK(iovirt_error_take(&dev, &error) && error.cause == 12 && error.rid == 0x903);
}

/* A forged head is refused and counted, and so is a setting that makes no sense. */
void forgery(void)
{
    struct consumer *consumer = start(3, 2);
    struct iovirt_queue_state state;
    struct iovirt_queue_setup setup = consumer->setup;
    struct iovirt_reader forger = consumer->reader;

    admit(add_source(1, 0xa00, 20, 3), 3);
    while (sources[0].sent < 3) {
        devices_step();
        world_run(8);
    }
    world_run(1000);
    CHECK(iovirt_queue_get_state(&dev, 3, &state) == IOVIRT_OK && state.tail > 0);
    forger.head = state.tail + 1;
    iovirt_reader_release(&forger);
    forger.head = 0xffffffff;
    iovirt_reader_release(&forger);
    CHECK(iovirt_queue_get_state(&dev, 3, &state) == IOVIRT_OK);
    CHECK(state.forged == 2 && state.head == 0);
    CHECK(iovirt_queue_start(&dev, 3, &setup, world_memory(setup.ring)) == IOVIRT_REFUSED);
    setup.size_log2 = 17;
    CHECK(iovirt_queue_start(&dev, 3, &setup, world_memory(setup.ring)) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_queue_stop(&dev, dev.queue_count) == IOVIRT_NO_DEVICE);
    serve(consumer, 8);
    CHECK(devices_done());
}

/* Memory that fails stops the queue, is reported, and costs counted records only. */
void failure(void)
{
    struct consumer *consumer = start(6, 3);
    struct iovirt_queue_state state;
    uint32_t count;

    world_slow(300, 10);
    admit(add_source(7, 0xb00, 100, 40), 6);
    world_break(consumer->setup.ring + 2 * 32, 32, true);
    while (sources[0].left) {
        devices_step();
        world_run(60);
    }
    world_run(3000);
    CHECK(iovirt_queue_settle(&dev, 6, &count) == IOVIRT_QUEUE_ERROR);
    CHECK(iovirt_queue_get_state(&dev, 6, &state) == IOVIRT_OK);
    CHECK(state.error && !state.running && state.tail == 2 && state.lost > 1);
    world_break(consumer->setup.ring + 2 * 32, 32, false);
    serve(consumer, 8);
    CHECK(consumer->position == 2);
    /* The interrupts of lost records are gone; what was pending comes. */
    sources[0].received += state.lost;
    CHECK(iovirt_queue_resume(&dev, 6, &consumer->setup,
                              world_memory(consumer->setup.ring)) == IOVIRT_OK);
    run_until_done(10, 8);
    CHECK(iovirt_queue_get_state(&dev, 6, &state) == IOVIRT_OK);
    CHECK(state.running && !state.error && sources[0].received == sources[0].sent);
}
