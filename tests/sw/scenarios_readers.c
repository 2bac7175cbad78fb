/* Readers and the ways in which they are told; sources that move. */
#include <stdio.h>

#include "consumer.h"
#include "scenarios.h"

/* 12 sources into three rings that are too small; readers are away for long. */
void overflow(void)
{
    for (uint32_t n = 0; n < 12; ++n)
        add_source(n * 5, (uint16_t)(0x100 + n), 200 + random_below(200), 120);
    for (uint32_t queue = 0; queue < 3; ++queue)
        start(queue, (uint8_t)(1 + queue));
    for (unsigned n = 0; n < source_count; ++n) {
        struct iovirt_entry entry = entry_of(&sources[n], n % 3);

        entry.merge = n % 2;
        entry.priority = (uint8_t)(n % 4);
        admit_as(&sources[n], &entry);
    }
    run_until_done(2500, 3);
    all_quiet();
    printf("events %u, most interrupts in one %u\n",
           consumers[0].position + consumers[1].position + consumers[2].position,
           consumers[0].largest);
    CHECK(consumers[0].largest > 1);
}

/* Rings that are large enough, and readers that sleep between any two events. */
void sleeper(void)
{
    for (uint32_t n = 0; n < 6; ++n)
        add_source(n, (uint16_t)(0x200 + n), 1000, 80);
    for (uint32_t queue = 0; queue < 2; ++queue) {
        struct iovirt_queue_setup setup = plain_setup(queue, 6);

        setup.every = queue;
        start_with(queue, &setup);
    }
    for (unsigned n = 0; n < source_count; ++n)
        admit(&sources[n], n % 2);
    run_until_done(0, 64);
    all_quiet();
    printf("events %u and %u, woken %u and %u times\n", consumers[0].position,
           consumers[1].position, consumers[0].woken, consumers[1].woken);
}

/* One notification per arm, however many records follow; and a mask that silences. */
void once(void)
{
    struct consumer *consumer = start(0, 6);

    admit(add_source(3, 0xc00, 100, 20), 0);
    while (sources[0].left) {
        devices_step();
        world_run(50);
    }
    world_run(2000);
    CHECK(notified(consumer));
    CHECK(!notified(consumer) && consumer->woken == 1);
    iovirt_reader_mask(&consumer->reader, true);
    iovirt_reader_arm(&consumer->reader);
    world_run(2000);
    CHECK(!notified(consumer));
    iovirt_reader_mask(&consumer->reader, false);
    world_run(2000);
    CHECK(notified(consumer));
    sources[0].left = 3;
    while (sources[0].left) {
        devices_step();
        world_run(50);
    }
    world_run(2000);
    CHECK(!notified(consumer));
    serve(consumer, 64);
    CHECK(devices_done());
    all_quiet();
}

/* Hold-off time and threshold save notifications, also when they change on the way. */
void moderation(void)
{
    uint32_t plain;

    for (uint32_t n = 0; n < 8; ++n)
        add_source(n, (uint16_t)(0x300 + n), 600, 150);
    for (uint32_t queue = 0; queue < 4; ++queue) {
        struct iovirt_queue_setup setup = plain_setup(queue, 8);

        setup.holdoff = (uint16_t)(queue ? 40 : 0);
        setup.threshold = (uint8_t)(queue > 1 ? 12 : 0);
        start_with(queue, &setup);
    }
    for (unsigned n = 0; n < source_count; ++n) {
        struct iovirt_entry entry = entry_of(&sources[n], n % 4);

        entry.urgent = n % 4 == 3;
        admit_as(&sources[n], &entry);
    }
    run_until_done(0, 64);
    all_quiet();
    plain = consumers[0].woken;
    printf("notifications per 1000 events: plain %u, hold-off %u, with threshold %u, urgent %u\n",
           1000 * plain / consumers[0].handled, 1000 * consumers[1].woken / consumers[1].handled,
           1000 * consumers[2].woken / consumers[2].handled,
           1000 * consumers[3].woken / consumers[3].handled);
    CHECK(4 * consumers[1].woken < plain && consumers[1].woken <= consumers[2].woken);
    CHECK(4 * consumers[1].woken < consumers[3].woken);
    CHECK(iovirt_queue_moderate(&dev, 1, 0, 0) == IOVIRT_OK);
    for (unsigned n = 0; n < source_count; ++n)
        sources[n].left = n % 4 == 1 ? 60 : 0;
    run_until_done(0, 64);
    all_quiet();
}

/* Two-phase migration of one source after the other, under fire. */
void migration(void)
{
    static uint32_t where[SOURCES];
    unsigned moves = 0;

    /* Records take so long, and so differently long, that what follows would overtake them. */
    world_slow(20, 1000);
    for (uint32_t n = 0; n < 8; ++n)
        add_source(3 * n + 1, (uint16_t)(0x400 + n), 250, 160);
    for (uint32_t queue = 0; queue < 4; ++queue)
        start(queue, (uint8_t)(2 + queue));
    for (unsigned n = 0; n < source_count; ++n)
        admit(&sources[n], where[n] = n % 4);
    while (!devices_done()) {
        unsigned n = random_below(source_count);
        struct consumer *old = &consumers[where[n]];
        struct iovirt_entry entry = entry_of(&sources[n], where[n]);
        uint32_t count;

        /* Phase 1: nothing new goes to the old queue, and what is there becomes readable. */
        entry.suspend = true;
        CHECK(iovirt_entry_set(&dev, sources[n].index, &entry) == IOVIRT_OK);
        CHECK(iovirt_queue_settle(&dev, old->queue, &count) == IOVIRT_OK);
        serve(old, 4);
        CHECK(iovirt_reader_passed(&old->reader, count));
        /* Phase 2: the new queue gets what has come meanwhile, and everything else. */
        entry.queue = (uint8_t)(where[n] = random_below(4));
        entry.suspend = false;
        CHECK(iovirt_entry_set(&dev, sources[n].index, &entry) == IOVIRT_OK);
        ++moves;
        for (unsigned queue = 0; queue < 4; ++queue)
            if (notified(&consumers[queue]))
                serve(&consumers[queue], 8);
        if (moves > 60)
            break;
    }
    run_until_done(100, 8);
    all_quiet();
    printf("moves %u\n", moves);
}
