/* Sharing: writes the registers that a set-up needs to plain memory, and prints what is there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iovirt_platform.h"
#include "iovirt_vf.h"

#define BYTES UINT64_C(0x400000)

static uint8_t *registers;
static unsigned waits;

static void check(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

#define CHECK(condition) check(condition, #condition)

/* The platform: memory, and a wait that gives up at once. */
uint32_t iovirt_read32(const volatile void *address) { return *(const volatile uint32_t *)address; }
uint64_t iovirt_read64(const volatile void *address) { return *(const volatile uint64_t *)address; }
void iovirt_write32(volatile void *address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}
void iovirt_write64(volatile void *address, uint64_t value)
{
    *(volatile uint64_t *)address = value;
}
bool iovirt_wait(uint32_t tries)
{
    ++waits;
    return tries < 3;
}

/* What hardware shows, as lines "address value" on standard input. */
static void load(void)
{
    uint64_t address, value;

    while (scanf("%" SCNx64 " %" SCNx64, &address, &value) == 2)
        memcpy(registers + address, &value, sizeof value);
}

static void dump(void)
{
    uint64_t value;

    for (uint64_t at = 0; at < BYTES; at += 8) {
        memcpy(&value, registers + at, sizeof value);
        if (value)
            printf("%" PRIx64 " %" PRIx64 "\n", at, value);
    }
}

static void refuse(const struct iovirt_vf *vf, const struct iovirt *dev)
{
    struct iovirt_vf other;
    struct iovirt_vf_guest guest = {.key = 1, .device_id = 1u << 24, .pairs = 1};
    struct iovirt_vf_pair pair = {.owner = 2, .depth = 1, .entry_log2 = 6};
    struct iovirt_vf_function function = {.bar = 0x800};
    struct iovirt_vf_pages pages = {.base = 0x1000, .region_log2 = 2};

    CHECK(iovirt_vf_open(&other, dev, 31, 12) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_open(&other, dev, 43, 10) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_guest_set(vf, 0, &guest) == IOVIRT_NO_DEVICE);
    CHECK(iovirt_vf_guest_set(vf, vf->guests, &guest) == IOVIRT_NO_DEVICE);
    CHECK(iovirt_vf_guest_set(vf, 1, &guest) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_pair_set(vf, 1, &pair) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_pair_set(vf, vf->pairs, &pair) == IOVIRT_NO_DEVICE);
    CHECK(iovirt_vf_function_set(vf, 0, &function) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_pages_open(vf, &pages) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_scheduler_set(vf, 0, 8, 64, 12) == IOVIRT_BAD_ARGUMENT);
}

static void set_up(const struct iovirt_vf *vf)
{
    struct iovirt_vf_guest guest = {.key = 0x123, .device_id = 0x45, .ring_device_id = 0x46,
                                    .first_pair = 1, .pairs = 1};
    struct iovirt_vf_pair pair = {.owner = 2, .template_slot = 1, .entry_log2 = 6,
                                  .completion_log2 = 4, .block_log2 = 9, .once = true,
                                  .paired = true, .depth = 16, .completion_depth = 32,
                                  .limit = 7, .doorbell = 0x404};
    struct iovirt_vf_function function = {.rid = 0x100, .bar = 0xc0000000, .head_delta = 1,
                                          .prp_list = 2, .typed_list = 3, .range_list = 4};
    struct iovirt_vf_pages pages = {.base = UINT64_C(0x1000000000), .region_log2 = 2,
                                    .doorbells = 0x1000};
    struct iovirt_vf_budget budget = {.weight = 5, .limit = 9, .command_rate = 1,
                                      .command_burst = 2, .byte_rate = 3, .byte_burst = 4};
    uint64_t words[16];

    for (unsigned n = 0; n < 16; ++n)
        words[n] = n + 1;
    CHECK(iovirt_vf_template_set(vf, 1, words) == IOVIRT_OK);
    CHECK(iovirt_vf_function_set(vf, 0, &function) == IOVIRT_OK);
    CHECK(iovirt_vf_pages_open(vf, &pages) == IOVIRT_OK);
    CHECK(iovirt_vf_scheduler_set(vf, 8, 8, 64, 12) == IOVIRT_OK);
    CHECK(iovirt_vf_pair_set(vf, 1, &pair) == IOVIRT_OK);
    CHECK(iovirt_vf_guest_set(vf, 2, &guest) == IOVIRT_OK);
    CHECK(iovirt_vf_parameter_set(vf, 2, 3, 200) == IOVIRT_OK);
    CHECK(iovirt_vf_budget_set(vf, 2, &budget) == IOVIRT_OK);
    CHECK(iovirt_vf_state_set(vf, 2, IOVIRT_VF_RUN) == IOVIRT_OK);
    CHECK(iovirt_vf_ring(vf, 2, 0x123, 1, true)
          == iovirt_vf_address(vf, 2, 0x123, IOVIRT_VF_RING, 3u << 22));
    printf("ring %" PRIx64 "\n", iovirt_vf_ring(vf, 2, 0x123, 1, true));
}

static void reset(const struct iovirt_vf *vf)
{
    struct iovirt_vf_guest guest = {.key = 0x777, .device_id = 0x45, .ring_device_id = 0x46,
                                    .first_pair = 1, .pairs = 1};
    struct iovirt_vf_pair pair = {.owner = 2, .entry_log2 = 6, .completion_log2 = 4, .paired = true,
                                  .depth = 16, .completion_depth = 16};
    struct iovirt_vf_statistics statistics;
    enum iovirt_vf_state state;
    bool fatal;

    /* Memory never says that the guest is drained: as a device that hangs. */
    CHECK(iovirt_vf_reset_begin(vf, 2, &guest) == IOVIRT_TIMEOUT && waits == 4);
    CHECK(iovirt_vf_state_get(vf, 2, &state, &fatal) == IOVIRT_OK);
    CHECK(state == IOVIRT_VF_QUARANTINE && !fatal);
    CHECK(iovirt_vf_reset_end(vf, 2, &guest, &pair, 2) == IOVIRT_BAD_ARGUMENT);
    CHECK(iovirt_vf_reset_end(vf, 2, &guest, &pair, 1) == IOVIRT_OK);
    CHECK(iovirt_vf_state_get(vf, 2, &state, &fatal) == IOVIRT_OK && state == IOVIRT_VF_RUN);
    CHECK(iovirt_vf_statistics_get(vf, 2, &statistics) == IOVIRT_OK && statistics.completed == 0);
}

static void mailbox(const struct iovirt_vf *vf)
{
    struct iovirt_vf_request request;
    struct iovirt_vf_statistics statistics;

    CHECK(iovirt_vf_mailbox_look(vf, &request));
    CHECK(request.guest == 2 && request.write && request.enables == 15 && request.offset == 0x14);
    CHECK(iovirt_vf_mailbox_answer(vf, 0x55) == IOVIRT_OK);
    CHECK(iovirt_vf_mailbox_look(vf, &request) && request.data == 0x55);
    CHECK(iovirt_vf_mailbox_refuse(vf) == IOVIRT_OK);
    CHECK(iovirt_vf_mailbox_timeout(vf, 3) == IOVIRT_OK);
    CHECK(iovirt_vf_statistics_get(vf, 2, &statistics) == IOVIRT_OK && statistics.completed == 33);
}

int main(void)
{
    struct iovirt dev = {0};
    struct iovirt_vf vf;

    registers = calloc(1, BYTES);
    CHECK(registers != NULL);
    load();
    dev.registers = registers;
    dev.pio = registers + 0x4000;
    CHECK(iovirt_vf_open(&vf, &dev, 40, 12) == IOVIRT_OK);
    refuse(&vf, &dev);
    set_up(&vf);
    dump();
    mailbox(&vf);
    reset(&vf);
    free(registers);
    return 0;
}
