/*
 * What the driver needs of its platform. sw/src/iovirt_platform.c is an implementation for
 * memory-mapped registers and plain pointers; a kernel links its own instead.
 */
#ifndef IOVIRT_PLATFORM_H
#define IOVIRT_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Registers (Linux: readl, writel, readq, writeq). A write is issued after all memory accesses that
 * come before it in the program, and what comes after a read is done after it. On a 32-bit register
 * port, accesses of 8 bytes are two of 4, the lower half first. Accesses of 1 and 2 bytes are for
 * configuration space only.
 */
uint8_t iovirt_read8(const volatile void *address);
uint16_t iovirt_read16(const volatile void *address);
uint32_t iovirt_read32(const volatile void *address);
uint64_t iovirt_read64(const volatile void *address);
void iovirt_write8(volatile void *address, uint8_t value);
void iovirt_write16(volatile void *address, uint16_t value);
void iovirt_write32(volatile void *address, uint32_t value);
void iovirt_write64(volatile void *address, uint64_t value);

/*
 * Memory that the hardware shares: 8 bytes, aligned, in one access (Linux: READ_ONCE, WRITE_ONCE of
 * coherent memory). Addresses are never dereferenced but here.
 */
uint64_t iovirt_load64(const volatile uint64_t *address);
void iovirt_store64(volatile uint64_t *address, uint64_t value);

/* Loads before it are done before loads after it (Linux: dma_rmb). */
void iovirt_rmb(void);

/*
 * Called between two looks at a register that is polled; `tries` counts them from 0. False gives
 * up: the call that polls returns IOVIRT_TIMEOUT. 1 ms is ample for all that is polled here.
 */
bool iovirt_wait(uint32_t tries);

#ifdef __cplusplus
}
#endif

#endif /* IOVIRT_PLATFORM_H */
