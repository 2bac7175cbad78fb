/* Driver interface of iovirt: programmed I/O. Rules of iovirt.h hold here, too. */
#ifndef IOVIRT_PIO_H
#define IOVIRT_PIO_H

#include "iovirt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a core gets for an access that fails. */
enum iovirt_policy {
    IOVIRT_ONES,    /* all ones; a write is dropped */
    IOVIRT_SLVERR,  /* an error response of the bus */
    IOVIRT_POISON,  /* all ones marked as poison, if the fabric can carry that */
};

/* Wait until the block is ready after reset. */
int iovirt_pio_ready(const struct iovirt *dev);

/*
 * Physical addresses that no DMA may reach. Set it before windows are opened, around all of them.
 * `size` is a power of two of at least 4 KiB, `base` a multiple of it; a size of 0 switches it off.
 */
int iovirt_pio_aperture(const struct iovirt *dev, uint64_t base, uint64_t size);

/* A window of the cores onto device memory. Sizes are powers of two of at least 4 KiB. */
struct iovirt_pio_window {
    uint64_t base;            /* physical address, a multiple of the size */
    uint64_t size;
    uint64_t target;          /* PCIe address, a multiple of the size */
    enum iovirt_policy policy;
    uint16_t guest;           /* in quotas and in records of errors */
    uint16_t completer;       /* who may answer reads ... */
    uint16_t completer_mask;  /* ... but for these bits; 0xffff: anybody */
};

int iovirt_pio_window_open(const struct iovirt *dev, uint32_t number,
                           const struct iovirt_pio_window *window);
int iovirt_pio_window_close(const struct iovirt *dev, uint32_t number);

/* Requests in flight at most, per core and per guest. 0x3ff: no limit. */
int iovirt_pio_quotas(const struct iovirt *dev, uint16_t core, uint16_t guest);

/* Configuration space. `buses` is a power of two, 1 to 256. */
int iovirt_ecam_open(const struct iovirt *dev, uint64_t base, uint32_t buses,
                     enum iovirt_policy policy);
void iovirt_ecam_close(const struct iovirt *dev);

/*
 * A register of a function, `ecam` being the window as this program sees it. `size` is 1, 2 or 4,
 * and `offset` a multiple of it. A write has reached the device when this returns. What fails reads
 * as all ones.
 */
uint32_t iovirt_config_read(const volatile void *ecam, uint16_t rid, uint32_t offset,
                            unsigned size);
void iovirt_config_write(volatile void *ecam, uint16_t rid, uint32_t offset, unsigned size,
                         uint32_t value);

enum iovirt_presence { IOVIRT_ABSENT, IOVIRT_NOT_READY, IOVIRT_PRESENT };

/* Whether there is a function, and whether it is ready for more. */
enum iovirt_presence iovirt_config_probe(const volatile void *ecam, uint16_t rid);

/*
 * How often, and how long, a request is repeated that a device answers with retry status: every
 * `pause` us, `count` times, for 1024 us times `duration` at most. A count of 0 tells the core.
 */
int iovirt_config_retry(const struct iovirt *dev, uint16_t pause, uint16_t count,
                        uint16_t duration);

struct iovirt_pio_state {
    bool link_up;
    bool idle;           /* no request is in flight */
    uint16_t tags_used;  /* in flight, and in quarantine after a time-out */
};

int iovirt_pio_get_state(const struct iovirt *dev, struct iovirt_pio_state *state);

/*
 * Wait until all requests have ended. With the link down this takes a bounded time; else as long as
 * the completion time-out. Nobody may start new accesses meanwhile.
 */
int iovirt_pio_drain(const struct iovirt *dev);

struct iovirt_pio_error {
    uint8_t cause;      /* see error_record in the register document */
    uint8_t core;
    uint16_t guest;     /* owner of the window */
    uint16_t rid;       /* that answered; 0: nobody */
    uint16_t tag;
    uint64_t address;   /* on PCIe, or in the ECAM window; 0: unknown */
};

typedef void iovirt_pio_handler(void *context, const struct iovirt_pio_error *error);

/* Handle the records that the ring keeps, and make room. Returns how many. */
uint32_t iovirt_pio_errors(const struct iovirt *dev, iovirt_pio_handler *handle, void *context);

/* Causes (bit n: cause n) that are counted only. */
int iovirt_pio_error_mask(const struct iovirt *dev, uint32_t causes);

#ifdef __cplusplus
}
#endif

#endif /* IOVIRT_PIO_H */
