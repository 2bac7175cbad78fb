/* Registers of the plain model, and the driver's platform on top of it. */
#include <stddef.h>
#include <string.h>

#include "iovirt_platform.h"
#include "iovirt_registers.h"
#include "model.h"

#define OFFSET(member) offsetof(iovirt_t, member)

static uint64_t read_queue(struct queue *queue, unsigned word)
{
    switch (word) {
    case 2: return queue->run | queue->drop_new << 1 | queue->once << 2 | queue->size_log2 << 8;
    case 3: return queue->moderation;
    case 8: return queue->run | model_busy(queue) << 1 | queue->error << 2 | queue->notifying << 3;
    case 9: return queue->accepted;
    case 10: return queue->tail;
    case 11: return queue->head;
    case 12: return queue->arm;
    case 13: return queue->dropped;
    case 14: return queue->forged;
    case 15: return queue->lost;
    default: return 0;
    }
}

static void write_control(struct queue *queue, uint32_t value)
{
    uint32_t size_log2 = value >> 8 & 31;
    bool run = value & 1;

    queue->once = value >> 2 & 1;
    queue->drop_new = value >> 1 & 1;
    if (!run) {
        queue->run = false;
    } else if (!queue->run && !model_busy(queue) && size_log2 >= 1 && size_log2 <= 16) {
        queue->run = true;
        queue->error = queue->fired = false;
        queue->size_log2 = size_log2;
        queue->accepted = queue->tail;
        model_judge_again(queue);
    }
}

static void write_queue(struct queue *queue, unsigned word, uint32_t value)
{
    switch (word) {
    case 0: queue->base_low = value; break;
    case 1: queue->base_high = value; break;
    case 2: write_control(queue, value); break;
    case 3: queue->moderation = value; break;
    case 4: case 5: case 6: case 7: queue->notify[word - 4] = value; break;
    case 14: queue->forged = 0; break;
    case 10:
        if (!queue->run && !model_busy(queue))
            queue->tail = queue->head = queue->arm = value;
        break;
    }
}

static void write_page(struct queue *queue, unsigned offset, uint32_t value)
{
    if (offset == 0 && value - queue->head > queue->tail - queue->head)
        ++queue->forged;
    else if (offset == 0)
        queue->head = value;
    else if (offset == 8)
        queue->arm = value, queue->fired = false, model_judge_again(queue);
    else if (offset == 16)
        queue->mask = value & 1;
}

static uint64_t read_page(struct queue *queue, unsigned offset)
{
    switch (offset) {
    case 0: return queue->head;
    case 8: return queue->arm;
    case 16: return queue->mask;
    case 24: return queue->tail;
    case 40: return queue->size_log2;
    default: return 0;
    }
}

static void write_entry(struct entry *entry, unsigned word, uint64_t value)
{
    entry->staged[word] = value;
    if (word < 3)
        return;
    memcpy(entry->word, entry->staged, sizeof entry->word);
    memset(entry->staged, 0, sizeof entry->staged);
    entry->last_valid = false;
    entry->pending &= entry->word[0] & 1;
}

static uint64_t read_register(uint64_t at)
{
    if (at >= OFFSET(guest))
        return read_page(&model.queues[(at - OFFSET(guest)) / 4096], at % 4096);
    if (at >= OFFSET(irt)) {
        struct entry *entry = &model.entries[(at - OFFSET(irt)) / 32];

        return entry->word[at / 8 % 4] | (at % 32 == 24 ? (uint64_t)entry->pending << 63 : 0);
    }
    if (at >= OFFSET(queue))
        return read_queue(&model.queues[(at - OFFSET(queue)) / 64], at / 4 % 16);
    switch (at) {
    case OFFSET(identification.magic): return UINT64_C(0x747269766f69);
    case OFFSET(identification.irq_geometry):
        return ENTRIES | QUEUES << 16 | UINT64_C(2) << 32 | UINT64_C(7) << 40;
    case OFFSET(identification.directory_irt): return OFFSET(irt) / 4096 | 2 << 16;
    case OFFSET(identification.directory_eq_control): return OFFSET(queue) / 4096 | 1 << 16;
    case OFFSET(identification.directory_eq_guest): return OFFSET(guest) / 4096 | 8 << 16;
    case OFFSET(identification.directory_interrupts): return OFFSET(interrupts) / 4096 | 1 << 16;
    case OFFSET(control.status): return 1;
    case OFFSET(control.error_status): return model.error_record != 0;
    case OFFSET(control.error_record): return model.error_record;
    case OFFSET(control.error_address): return model.error_place;
    case OFFSET(interrupts.irq_wires): return model.wires;
    default: return 0;
    }
}

static void write_register(uint64_t at, uint64_t value)
{
    if (at >= OFFSET(guest))
        write_page(&model.queues[(at - OFFSET(guest)) / 4096], at % 4096, (uint32_t)value);
    else if (at >= OFFSET(irt))
        write_entry(&model.entries[(at - OFFSET(irt)) / 32], at / 8 % 4, value);
    else if (at >= OFFSET(queue))
        write_queue(&model.queues[(at - OFFSET(queue)) / 64], at / 4 % 16, (uint32_t)value);
    else if (at == OFFSET(interrupts.msi_window_32))
        model.window[0] = value;
    else if (at == OFFSET(interrupts.msi_window_64))
        model.window[1] = value;
    else if (at == OFFSET(interrupts.storm))
        model.storm = (uint32_t)value;
    else if (at == OFFSET(interrupts.irq_wires))
        model.wires &= ~(uint32_t)value;
    else if (at == OFFSET(control.error_status) && value & 1)
        model.error_record = 0;
}

/* The driver's platform. */

static void step(void)
{
    devices_step();
    world_run(4 + random_below(20));
}

static uint64_t place(const volatile void *address)
{
    return (uintptr_t)address - REGISTERS;
}

/* Only configuration space has accesses of 1 and 2 bytes, and this model has none. */
uint8_t iovirt_read8(const volatile void *address)
{
    fail("read of 1 byte at %p", (const void *)(uintptr_t)address);
}

uint16_t iovirt_read16(const volatile void *address)
{
    fail("read of 2 bytes at %p", (const void *)(uintptr_t)address);
}

void iovirt_write8(volatile void *address, uint8_t value)
{
    fail("write of %u at %p", value, (const void *)(uintptr_t)address);
}

void iovirt_write16(volatile void *address, uint16_t value)
{
    fail("write of %u at %p", value, (const void *)(uintptr_t)address);
}

uint32_t iovirt_read32(const volatile void *address)
{
    step();
    return (uint32_t)read_register(place(address));
}

uint64_t iovirt_read64(const volatile void *address)
{
    step();
    return read_register(place(address));
}

void iovirt_write32(volatile void *address, uint32_t value)
{
    step();
    write_register(place(address), value);
}

void iovirt_write64(volatile void *address, uint64_t value)
{
    step();
    write_register(place(address), value);
}

uint64_t iovirt_load64(const volatile uint64_t *address)
{
    devices_step();
    world_run(random_below(6));
    return *address;
}

void iovirt_store64(volatile uint64_t *address, uint64_t value)
{
    *address = value;
}

void iovirt_rmb(void)
{
}

bool iovirt_wait(uint32_t tries)
{
    world_run(16);
    return tries < 2000;
}
