/*
 * Driver interface of iovirt: sharing of devices. Rules of iovirt.h hold here, too. Calls for one
 * guest, one queue pair, or the mailbox must not run at the same time.
 */
#ifndef IOVIRT_VF_H
#define IOVIRT_VF_H

#include "iovirt.h"
#include "iovirt_pio.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The sharing block. Filled in by iovirt_vf_open(); read only afterwards. */
struct iovirt_vf {
    volatile uint8_t *settings;    /* page of settings and mailbox */
    volatile uint8_t *tables;      /* guests, parameters, budgets, templates, headers, pairs */
    volatile uint8_t *statistics;  /* a page per guest, which may be mapped into it */
    volatile uint8_t *pio;
    uint32_t guests;               /* number 0, the manager, included */
    uint32_t pairs;
    uint32_t functions;
    uint32_t parameters;           /* of each guest */
    uint32_t tick;                 /* clocks of a unit of time of rates */
    bool headers;                  /* there are virtual configuration headers */
    unsigned offset_bits, key_bits;
};

/*
 * Find the block, wait until it is ready, and set the layout of addresses: 32 to 43 bits of offset,
 * 0 to 16 of key, 64 with the 12 between. No function may be shared yet.
 */
int iovirt_vf_open(struct iovirt_vf *vf, const struct iovirt *dev, unsigned offset_bits,
                   unsigned key_bits);

/* Addresses for the device. */
enum iovirt_vf_kind {
    IOVIRT_VF_DATA, IOVIRT_VF_PRP_LIST, IOVIRT_VF_TYPED_LIST, IOVIRT_VF_TYPED_LIST_8,
    IOVIRT_VF_RANGE_LIST, IOVIRT_VF_RING, IOVIRT_VF_POISON = 7,
};

uint64_t iovirt_vf_address(const struct iovirt_vf *vf, uint32_t guest, uint16_t key,
                           enum iovirt_vf_kind kind, uint64_t offset);

/* Byte 0 of a ring: for the device, and where the guest's `ring_device_id` must have it mapped. */
uint64_t iovirt_vf_ring(const struct iovirt_vf *vf, uint32_t guest, uint16_t key, uint32_t pair,
                        bool completions);
uint64_t iovirt_vf_ring_iova(uint32_t pair, bool completions);

/* What `iovirt template` prints: the word, then the opcode map, lowest doublewords first. */
#define IOVIRT_VF_TEMPLATES 8u
int iovirt_vf_template_set(const struct iovirt_vf *vf, uint32_t slot, const uint64_t words[16]);

enum iovirt_vf_mode { IOVIRT_VF_BY_COLOUR, IOVIRT_VF_BY_RID, IOVIRT_VF_BY_PASID };

struct iovirt_vf_function {
    enum iovirt_vf_mode mode;
    uint8_t segment;
    uint16_t rid;          /* by RID: of the first virtual function */
    uint64_t bar;          /* PCIe address that doorbells count from, a multiple of 4 KiB */
    uint8_t head_delta;    /* Dwords from a tail doorbell to that of its completion head */
    uint8_t prp_list, typed_list, range_list;  /* templates by kind */
    uint8_t first_guest;   /* by RID, by PASID: guest of the first one ... */
    uint16_t count;        /* ... and how many there are */
    uint8_t stride_log2;   /* by RID: RIDs from one to the next */
    uint32_t pasid;        /* by PASID: the first one */
};

/* The device must not use DMA while this changes. */
int iovirt_vf_function_set(const struct iovirt_vf *vf, uint32_t number,
                           const struct iovirt_vf_function *function);
int iovirt_vf_function_clear(const struct iovirt_vf *vf, uint32_t number);

/* Pages of guests for cores. `base` is a multiple of all regions together. */
struct iovirt_vf_pages {
    uint64_t base;
    unsigned region_log2;    /* of pages of 4 KiB per guest, 1 to 8 */
    uint16_t doorbells;      /* offset of the doorbells of queue 0 in a region */
    unsigned stride_log2;    /* doorbells are 4 << this bytes apart */
    bool single;             /* no completion heads; queues count from 0 */
    enum iovirt_policy policy;
};

int iovirt_vf_pages_open(const struct iovirt_vf *vf, const struct iovirt_vf_pages *pages);

/* Of all guests: cost of a turn per weight, largest grant, commands in flight, bytes as cost. */
int iovirt_vf_scheduler_set(const struct iovirt_vf *vf, uint8_t quantum, uint8_t burst,
                            uint16_t most, uint8_t byte_shift);

/* Guests. */
struct iovirt_vf_guest {
    uint16_t key;             /* random, and another one for each owner */
    uint32_t device_id;       /* {segment, RID} under which data and lists are translated */
    uint32_t ring_device_id;  /* the same for rings, which the guest cannot unmap */
    uint16_t first_pair;
    uint8_t pairs;
    uint8_t function;
};

enum iovirt_vf_state {
    IOVIRT_VF_OFF, IOVIRT_VF_RUN, IOVIRT_VF_FREEZE, IOVIRT_VF_DRAIN, IOVIRT_VF_QUARANTINE,
};

int iovirt_vf_guest_set(const struct iovirt_vf *vf, uint32_t guest,
                        const struct iovirt_vf_guest *entry);
int iovirt_vf_parameter_set(const struct iovirt_vf *vf, uint32_t guest, uint32_t number,
                            uint64_t value);

/* Setting a state clears `fatal`: what hardware froze is as good as new. */
int iovirt_vf_state_set(const struct iovirt_vf *vf, uint32_t guest, enum iovirt_vf_state state);
int iovirt_vf_state_get(const struct iovirt_vf *vf, uint32_t guest, enum iovirt_vf_state *state,
                        bool *fatal);

struct iovirt_vf_budget {
    uint8_t weight;           /* 0: nothing is granted */
    uint16_t limit;           /* commands in flight; 0: no limit */
    uint16_t command_rate, command_burst;  /* per unit of time; 0: no limit */
    uint16_t byte_rate, byte_burst;        /* in units of 512 */
};

int iovirt_vf_budget_set(const struct iovirt_vf *vf, uint32_t guest,
                         const struct iovirt_vf_budget *budget);

/* Queue pairs. Setting one clears what hardware knows of it. */
struct iovirt_vf_pair {
    uint8_t owner;
    uint8_t template_slot;
    uint8_t entry_log2;       /* bytes of an entry, 3 to 6 */
    uint8_t completion_log2;  /* of a completion */
    uint8_t block_log2;       /* of a block of the medium */
    bool once;                /* each entry is given once in each lap */
    bool paired;              /* there is a completion ring */
    bool device_writes;       /* the device may write the ring that it reads */
    bool patch_id;            /* completions get the number by which the guest knows its queue */
    uint8_t function;
    uint16_t depth, completion_depth;  /* 2 to 4096 */
    uint16_t limit;           /* commands in flight; 0: depth - 1 */
    uint32_t doorbell;        /* of the tail, in Dwords from the base of the function */
};

int iovirt_vf_pair_set(const struct iovirt_vf *vf, uint32_t number,
                       const struct iovirt_vf_pair *pair);
int iovirt_vf_pair_clear(const struct iovirt_vf *vf, uint32_t number);

/*
 * Reset of a guest, in two halves. The first freezes it, waits until the device has completed
 * what it has, puts the entry with the new key in place, and waits until doorbells of before have
 * gone out. IOVIRT_TIMEOUT: the device hangs, and the guest is reset all the same. IOVIRT_REFUSED:
 * it takes no doorbells either; leave the guest in quarantine and reset the link. Refuse what the
 * old owner has in the mailbox, and switch its interrupt entries off until the end. Between the
 * halves invalidate the translations of the guest,
 * wait for a fence, and let the device delete and create its queues. The second takes the pairs,
 * `count` of them from the guest's first one on, clears statistics, and lets the guest run.
 */
int iovirt_vf_reset_begin(const struct iovirt_vf *vf, uint32_t guest,
                          const struct iovirt_vf_guest *entry);
int iovirt_vf_reset_end(const struct iovirt_vf *vf, uint32_t guest,
                        const struct iovirt_vf_guest *entry, const struct iovirt_vf_pair *pairs,
                        uint32_t count);

/* The mailbox: accesses of guests to what is neither doorbell nor header. */
struct iovirt_vf_request {
    uint8_t guest;
    bool write;
    bool expired;     /* the guest has been told that it failed; answer it all the same */
    uint8_t enables;  /* of the bytes of the Dword */
    uint32_t offset;  /* in the region of the guest */
    uint32_t data;    /* of a write */
};

/* False: nobody waits. The same request is shown until it is answered. */
bool iovirt_vf_mailbox_look(const struct iovirt_vf *vf, struct iovirt_vf_request *request);
int iovirt_vf_mailbox_answer(const struct iovirt_vf *vf, uint32_t data);
int iovirt_vf_mailbox_refuse(const struct iovirt_vf *vf);

/* After `time` * 1024 clocks an access is answered as failed; 0: never. */
int iovirt_vf_mailbox_timeout(const struct iovirt_vf *vf, uint16_t time);

/* Counts modulo 2^32. */
struct iovirt_vf_statistics {
    uint32_t commands, bytes, completed, replaced, denied, doorbells, dropped, mailbox;
};

int iovirt_vf_statistics_get(const struct iovirt_vf *vf, uint32_t guest,
                             struct iovirt_vf_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif /* IOVIRT_VF_H */
