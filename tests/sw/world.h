/*
 * What the driver runs in: hardware, memory, and devices that send interrupts whenever the driver
 * touches a register or memory. model.c is a plain model of the hardware, rtl.c is the hardware.
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "iovirt.h"

#define WINDOW_32 UINT64_C(0xfee00000)
#define WINDOW_64 UINT64_C(0x5a12340000)
#define RINGS UINT64_C(0x200000)
#define MAILBOXES UINT64_C(0x8000)

/* Each world. */
void world_open(const char *library, uint64_t seed);
void world_close(void);
volatile void *world_registers(void);
volatile uint64_t *world_memory(uint64_t spa);
void world_send(uint16_t rid, uint64_t address, uint32_t data);
void world_intx(uint16_t rid, unsigned pin, bool level);
void world_run(unsigned clocks);
uint64_t world_clocks(void);
void world_break(uint64_t spa, uint64_t bytes, bool broken);   /* writes of records fail */
void world_slow(unsigned latency, unsigned jitter);            /* of memory */

/* The hardware only. */
volatile void *world_bus(uint64_t physical);                   /* what cores access devices by */
void world_window(uint64_t physical, uint64_t size, uint64_t target, bool configuration);
void world_function(uint8_t devfn, uint64_t bar_bytes);        /* an endpoint behind the port */
void world_link(bool up);
unsigned world_bus_error(void);                                /* of the last access of a core */

/* Devices. */
struct source {
    uint32_t index;       /* entry */
    uint16_t rid;
    uint64_t address;
    uint32_t select;      /* message data, if there are `several` */
    bool several;
    bool live;            /* its entry admits it */
    uint32_t interval;    /* clocks between interrupts, in the mean */
    uint64_t next;        /* clock of the next one */
    uint32_t left;        /* interrupts still to be sent */
    uint32_t sent, received;
};

#define SOURCES 48

extern struct source sources[SOURCES];
extern unsigned source_count;

struct source *add_source(uint32_t index, uint16_t rid, uint32_t interval, uint32_t number);
void devices_step(void);
bool devices_done(void);

/* Both. */
uint32_t random_below(uint32_t limit);
void random_seed(uint64_t seed);
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#define CHECK(condition) \
    ((condition) ? (void)0 : fail("%s:%d: %s", __FILE__, __LINE__, #condition))

#endif /* WORLD_H */
