/* Programmed I/O: windows, configuration space, errors. */
#include "iovirt_pio.h"

#include <stddef.h>

#include "iovirt_internal.h"

#define PIO(member) offsetof(iovirt__pio_t, member)
#define ENABLE UINT64_C(1)
#define POLICY_SHIFT 1

static bool is_size(uint64_t size)
{
    return size >= 4096 && !(size & (size - 1));
}

static volatile uint8_t *array(const struct iovirt *dev, size_t first, uint32_t number)
{
    return dev->pio + first + 8 * (size_t)number;
}

int iovirt_pio_ready(const struct iovirt *dev)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    for (uint32_t tries = 0;; ++tries) {
        if (iovirt_read32(dev->pio + PIO(pio_status)) & IOVIRT__PIO__PIO_STATUS__PIO_READY_bm)
            return IOVIRT_OK;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
}

/*
 * Bases change only while their window is off. A write of 8 bytes may be two of 4, so the switch is
 * thrown by a write that changes nothing else.
 */
static void switch_on(volatile uint8_t *place, uint64_t value)
{
    iovirt_write64(place, value);
    iovirt_write64(place, value | ENABLE);
}

int iovirt_pio_aperture(const struct iovirt *dev, uint64_t base, uint64_t size)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    if (size && (!is_size(size) || base & (size - 1)))
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(dev->pio + PIO(dma_aperture), 0);
    if (size) {
        iovirt_write64(dev->pio + PIO(dma_extent), size - 1);
        switch_on(dev->pio + PIO(dma_aperture), base);
    }
    return IOVIRT_OK;
}

int iovirt_pio_window_open(const struct iovirt *dev, uint32_t number,
                           const struct iovirt_pio_window *window)
{
    if (!dev->pio || number >= dev->windows)
        return IOVIRT_NO_DEVICE;
    if (!is_size(window->size) || window->base & (window->size - 1)
        || window->target & (window->size - 1) || window->policy > IOVIRT_POISON)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_pio_window_close(dev, number);
    iovirt_write64(array(dev, PIO(extent), number), window->size - 1);
    iovirt_write64(array(dev, PIO(target), number), window->target);
    iovirt_write64(array(dev, PIO(owner), number),
                   PLACE(window->guest, PIO__OWNERX__GUEST)
                   | PLACE(window->completer, PIO__OWNERX__COMPLETER)
                   | PLACE(window->completer_mask, PIO__OWNERX__COMPLETER_MASK));
    switch_on(array(dev, PIO(window), number),
              window->base | (uint64_t)window->policy << POLICY_SHIFT);
    return IOVIRT_OK;
}

int iovirt_pio_window_close(const struct iovirt *dev, uint32_t number)
{
    volatile uint8_t *place;

    if (!dev->pio || number >= dev->windows)
        return IOVIRT_NO_DEVICE;
    place = array(dev, PIO(window), number);
    iovirt_write64(place, iovirt_read64(place) & ~ENABLE);
    return IOVIRT_OK;
}

int iovirt_pio_quotas(const struct iovirt *dev, uint16_t core, uint16_t guest)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    /* With no request permitted, accesses would wait for ever. */
    if (!core || core > 0x3ff || !guest || guest > 0x3ff)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write32(dev->pio + PIO(quotas), (uint32_t)(PLACE(core, PIO__QUOTAS__CORE_LIMIT)
                                                      | PLACE(guest, PIO__QUOTAS__GUEST_LIMIT)));
    return IOVIRT_OK;
}

int iovirt_ecam_open(const struct iovirt *dev, uint64_t base, uint32_t buses,
                     enum iovirt_policy policy)
{
    uint64_t size = (uint64_t)buses << 20;
    uint32_t size_log2 = 20;

    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    if (!buses || buses > 256 || buses & (buses - 1) || base & (size - 1)
        || policy > IOVIRT_POISON)
        return IOVIRT_BAD_ARGUMENT;
    while (size >> size_log2 > 1)
        ++size_log2;
    iovirt_ecam_close(dev);
    switch_on(dev->pio + PIO(ecam_window),
              base | PLACE(policy, PIO__ECAM_WINDOW__POLICY)
              | PLACE(size_log2, PIO__ECAM_WINDOW__SIZE_LOG2));
    return IOVIRT_OK;
}

void iovirt_ecam_close(const struct iovirt *dev)
{
    volatile uint8_t *place = dev->pio + PIO(ecam_window);

    if (dev->pio)
        iovirt_write64(place, iovirt_read64(place) & ~ENABLE);
}

uint32_t iovirt_config_read(const volatile void *ecam, uint16_t rid, uint32_t offset,
                            unsigned size)
{
    const volatile uint8_t *place = (const volatile uint8_t *)ecam + ((size_t)rid << 12) + offset;

    return size == 1 ? iovirt_read8(place) : size == 2 ? iovirt_read16(place)
                                                       : iovirt_read32(place);
}

void iovirt_config_write(volatile void *ecam, uint16_t rid, uint32_t offset, unsigned size,
                         uint32_t value)
{
    volatile uint8_t *place = (volatile uint8_t *)ecam + ((size_t)rid << 12) + offset;

    if (size == 1)
        iovirt_write8(place, (uint8_t)value);
    else if (size == 2)
        iovirt_write16(place, (uint16_t)value);
    else
        iovirt_write32(place, value);
}

enum iovirt_presence iovirt_config_probe(const volatile void *ecam, uint16_t rid)
{
    uint32_t vendor = iovirt_config_read(ecam, rid, 0, 4) & 0xffff;

    /* 0001h is no vendor: with RRS software visibility it says that the function is not ready. */
    return vendor == 0xffff ? IOVIRT_ABSENT : vendor == 1 ? IOVIRT_NOT_READY : IOVIRT_PRESENT;
}

int iovirt_config_retry(const struct iovirt *dev, uint16_t pause, uint16_t count,
                        uint16_t duration)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    iovirt_write64(dev->pio + PIO(config_retry), PLACE(pause, PIO__CONFIG_RETRY__PAUSE)
                                                 | PLACE(count, PIO__CONFIG_RETRY__COUNT)
                                                 | PLACE(duration, PIO__CONFIG_RETRY__DURATION));
    return IOVIRT_OK;
}

int iovirt_pio_get_state(const struct iovirt *dev, struct iovirt_pio_state *state)
{
    uint32_t status;

    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    status = iovirt_read32(dev->pio + PIO(pio_status));
    state->link_up = status & IOVIRT__PIO__PIO_STATUS__LINK_UP_bm;
    state->idle = status & IOVIRT__PIO__PIO_STATUS__IDLE_bm;
    state->tags_used = (uint16_t)FIELD(status, PIO__PIO_STATUS__TAGS_USED);
    return IOVIRT_OK;
}

int iovirt_pio_drain(const struct iovirt *dev)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    for (uint32_t tries = 0;; ++tries) {
        if (iovirt_read32(dev->pio + PIO(pio_status)) & IOVIRT__PIO__PIO_STATUS__IDLE_bm)
            return IOVIRT_OK;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
}

uint32_t iovirt_pio_errors(const struct iovirt *dev, iovirt_pio_handler *handle, void *context)
{
    uint32_t ring, handled = 0;
    uint16_t head;

    if (!dev->pio)
        return 0;
    ring = iovirt_read32(dev->pio + PIO(pio_ring));
    head = (uint16_t)FIELD(ring, PIO__PIO_RING__HEAD);
    while (head != (uint16_t)FIELD(ring, PIO__PIO_RING__TAIL)) {
        struct iovirt_pio_error error;
        uint64_t record;

        iovirt_write32(dev->pio + PIO(pio_select), head & 255u);
        record = iovirt_read64(dev->pio + PIO(pio_record));
        error.cause = (uint8_t)FIELD(record, PIO__PIO_RECORD__CAUSE);
        error.core = (uint8_t)FIELD(record, PIO__PIO_RECORD__CORE);
        error.guest = (uint16_t)FIELD(record, PIO__PIO_RECORD__GUEST);
        error.rid = (uint16_t)FIELD(record, PIO__PIO_RECORD__RID);
        error.tag = (uint16_t)FIELD(record, PIO__PIO_RECORD__TAG);
        error.address = iovirt_read64(dev->pio + PIO(pio_record_address));
        handle(context, &error);
        ++head;
        ++handled;
    }
    if (handled)
        iovirt_write32(dev->pio + PIO(pio_ring), head);
    return handled;
}

int iovirt_pio_error_mask(const struct iovirt *dev, uint32_t causes)
{
    if (!dev->pio)
        return IOVIRT_NO_DEVICE;
    iovirt_write32(dev->pio + PIO(pio_error_mask), causes);
    return IOVIRT_OK;
}
