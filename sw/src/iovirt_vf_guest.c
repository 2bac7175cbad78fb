/* Sharing of devices: guests, queue pairs, reset of a guest, mailbox, statistics. */
#include <stddef.h>

#include "iovirt_internal.h"
#include "iovirt_vf.h"

#define SHARING(member) offsetof(iovirt__sharing_t, member)
/* Where tables are from the first page of them on, and bytes of an entry. */
#define PARAMETERS 0x8000u
#define BUDGETS 0x10000u
#define WRITTEN 0x1c000u
#define PAIRS 0x20000u
#define GUEST_BYTES 64u
#define BUDGET_BYTES 32u
#define WRITTEN_BYTES 32u
#define PAIR_BYTES 64u
#define PAGE_BYTES 4096u
#define COUNTERS 8u

/* Guests */

static bool is_guest(const struct iovirt_vf *vf, uint32_t guest)
{
    return guest && guest < vf->guests;
}

int iovirt_vf_guest_set(const struct iovirt_vf *vf, uint32_t guest,
                        const struct iovirt_vf_guest *entry)
{
    volatile uint8_t *place = vf->tables + guest * GUEST_BYTES;

    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    if (entry->key >> vf->key_bits || entry->device_id >> 24 || entry->ring_device_id >> 24
        || (uint32_t)entry->first_pair + entry->pairs > vf->pairs
        || entry->function >= vf->functions)
        return IOVIRT_BAD_ARGUMENT;
    /* The second word puts both in place. */
    iovirt_write64(place + offsetof(iovirt__share_guestx_t, identity),
                   PLACE(entry->key, SHARE_GUESTX__IDENTITY__KEY)
                   | PLACE(entry->device_id, SHARE_GUESTX__IDENTITY__DEVICE_ID)
                   | PLACE(entry->first_pair, SHARE_GUESTX__IDENTITY__FIRST_PAIR)
                   | PLACE(entry->pairs, SHARE_GUESTX__IDENTITY__PAIRS)
                   | PLACE(entry->function, SHARE_GUESTX__IDENTITY__FUNCTION_NUMBER));
    iovirt_write64(place + offsetof(iovirt__share_guestx_t, more), entry->ring_device_id);
    return IOVIRT_OK;
}

int iovirt_vf_parameter_set(const struct iovirt_vf *vf, uint32_t guest, uint32_t number,
                            uint64_t value)
{
    if (!is_guest(vf, guest) || number >= vf->parameters)
        return IOVIRT_NO_DEVICE;
    iovirt_write64(vf->tables + PARAMETERS + 8 * ((size_t)guest * vf->parameters + number), value);
    return IOVIRT_OK;
}

int iovirt_vf_state_set(const struct iovirt_vf *vf, uint32_t guest, enum iovirt_vf_state state)
{
    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    if (state > IOVIRT_VF_QUARANTINE)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(vf->tables + guest * GUEST_BYTES + offsetof(iovirt__share_guestx_t, state),
                   state);
    return IOVIRT_OK;
}

int iovirt_vf_state_get(const struct iovirt_vf *vf, uint32_t guest, enum iovirt_vf_state *state,
                        bool *fatal)
{
    uint64_t now;

    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    now = iovirt_read64(vf->tables + guest * GUEST_BYTES
                        + offsetof(iovirt__share_guestx_t, state));
    *state = (enum iovirt_vf_state)FIELD(now, SHARE_GUESTX__STATE__STATE);
    *fatal = FIELD(now, SHARE_GUESTX__STATE__FATAL);
    return IOVIRT_OK;
}

static volatile uint8_t *budget_of(const struct iovirt_vf *vf, uint32_t guest)
{
    return vf->tables + BUDGETS + guest * BUDGET_BYTES;
}

int iovirt_vf_budget_set(const struct iovirt_vf *vf, uint32_t guest,
                         const struct iovirt_vf_budget *budget)
{
    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    if (budget->limit >> 13)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(budget_of(vf, guest) + offsetof(iovirt__share_budgetx_t, weight),
                   PLACE(budget->weight, SHARE_BUDGETX__WEIGHT__WEIGHT)
                   | PLACE(budget->limit, SHARE_BUDGETX__WEIGHT__LIMIT));
    iovirt_write64(budget_of(vf, guest) + offsetof(iovirt__share_budgetx_t, rates),
                   PLACE(budget->command_rate, SHARE_BUDGETX__RATES__COMMAND_RATE)
                   | PLACE(budget->command_burst, SHARE_BUDGETX__RATES__COMMAND_BURST)
                   | PLACE(budget->byte_rate, SHARE_BUDGETX__RATES__BYTE_RATE)
                   | PLACE(budget->byte_burst, SHARE_BUDGETX__RATES__BYTE_BURST));
    return IOVIRT_OK;
}

/* Queue pairs */

static bool is_ring(uint16_t depth, uint8_t entry_log2)
{
    return depth >= 2 && depth <= 4096 && entry_log2 >= 3 && entry_log2 <= 6;
}

int iovirt_vf_pair_set(const struct iovirt_vf *vf, uint32_t number,
                       const struct iovirt_vf_pair *pair)
{
    volatile uint8_t *place = vf->tables + PAIRS + number * PAIR_BYTES;

    if (number >= vf->pairs)
        return IOVIRT_NO_DEVICE;
    if (!is_ring(pair->depth, pair->entry_log2)
        || (pair->paired && !is_ring(pair->completion_depth, pair->completion_log2))
        || !is_guest(vf, pair->owner) || pair->template_slot >= IOVIRT_VF_TEMPLATES
        || pair->block_log2 > 15 || pair->function >= vf->functions || pair->limit > 4096
        || pair->doorbell >> 22)
        return IOVIRT_BAD_ARGUMENT;
    iovirt_write64(place + offsetof(iovirt__share_pairx_t, setup),
                   PLACE(1, SHARE_PAIRX__SETUP__VALID)
                   | PLACE(pair->once, SHARE_PAIRX__SETUP__ONCE)
                   | PLACE(pair->paired, SHARE_PAIRX__SETUP__PAIRED)
                   | PLACE(pair->device_writes, SHARE_PAIRX__SETUP__DEVICE_WRITES)
                   | PLACE(pair->owner, SHARE_PAIRX__SETUP__OWNER)
                   | PLACE(pair->template_slot, SHARE_PAIRX__SETUP__TEMPLATE)
                   | PLACE(pair->entry_log2 - 3, SHARE_PAIRX__SETUP__SIZE_LOG2)
                   | PLACE(pair->paired ? pair->completion_log2 - 3 : 0,
                           SHARE_PAIRX__SETUP__CQ_SIZE_LOG2)
                   | PLACE(pair->block_log2, SHARE_PAIRX__SETUP__SHIFT)
                   | PLACE(pair->patch_id, SHARE_PAIRX__SETUP__PATCH_ID)
                   | PLACE(pair->function, SHARE_PAIRX__SETUP__FUNCTION_NUMBER)
                   | PLACE(pair->depth, SHARE_PAIRX__SETUP__DEPTH)
                   | PLACE(pair->completion_depth, SHARE_PAIRX__SETUP__CQ_DEPTH));
    iovirt_write64(place + offsetof(iovirt__share_pairx_t, rings),
                   PLACE(pair->limit, SHARE_PAIRX__RINGS__LIMIT)
                   | PLACE(pair->doorbell, SHARE_PAIRX__RINGS__TAIL));
    return IOVIRT_OK;
}

int iovirt_vf_pair_clear(const struct iovirt_vf *vf, uint32_t number)
{
    volatile uint8_t *place = vf->tables + PAIRS + number * PAIR_BYTES;

    if (number >= vf->pairs)
        return IOVIRT_NO_DEVICE;
    iovirt_write64(place + offsetof(iovirt__share_pairx_t, setup), 0);
    iovirt_write64(place + offsetof(iovirt__share_pairx_t, rings), 0);
    return IOVIRT_OK;
}

/* Reset of a guest */

static bool is_drained(const struct iovirt_vf *vf, uint32_t guest)
{
    uint64_t now = iovirt_read64(budget_of(vf, guest) + offsetof(iovirt__share_budgetx_t, usage));

    return now & IOVIRT__SHARE_BUDGETX__USAGE__DRAINED_bm;
}

/* Doorbells that were accepted before the last change of a state have gone out. */
static bool is_quiet(const struct iovirt_vf *vf)
{
    return iovirt_read64(vf->settings + SHARING(sharing_status))
           & IOVIRT__SHARING__SHARING_STATUS__DOORBELLS_IDLE_bm;
}

int iovirt_vf_reset_begin(const struct iovirt_vf *vf, uint32_t guest,
                          const struct iovirt_vf_guest *entry)
{
    int status, drained = IOVIRT_OK;

    status = iovirt_vf_state_set(vf, guest, IOVIRT_VF_DRAIN);
    if (status)
        return status;
    for (uint32_t tries = 0; !is_drained(vf, guest); ++tries) {
        if (!iovirt_wait(tries)) {
            drained = IOVIRT_TIMEOUT;
            break;
        }
    }
    /* From here on nothing of the old owner passes, whatever the device still does. */
    iovirt_vf_state_set(vf, guest, IOVIRT_VF_QUARANTINE);
    status = iovirt_vf_guest_set(vf, guest, entry);
    if (status)
        return status;
    for (uint32_t tries = 0; !is_quiet(vf); ++tries)
        if (!iovirt_wait(tries))
            return IOVIRT_REFUSED;
    return drained;
}

int iovirt_vf_reset_end(const struct iovirt_vf *vf, uint32_t guest,
                        const struct iovirt_vf_guest *entry, const struct iovirt_vf_pair *pairs,
                        uint32_t count)
{
    int status;

    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    if (count > entry->pairs)
        return IOVIRT_BAD_ARGUMENT;
    for (uint32_t n = 0; n < count; ++n) {
        status = iovirt_vf_pair_set(vf, entry->first_pair + n, &pairs[n]);
        if (status)
            return status;
    }
    iovirt_write64(budget_of(vf, guest) + offsetof(iovirt__share_budgetx_t, usage), 0);
    for (uint32_t n = 0; vf->headers && n < WRITTEN_BYTES / 8; ++n)
        iovirt_write64(vf->tables + WRITTEN + guest * WRITTEN_BYTES + 8 * n, 0);
    for (uint32_t n = 0; n < COUNTERS; ++n)
        iovirt_write64(vf->statistics + (size_t)guest * PAGE_BYTES + 8 * n, 0);
    return iovirt_vf_state_set(vf, guest, IOVIRT_VF_RUN);
}

/* Mailbox */

bool iovirt_vf_mailbox_look(const struct iovirt_vf *vf, struct iovirt_vf_request *request)
{
    uint64_t now = iovirt_read64(vf->settings + SHARING(mailbox_request));

    if (!(now & IOVIRT__SHARING__MAILBOX_REQUEST__VALID_bm))
        return false;
    request->guest = (uint8_t)FIELD(now, SHARING__MAILBOX_REQUEST__GUEST);
    request->write = FIELD(now, SHARING__MAILBOX_REQUEST__WRITE);
    request->expired = FIELD(now, SHARING__MAILBOX_REQUEST__EXPIRED);
    request->enables = (uint8_t)FIELD(now, SHARING__MAILBOX_REQUEST__BE);
    request->offset = (uint32_t)FIELD(now, SHARING__MAILBOX_REQUEST__OFFSET);
    request->data = iovirt_read32(vf->settings + SHARING(mailbox_data));
    return true;
}

int iovirt_vf_mailbox_answer(const struct iovirt_vf *vf, uint32_t data)
{
    iovirt_write32(vf->settings + SHARING(mailbox_data), data);
    return IOVIRT_OK;
}

int iovirt_vf_mailbox_refuse(const struct iovirt_vf *vf)
{
    iovirt_write32(vf->settings + SHARING(mailbox_refuse), 1);
    return IOVIRT_OK;
}

int iovirt_vf_mailbox_timeout(const struct iovirt_vf *vf, uint16_t time)
{
    iovirt_write32(vf->settings + SHARING(mailbox_timeout),
                   (uint32_t)PLACE(time, SHARING__MAILBOX_TIMEOUT__DURATION));
    return IOVIRT_OK;
}

/* Statistics */

int iovirt_vf_statistics_get(const struct iovirt_vf *vf, uint32_t guest,
                             struct iovirt_vf_statistics *statistics)
{
    uint32_t *counts[] = {&statistics->commands, &statistics->bytes, &statistics->completed,
                          &statistics->replaced, &statistics->denied, &statistics->doorbells,
                          &statistics->dropped, &statistics->mailbox};

    if (!is_guest(vf, guest))
        return IOVIRT_NO_DEVICE;
    for (uint32_t n = 0; n < sizeof counts / sizeof *counts; ++n)
        *counts[n] = (uint32_t)iovirt_read64(vf->statistics + (size_t)guest * PAGE_BYTES + 8 * n);
    return IOVIRT_OK;
}
