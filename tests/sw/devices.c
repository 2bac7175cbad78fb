/* Devices that send interrupts at random times, numbered per source. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct source sources[SOURCES];
unsigned source_count;

static uint64_t state = 1;

void random_seed(uint64_t seed)
{
    state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

uint32_t random_below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit ? (uint32_t)((state >> 16) % limit) : 0;
}

void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (clock %llu)\n", (unsigned long long)world_clocks());
    exit(1);
}

struct source *add_source(uint32_t index, uint16_t rid, uint32_t interval, uint32_t number)
{
    struct source *source = &sources[source_count++];

    CHECK(source_count <= SOURCES);
    *source = (struct source){.index = index, .rid = rid, .interval = interval,
                              .left = number};
    source->address = iovirt_message_address(source_count % 2 ? WINDOW_32 : WINDOW_64, index,
                                             false);
    return source;
}

void devices_step(void)
{
    uint64_t now = world_clocks();

    for (unsigned n = 0; n < source_count; ++n) {
        struct source *source = &sources[n];

        if (!source->live || !source->left || now < source->next)
            continue;
        --source->left;
        world_send(source->rid, source->address,
                   source->several ? source->select : source->sent);
        ++source->sent;
        source->next = now + random_below(2 * source->interval);
    }
}

bool devices_done(void)
{
    for (unsigned n = 0; n < source_count; ++n)
        if (sources[n].left || sources[n].received != sources[n].sent)
            return false;
    return true;
}
