/* Sharing of devices: addresses, templates, functions, pages of guests, scheduler. */
#include "iovirt_vf.h"

#include <stddef.h>

#include "iovirt_internal.h"

#define SHARING(member) offsetof(iovirt__sharing_t, member)
#define ENABLE UINT64_C(1)
#define POLICY_SHIFT 1
#define RING_LOG2 22
#define TEMPLATES 0x14000u /* from the first page of tables on */
#define TEMPLATE_BYTES 128u
#define PAGE_BYTES 4096u

int iovirt_vf_open(struct iovirt_vf *vf, const struct iovirt *dev, unsigned offset_bits,
                   unsigned key_bits)
{
    struct iovirt_vf found = {.offset_bits = offset_bits, .key_bits = key_bits};
    uint64_t geometry, first;

    geometry = iovirt_read64(dev->registers + offsetof(iovirt_t, identification.share_geometry));
    found.guests = (uint32_t)FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__GUESTS);
    if (!found.guests)
        return IOVIRT_NO_DEVICE;
    if (offset_bits < 32 || offset_bits > 43 || key_bits > 16 || offset_bits + key_bits > 52)
        return IOVIRT_BAD_ARGUMENT;
    found.pairs = (uint32_t)FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__PAIRS);
    found.functions = (uint32_t)FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__FUNCTIONS);
    found.parameters = (uint32_t)FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__PARAMETERS);
    found.headers = FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__HEADERS);
    found.tick = UINT32_C(1) << FIELD(geometry, IDENTIFICATION__SHARE_GEOMETRY__TICK_LOG2);
    first = iovirt_read64(dev->registers + offsetof(iovirt_t, identification.directory_sharing));
    found.settings = dev->registers + (first & 0xffff) * PAGE_BYTES;
    first = iovirt_read64(dev->registers
                          + offsetof(iovirt_t, identification.directory_vf_control));
    found.tables = dev->registers + (first & 0xffff) * PAGE_BYTES;
    first = iovirt_read64(dev->registers + offsetof(iovirt_t, identification.directory_vf_guest));
    found.statistics = dev->registers + (first & 0xffff) * PAGE_BYTES;
    found.pio = dev->pio;
    for (uint32_t tries = 0;; ++tries) {
        if (iovirt_read64(found.settings + SHARING(sharing_status))
            & IOVIRT__SHARING__SHARING_STATUS__SHARE_READY_bm)
            break;
        if (!iovirt_wait(tries))
            return IOVIRT_TIMEOUT;
    }
    iovirt_write64(found.settings + SHARING(sharing_control),
                   PLACE(offset_bits, SHARING__SHARING_CONTROL__OFFSET_BITS)
                   | PLACE(key_bits, SHARING__SHARING_CONTROL__KEY_BITS));
    *vf = found;
    return IOVIRT_OK;
}

/* Addresses */

uint64_t iovirt_vf_address(const struct iovirt_vf *vf, uint32_t guest, uint16_t key,
                           enum iovirt_vf_kind kind, uint64_t offset)
{
    uint64_t above = (uint64_t)key << 12 | (uint64_t)(guest & 0xff) << 4 | (uint64_t)kind << 1;

    return above << vf->offset_bits | (offset & ((UINT64_C(1) << vf->offset_bits) - 1));
}

uint64_t iovirt_vf_ring_iova(uint32_t pair, bool completions)
{
    return ((uint64_t)pair << 1 | completions) << RING_LOG2;
}

uint64_t iovirt_vf_ring(const struct iovirt_vf *vf, uint32_t guest, uint16_t key, uint32_t pair,
                        bool completions)
{
    return iovirt_vf_address(vf, guest, key, IOVIRT_VF_RING,
                             iovirt_vf_ring_iova(pair, completions));
}

/* Set-up */

int iovirt_vf_template_set(const struct iovirt_vf *vf, uint32_t slot, const uint64_t words[16])
{
    if (slot >= IOVIRT_VF_TEMPLATES)
        return IOVIRT_NO_DEVICE;
    for (uint32_t n = 0; n < 16; ++n)
        iovirt_write64(vf->tables + TEMPLATES + slot * TEMPLATE_BYTES + 8 * n, words[n]);
    return IOVIRT_OK;
}

int iovirt_vf_function_set(const struct iovirt_vf *vf, uint32_t number,
                           const struct iovirt_vf_function *function)
{
    uint64_t identity;

    if (number >= vf->functions)
        return IOVIRT_NO_DEVICE;
    if (function->bar % PAGE_BYTES || function->mode > IOVIRT_VF_BY_PASID
        || function->prp_list >= IOVIRT_VF_TEMPLATES || function->typed_list >= IOVIRT_VF_TEMPLATES
        || function->range_list >= IOVIRT_VF_TEMPLATES || function->count > 256
        || function->stride_log2 > 15 || function->pasid >> 20)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_vf_function_clear(vf, number);
    iovirt_write64(vf->settings + SHARING(shared_bar) + 8 * number, function->bar);
    iovirt_write64(vf->settings + SHARING(shared_lists) + 8 * number,
                   PLACE(function->prp_list, SHARING__SHARED_LISTSX__PRP_LIST)
                   | PLACE(function->typed_list, SHARING__SHARED_LISTSX__TYPED_LIST)
                   | PLACE(function->range_list, SHARING__SHARED_LISTSX__RANGE_LIST)
                   | PLACE(function->head_delta, SHARING__SHARED_LISTSX__HEAD_DELTA)
                   | PLACE(function->pasid, SHARING__SHARED_LISTSX__PASID));
    identity = PLACE(function->mode, SHARING__SHARED_IDENTITYX__MODE)
               | PLACE(function->segment, SHARING__SHARED_IDENTITYX__SEGMENT)
               | PLACE(function->rid, SHARING__SHARED_IDENTITYX__RID)
               | PLACE(function->first_guest, SHARING__SHARED_IDENTITYX__FIRST_GUEST)
               | PLACE(function->count, SHARING__SHARED_IDENTITYX__COUNT)
               | PLACE(function->stride_log2, SHARING__SHARED_IDENTITYX__STRIDE_LOG2);
    /* All of it is there before it counts. */
    iovirt_write64(vf->settings + SHARING(shared_identity) + 8 * number, identity);
    iovirt_write64(vf->settings + SHARING(shared_identity) + 8 * number, identity | ENABLE);
    return IOVIRT_OK;
}

int iovirt_vf_function_clear(const struct iovirt_vf *vf, uint32_t number)
{
    volatile uint8_t *place = vf->settings + SHARING(shared_identity) + 8 * number;

    if (number >= vf->functions)
        return IOVIRT_NO_DEVICE;
    iovirt_write64(place, iovirt_read64(place) & ~ENABLE);
    return IOVIRT_OK;
}

int iovirt_vf_pages_open(const struct iovirt_vf *vf, const struct iovirt_vf_pages *pages)
{
    volatile uint8_t *window = vf->pio + offsetof(iovirt__pio_t, doorbell_window);
    uint64_t size = ((uint64_t)PAGE_BYTES << pages->region_log2) * vf->guests, value;

    if (pages->region_log2 < 1 || pages->region_log2 > 8 || pages->base & (size - 1)
        || pages->stride_log2 > 15 || pages->policy > IOVIRT_POISON)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(window, iovirt_read64(window) & ~ENABLE);
    iovirt_write64(vf->settings + SHARING(guest_pages),
                   PLACE(pages->region_log2, SHARING__GUEST_PAGES__REGION_LOG2)
                   | PLACE(pages->stride_log2, SHARING__GUEST_PAGES__STRIDE_LOG2)
                   | PLACE(pages->single, SHARING__GUEST_PAGES__SINGLE)
                   | PLACE(pages->doorbells, SHARING__GUEST_PAGES__DOORBELL_BASE));
    iovirt_write64(vf->pio + offsetof(iovirt__pio_t, doorbell_extent), size - 1);
    value = pages->base | (uint64_t)pages->policy << POLICY_SHIFT;
    iovirt_write64(window, value);
    iovirt_write64(window, value | ENABLE);
    return IOVIRT_OK;
}

int iovirt_vf_scheduler_set(const struct iovirt_vf *vf, uint8_t quantum, uint8_t burst,
                            uint16_t most, uint8_t byte_shift)
{
    if (!quantum || !most || most > 4095 || byte_shift > 31)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(vf->settings + SHARING(share_scheduler),
                   PLACE(quantum, SHARING__SHARE_SCHEDULER__QUANTUM)
                   | PLACE(burst, SHARING__SHARE_SCHEDULER__BURST)
                   | PLACE(most, SHARING__SHARE_SCHEDULER__MOST)
                   | PLACE(byte_shift, SHARING__SHARE_SCHEDULER__BYTE_SHIFT));
    return IOVIRT_OK;
}
