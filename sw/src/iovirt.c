/* Discovery, MSI windows, error log. */
#include "iovirt.h"

#include <stddef.h>

#include "iovirt_internal.h"

#define MAGIC 0x0000747269766f69u /* "iovirt" */

/* Pages of a part, from its entry of the directory; null if it is not built. */
static volatile uint8_t *pages_of(const struct iovirt *dev, size_t offset)
{
    uint64_t entry = iovirt_read64(dev->registers + offset);
    uint64_t first = entry & 0xffff, count = entry >> 16 & 0xffff;

    return count ? dev->registers + first * 4096 : NULL;
}

int iovirt_probe(struct iovirt *dev, volatile void *registers)
{
    struct iovirt found = {0};
    uint64_t geometry;

    found.registers = (volatile uint8_t *)registers;
    if (iovirt_read64(found.registers + offsetof(iovirt_t, identification.magic)) != MAGIC)
        return IOVIRT_NO_DEVICE;
    for (uint32_t tries = 0;; ++tries) {
        uint32_t status = iovirt_read32(found.registers + offsetof(iovirt_t, control.status));

        if (status & IOVIRT__CONTROL__STATUS__READY_bm)
            break;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
    geometry = iovirt_read64(found.registers + offsetof(iovirt_t, identification.irq_geometry));
    found.interrupts = pages_of(&found, offsetof(iovirt_t, identification.directory_interrupts));
    found.table = pages_of(&found, offsetof(iovirt_t, identification.directory_irt));
    found.queues = pages_of(&found, offsetof(iovirt_t, identification.directory_eq_control));
    found.pages = pages_of(&found, offsetof(iovirt_t, identification.directory_eq_guest));
    found.pio = pages_of(&found, offsetof(iovirt_t, identification.directory_pio));
    found.entries = (uint32_t)FIELD(geometry, IDENTIFICATION__IRQ_GEOMETRY__IRT_ENTRIES);
    found.queue_count = (uint32_t)FIELD(geometry, IDENTIFICATION__IRQ_GEOMETRY__QUEUES);
    found.wires = (uint32_t)FIELD(geometry, IDENTIFICATION__IRQ_GEOMETRY__WIRES);
    found.tick = UINT32_C(1) << FIELD(geometry, IDENTIFICATION__IRQ_GEOMETRY__TICK_LOG2);
    geometry = iovirt_read64(found.registers + offsetof(iovirt_t, identification.pio_geometry));
    found.windows = (uint32_t)FIELD(geometry, IDENTIFICATION__PIO_GEOMETRY__WINDOWS);
    *dev = found;
    return IOVIRT_OK;
}

void iovirt_port_set(const struct iovirt *dev, uint16_t rid, bool check)
{
    volatile uint8_t *place = dev->registers + offsetof(iovirt_t, control.root_port);
    uint64_t now = iovirt_read64(place);

    now &= ~(uint64_t)(IOVIRT__CONTROL__ROOT_PORT__CHECK_bm
                       | IOVIRT__CONTROL__ROOT_PORT__COMPLETER_ID_bm);
    iovirt_write64(place, now | PLACE(rid, CONTROL__ROOT_PORT__COMPLETER_ID)
                              | PLACE(check, CONTROL__ROOT_PORT__CHECK));
}

static volatile uint8_t *window_register(const struct iovirt *dev, enum iovirt_window which)
{
    return dev->interrupts + (which == IOVIRT_WINDOW_32
                              ? offsetof(iovirt__interrupts_t, msi_window_32)
                              : offsetof(iovirt__interrupts_t, msi_window_64));
}

int iovirt_window_open(const struct iovirt *dev, enum iovirt_window which, uint64_t base)
{
    if (!dev->interrupts)
        return IOVIRT_NO_DEVICE;
    if (base % IOVIRT_WINDOW_BYTES || (which == IOVIRT_WINDOW_32 && base >> 32))
        return IOVIRT_BAD_ARGUMENT;
    /* A window that is on must not move, and it must be there as a whole before it is on. */
    iovirt_window_close(dev, which);
    iovirt_write64(window_register(dev, which), base);
    iovirt_write64(window_register(dev, which),
                   base | IOVIRT__INTERRUPTS__MSI_WINDOW_64__ENABLE_bm);
    return IOVIRT_OK;
}

void iovirt_window_close(const struct iovirt *dev, enum iovirt_window which)
{
    uint64_t now;

    if (!dev->interrupts)
        return;
    now = iovirt_read64(window_register(dev, which));
    now &= ~(uint64_t)IOVIRT__INTERRUPTS__MSI_WINDOW_64__ENABLE_bm;
    iovirt_write64(window_register(dev, which), now);
}

uint64_t iovirt_message_address(uint64_t window_base, uint32_t index, bool several)
{
    return window_base + 8 * (uint64_t)index + (several ? 4 : 0);
}

bool iovirt_error_take(const struct iovirt *dev, struct iovirt_error *error)
{
    volatile uint8_t *status = dev->registers + offsetof(iovirt_t, control.error_status);
    uint32_t now = iovirt_read32(status);
    uint64_t record;

    if (!(now & IOVIRT__CONTROL__ERROR_STATUS__VALID_bm))
        return false;
    record = iovirt_read64(dev->registers + offsetof(iovirt_t, control.error_record));
    error->cause = (uint8_t)FIELD(record, CONTROL__ERROR_RECORD__CAUSE);
    error->segment = (uint8_t)FIELD(record, CONTROL__ERROR_RECORD__SEGMENT);
    error->rid = (uint16_t)FIELD(record, CONTROL__ERROR_RECORD__RID);
    error->address = iovirt_read64(dev->registers + offsetof(iovirt_t, control.error_address));
    /* What comes after this look is `more` of a record that nobody has seen, so look last. */
    error->more = iovirt_read32(status) & IOVIRT__CONTROL__ERROR_STATUS__MORE_bm;
    iovirt_write32(status, IOVIRT__CONTROL__ERROR_STATUS__VALID_bm);
    return true;
}
