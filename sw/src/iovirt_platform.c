/* Platform with memory-mapped registers and coherent memory behind plain pointers. */
#include "iovirt_platform.h"

#include <stdatomic.h>

/* Order of memory and I/O; C11 fences order memory alone on some machines. */
static void full_fence(void)
{
#if defined(__riscv)
    __asm__ volatile("fence iorw, iorw" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dsb sy" ::: "memory");
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

uint8_t iovirt_read8(const volatile void *address)
{
    uint8_t value = *(const volatile uint8_t *)address;

    full_fence();
    return value;
}

uint16_t iovirt_read16(const volatile void *address)
{
    uint16_t value = *(const volatile uint16_t *)address;

    full_fence();
    return value;
}

uint32_t iovirt_read32(const volatile void *address)
{
    uint32_t value = *(const volatile uint32_t *)address;

    full_fence();
    return value;
}

uint64_t iovirt_read64(const volatile void *address)
{
    uint64_t value = *(const volatile uint64_t *)address;

    full_fence();
    return value;
}

void iovirt_write8(volatile void *address, uint8_t value)
{
    full_fence();
    *(volatile uint8_t *)address = value;
}

void iovirt_write16(volatile void *address, uint16_t value)
{
    full_fence();
    *(volatile uint16_t *)address = value;
}

void iovirt_write32(volatile void *address, uint32_t value)
{
    full_fence();
    *(volatile uint32_t *)address = value;
}

void iovirt_write64(volatile void *address, uint64_t value)
{
    full_fence();
    *(volatile uint64_t *)address = value;
}

uint64_t iovirt_load64(const volatile uint64_t *address)
{
    return *address;
}

void iovirt_store64(volatile uint64_t *address, uint64_t value)
{
    *address = value;
}

void iovirt_rmb(void)
{
    atomic_thread_fence(memory_order_acquire);
}

bool iovirt_wait(uint32_t tries)
{
    return tries < 100000;
}
