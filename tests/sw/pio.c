/* Programmed I/O: firmware that brings up a device behind the port, loses it, and gets it back. */
#include <stdio.h>
#include <string.h>

#include "iovirt_pio.h"
#include "iovirt_platform.h"
#include "world.h"

#define ECAM UINT64_C(0x3000000000)
#define WINDOW UINT64_C(0x3010000000)
#define TARGET UINT64_C(0xc0000000)
#define BYTES UINT64_C(0x100000)
#define PORT 0x0000
#define DEVICE 0x0100
#define COMMAND 0x04
#define BAR0 0x10
#define BUSES 0x18
#define MEMORY_LIMITS 0x20
#define MEMORY_AND_MASTER 6

enum { REQUEST_UNSUPPORTED = 2, BUS_RANGE = 4, UNSUPPORTED = 18, LINK_DOWN = 21, NO_TARGET = 22 };

static struct iovirt dev;
static volatile void *ecam;
static unsigned causes[32];
static struct iovirt_pio_error last;
static unsigned told;

static void count(void *context, const struct iovirt_pio_error *error)
{
    (void)context;
    ++causes[error->cause & 31];
    last = *error;
}

/* Handle errors; return how many there were of a cause. */
static unsigned errors(unsigned cause)
{
    memset(causes, 0, sizeof causes);
    iovirt_pio_errors(&dev, count, NULL);
    return causes[cause];
}

/* An interrupt that must be refused for this cause. */
static void send_refused(uint16_t rid, uint64_t address, unsigned cause)
{
    struct iovirt_error error;
    unsigned tries = 0;

    while (iovirt_error_take(&dev, &error))
        ;
    world_send(rid, address, 1);
    while (!iovirt_error_take(&dev, &error))
        CHECK(++tries < 1000);
    CHECK(error.cause == cause && error.rid == rid);
}

static void hear(void *context, const struct iovirt_event *event)
{
    (void)context;
    CHECK(event->type == IOVIRT_EVENT_PIO_ERROR && event->cookie == 99);
    told += event->count;
}

static void bring_up(void)
{
    CHECK(iovirt_config_probe(ecam, DEVICE) == IOVIRT_PRESENT);
    CHECK(iovirt_config_read(ecam, DEVICE, 0, 4) == 0x10f01af4);
    CHECK(iovirt_config_read(ecam, DEVICE, 0x0a, 2) == 0x0880);
    iovirt_config_write(ecam, DEVICE, BAR0, 4, 0xffffffff);
    CHECK(iovirt_config_read(ecam, DEVICE, BAR0, 4) == (uint32_t)(0 - BYTES));
    iovirt_config_write(ecam, DEVICE, BAR0, 4, (uint32_t)TARGET);
    iovirt_config_write(ecam, PORT, MEMORY_LIMITS, 4, (uint32_t)(TARGET >> 16 | TARGET));
    iovirt_config_write(ecam, DEVICE, COMMAND, 2, MEMORY_AND_MASTER);
    iovirt_config_write(ecam, PORT, COMMAND, 2, MEMORY_AND_MASTER);
}

static void use_memory(void)
{
    volatile uint8_t *memory = world_bus(WINDOW);
    uint64_t pattern = UINT64_C(0x1122334455667788);

    iovirt_write64(memory + 0x40, pattern);
    CHECK(iovirt_read64(memory + 0x40) == pattern);
    CHECK(iovirt_read8(memory + 0x43) == 0x55 && iovirt_read16(memory + 0x42) == 0x5566);
    iovirt_write8(memory + 0x41, 0xab);
    iovirt_write16(memory + 0x46, 0xcdef);
    CHECK(iovirt_read64(memory + 0x40) == UINT64_C(0xcdef33445566ab88));
    CHECK(iovirt_read32(memory + BYTES - 4) == iovirt_read32(memory + BYTES - 4));
    CHECK(world_bus_error() == 0);
}

static struct iovirt_reader listen(void)
{
    struct iovirt_queue_setup setup = {.ring = RINGS, .size_log2 = 4};
    struct iovirt_entry entry = {.queue = 2, .cookie = 99, .rid_mask = 0xffff};
    struct iovirt_reader reader;

    CHECK(iovirt_queue_start(&dev, 2, &setup, world_memory(RINGS)) == IOVIRT_OK);
    CHECK(iovirt_reader_open(&reader, iovirt_queue_page(&dev, 2), world_memory(RINGS))
          == IOVIRT_OK);
    CHECK(iovirt_entry_set(&dev, iovirt_message_index(&dev, IOVIRT_PIO_ERROR), &entry)
          == IOVIRT_OK);
    return reader;
}

static unsigned interrupts;

static void count_interrupts(void *context, const struct iovirt_event *event)
{
    (void)context;
    if (event->type == IOVIRT_EVENT_MSI)
        ++interrupts;
    else
        hear(context, event);
}

/* The device may send interrupts while the port lets it, and nobody else may. */
static void interrupt(struct iovirt_reader *reader)
{
    struct iovirt_entry entry = {.queue = 2, .cookie = 98, .rid_mask = 0xffff};
    uint64_t address = iovirt_message_address(WINDOW_64, 5, false);

    CHECK(iovirt_window_open(&dev, IOVIRT_WINDOW_64, WINDOW_64) == IOVIRT_OK);
    CHECK(iovirt_entry_set(&dev, 5, &entry) == IOVIRT_OK);
    iovirt_port_set(&dev, PORT, true);
    world_send(DEVICE, address, 1);
    send_refused(DEVICE + 0x100, address, BUS_RANGE);
    iovirt_config_write(ecam, PORT, COMMAND, 2, MEMORY_AND_MASTER & 2);
    send_refused(DEVICE, address, REQUEST_UNSUPPORTED);
    iovirt_config_write(ecam, PORT, COMMAND, 2, MEMORY_AND_MASTER);
    world_send(DEVICE, address, 1);
    world_run(1000);
    while (iovirt_service(reader, 8, count_interrupts, NULL) == 8)
        ;
    CHECK(interrupts == 2);
}

static void find_nothing(void)
{
    CHECK(iovirt_config_probe(ecam, DEVICE) == IOVIRT_ABSENT);
    errors(0);
    iovirt_config_write(ecam, PORT, BUSES, 4, 0x00010100);
    CHECK(iovirt_config_probe(ecam, DEVICE + 1) == IOVIRT_ABSENT);
    CHECK(errors(UNSUPPORTED) == 1 && last.address == (uint64_t)(DEVICE + 1) << 12);
    CHECK(iovirt_pio_error_mask(&dev, 1u << UNSUPPORTED) == IOVIRT_OK);
    CHECK(iovirt_config_probe(ecam, DEVICE + 2) == IOVIRT_ABSENT);
    CHECK(errors(UNSUPPORTED) == 0);
    CHECK(iovirt_pio_error_mask(&dev, 0) == IOVIRT_OK);
}

static void lose_link(void)
{
    struct iovirt_pio_state state;
    volatile uint8_t *memory = world_bus(WINDOW);

    world_link(false);
    CHECK(iovirt_pio_get_state(&dev, &state) == IOVIRT_OK && !state.link_up);
    CHECK(iovirt_read64(memory) == ~UINT64_C(0) && world_bus_error() == 0);
    iovirt_write32(memory, 1);
    CHECK(iovirt_config_probe(ecam, DEVICE) == IOVIRT_ABSENT);
    CHECK(iovirt_pio_drain(&dev) == IOVIRT_OK);
    CHECK(errors(LINK_DOWN) >= 2);
    CHECK(iovirt_config_read(ecam, PORT, 0x0e, 1) == 1);   /* the port itself is there */
    world_link(true);
    world_run(100);
    CHECK(iovirt_pio_get_state(&dev, &state) == IOVIRT_OK && state.link_up);
}

int main(int arguments, char **argument)
{
    struct iovirt_pio_window window = {.base = WINDOW, .size = BYTES, .target = TARGET, .guest = 3,
                                       .completer = DEVICE};
    struct iovirt_reader reader;

    CHECK(arguments == 2);
    world_open(argument[1], 1);
    CHECK(iovirt_probe(&dev, world_registers()) == IOVIRT_OK && dev.windows >= 1);
    CHECK(iovirt_pio_ready(&dev) == IOVIRT_OK);
    CHECK(iovirt_pio_aperture(&dev, ECAM, UINT64_C(0x20000000)) == IOVIRT_OK);
    CHECK(iovirt_ecam_open(&dev, ECAM, 4, IOVIRT_ONES) == IOVIRT_OK);
    CHECK(iovirt_ecam_open(&dev, ECAM, 3, IOVIRT_ONES) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_config_retry(&dev, 1, 4, 10) == IOVIRT_OK);
    CHECK(iovirt_pio_quotas(&dev, 16, 16) == IOVIRT_OK);
    world_window(ECAM, UINT64_C(4) << 20, 0, true);
    world_function(0, BYTES);
    ecam = world_bus(ECAM);
    reader = listen();
    CHECK((iovirt_config_read(ecam, PORT, 0x0e, 1) & 0x7f) == 1);
    find_nothing();
    bring_up();
    world_window(WINDOW, BYTES, TARGET, false);
    iovirt_read32(world_bus(WINDOW));
    CHECK(world_bus_error() == 2 && errors(NO_TARGET) == 1);   /* the window is not open yet */
    CHECK(iovirt_pio_window_open(&dev, dev.windows, &window) == IOVIRT_NO_DEVICE);
    CHECK(iovirt_pio_window_open(&dev, 0, &window) == IOVIRT_OK);
    use_memory();
    interrupt(&reader);
    lose_link();
    bring_up();
    use_memory();
    CHECK(errors(LINK_DOWN) == 0);
    world_run(1000);
    while (iovirt_service(&reader, 8, hear, NULL) == 8)
        ;
    CHECK(told >= 3);
    CHECK(iovirt_pio_window_close(&dev, 0) == IOVIRT_OK);
    iovirt_read32(world_bus(WINDOW));
    CHECK(errors(NO_TARGET) == 1);
    printf("errors told %u, clocks %llu\n", told, (unsigned long long)world_clocks());
    world_close();
    return 0;
}
