/* The hardware: a compiled model of the whole block, with its memory, behind dlopen. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "iovirt_platform.h"
#include "world.h"

/* Operations and events of the bench: sim/iovirt_sim/verilated/cpp/bench.h and common.h. */
enum { OP_RUN = 2, OP_MEMORY_WRITE, OP_MEMORY_READ, OP_FAIL = 7, OP_CSR_WRITE, OP_CSR_READ,
       OP_TLP = 13, OP_WAIT, OP_SET = 18, OP_MARK = 22, OP_PIO = 24, OP_WINDOW, OP_FUNCTION };
enum { EVENT_CSR = 1, EVENT_MEMORY = 5, EVENT_MARK = 7, EVENT_PIO = 10, EVENT_WORDS = 8 };

/* What the driver takes for pointers. */
#define REGISTERS UINT64_C(0x1000000000)
#define MEMORY UINT64_C(0x2000000000000)
#define BUS UINT64_C(0x4000000000000)

static void *bench;
static uint64_t (*bench_run)(void *, const uint64_t *, uint64_t);
static const uint64_t *(*bench_events)(void *, uint64_t *);
static void (*bench_clear)(void *);
static void (*bench_destroy)(void *);
static const char *(*bench_errors)(void *);
static const char *(*bench_settings)(void);

/* Run one operation; return words of its last event of `kind`, or null. */
static const uint64_t *operate(unsigned opcode, uint32_t argument, unsigned count,
                               const uint64_t *words, unsigned kind)
{
    static uint64_t found[EVENT_WORDS];
    uint64_t program[40] = {opcode | (uint64_t)(count + 1) << 8 | (uint64_t)argument << 32};
    uint64_t length, failed;
    const uint64_t *event;
    bool seen = false;

    for (unsigned n = 0; n < count; ++n)
        program[n + 1] = words[n];
    failed = bench_run(bench, program, count + 1);
    if (failed) {
        fprintf(stderr, "%s", bench_errors(bench));
        exit(1);
    }
    event = bench_events(bench, &length);
    for (uint64_t at = 0; at < length; at += event[at] >> 8 & 0xffffff)
        if ((event[at] & 255) == kind) {
            for (unsigned n = 0; n < EVENT_WORDS && n + 1 < (event[at] >> 8 & 0xffffff); ++n)
                found[n] = event[at + 1 + n];
            seen = true;
        }
    bench_clear(bench);
    return seen ? found : NULL;
}

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);

    if (!found)
        fail("%s", dlerror());
    return found;
}

static void set(const char *name, uint64_t value)
{
    char text[64];
    uint32_t number = 0;

    for (const char *names = bench_settings(); sscanf(names, "%63s", text) == 1; ++number) {
        unsigned length = 0;

        while (text[length] && text[length] == name[length])
            ++length;
        if (!text[length] && !name[length]) {
            operate(OP_SET, number, 1, &value, 0);
            return;
        }
        while (*names && *names++ != '\n')
            ;
    }
    fail("no setting %s", name);
}

#define LOAD(pointer, name) *(void **)&(pointer) = symbol(library, name)

void world_open(const char *path, uint64_t seed)
{
    void *library = dlopen(path, RTLD_NOW), *(*create)(const char *);

    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    LOAD(create, "iovirt_create");
    LOAD(bench_run, "iovirt_run");
    LOAD(bench_events, "iovirt_events");
    LOAD(bench_clear, "iovirt_clear");
    LOAD(bench_destroy, "iovirt_destroy");
    LOAD(bench_errors, "iovirt_errors");
    LOAD(bench_settings, "iovirt_settings_names");
    bench = create("");
    set("seed", seed);
    set("table_reorder", 1);
    set("dma_reorder", 1);
    set("table_stall", 24);
}

void world_close(void)
{
    bench_destroy(bench);
}

void world_slow(unsigned latency, unsigned jitter)
{
    set("table_write_latency", latency);
    set("table_jitter", jitter);
}

volatile void *world_registers(void)
{
    return (volatile void *)(uintptr_t)REGISTERS;
}

volatile uint64_t *world_memory(uint64_t spa)
{
    return (volatile uint64_t *)(uintptr_t)(MEMORY + spa);
}

void world_run(unsigned clocks)
{
    uint64_t words[] = {clocks};

    operate(OP_RUN, 0, 1, words, 0);
}

uint64_t world_clocks(void)
{
    return bench ? operate(OP_MARK, 0, 0, NULL, EVENT_MARK)[0] : 0;
}

static void tlp(uint64_t high, uint64_t low, unsigned dwords, uint32_t data)
{
    uint64_t words[] = {high, low, (uint64_t)dwords << 48, data};

    operate(OP_TLP, 0, 3 + dwords, words, 0);
}

void world_send(uint16_t rid, uint64_t address, uint32_t data)
{
    uint64_t second = (uint64_t)rid << 16 | 15;

    if (address >> 32)
        tlp(UINT64_C(0x60000001) << 32 | second, address, 1, data);
    else
        tlp(UINT64_C(0x40000001) << 32 | second, address << 32, 1, data);
}

/* Assert_INTx is message code 20h + pin, Deassert_INTx is 24h + pin; routed to the receiver. */
void world_intx(uint16_t rid, unsigned pin, bool level)
{
    tlp(UINT64_C(0x34000000) << 32 | (uint64_t)rid << 16 | (level ? 0x20 : 0x24) | pin, 0, 0, 0);
}

void world_break(uint64_t spa, uint64_t bytes, bool broken)
{
    uint64_t words[] = {spa, bytes};

    operate(OP_FAIL, broken ? 3 << 2 : 0, 2, words, 0);
}

/* Cores and devices. */

static unsigned bus_error;

volatile void *world_bus(uint64_t physical)
{
    return (volatile void *)(uintptr_t)(BUS + physical);
}

unsigned world_bus_error(void)
{
    return bus_error;
}

void world_window(uint64_t physical, uint64_t size, uint64_t target, bool configuration)
{
    uint64_t words[] = {physical, size, target};

    operate(OP_WINDOW, configuration, 3, words, 0);
}

void world_link(bool up)
{
    set("link_up", up);
    world_run(4);
}

/* {parent, devfn, bus, bridge, BARs}, {BAR, wide}, size, then {Dword, value} and mask of each. */
void world_function(uint8_t devfn, uint64_t bar_bytes)
{
    uint64_t low = UINT64_C(0xffffffff);
    uint64_t words[] = {
        0xffff | (uint64_t)devfn << 16 | UINT64_C(1) << 40, 0, bar_bytes,
        0 | UINT64_C(0x10f01af4) << 32, 0,
        1 | UINT64_C(0) << 32, 0x0546,
        2 | UINT64_C(0x08800001) << 32, 0,
        3, 0xff,
        4, low & ~(bar_bytes - 1),
    };

    operate(OP_FUNCTION, 0, sizeof words / sizeof *words, words, 0);
}

static uint64_t access_bus(bool write, uint64_t physical, unsigned size, uint64_t value)
{
    const unsigned any = 4, group = 1;
    uint64_t words[] = {physical, (uint64_t)__builtin_ctz(size) | UINT64_C(1) << 32, value};
    uint64_t program[] = {group};
    const uint64_t *answer;

    devices_step();
    operate(OP_PIO, group | (uint32_t)write << 16 | 1u << 17 | any << 18, write ? 3 : 2, words, 0);
    answer = operate(OP_WAIT, 1, 1, program, EVENT_PIO);
    bus_error = answer[0] & 3;
    return write ? 0 : answer[7];
}

/* The driver's platform. */

static uint64_t access_register(bool write, const volatile void *address, unsigned size,
                                uint64_t value)
{
    uint64_t words[] = {(uintptr_t)address - REGISTERS, value};
    const uint64_t *answer;

    devices_step();
    answer = operate(write ? OP_CSR_WRITE : OP_CSR_READ, size, write ? 2 : 1, words, EVENT_CSR);
    if (answer && answer[2])
        fail("the register at %llx answers %llu", (unsigned long long)words[0],
             (unsigned long long)answer[2]);
    return answer ? answer[0] : 0;
}

static uint64_t access(bool write, const volatile void *address, unsigned size, uint64_t value)
{
    uint64_t at = (uintptr_t)address;

    return at >= BUS ? access_bus(write, at - BUS, size, value)
                     : access_register(write, address, size, value);
}

#define ACCESS(bits) \
    uint##bits##_t iovirt_read##bits(const volatile void *address) \
    { \
        return (uint##bits##_t)access(false, address, bits / 8, 0); \
    } \
    \
    void iovirt_write##bits(volatile void *address, uint##bits##_t value) \
    { \
        access(true, address, bits / 8, value); \
    }

ACCESS(8)
ACCESS(16)
ACCESS(32)
ACCESS(64)

uint64_t iovirt_load64(const volatile uint64_t *address)
{
    uint64_t words[] = {(uintptr_t)address - MEMORY, 1};

    devices_step();
    world_run(1 + random_below(8));
    return operate(OP_MEMORY_READ, 0, 2, words, EVENT_MEMORY)[0];
}

void iovirt_store64(volatile uint64_t *address, uint64_t value)
{
    uint64_t words[] = {(uintptr_t)address - MEMORY, value};

    operate(OP_MEMORY_WRITE, 0, 2, words, 0);
}

void iovirt_rmb(void)
{
}

bool iovirt_wait(uint32_t tries)
{
    world_run(16);
    return tries < 2000;
}
