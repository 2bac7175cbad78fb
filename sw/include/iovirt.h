/*
 * Driver interface of iovirt. C11 without dependencies; docs/programming.md tells how to use it.
 *
 * Nothing here allocates, sleeps or locks. Calls that take a `struct iovirt` must not run at the
 * same time for one table entry or one queue; writes of table entries not at all, because the
 * hardware has one place to stage them. A reader belongs to one thread.
 */
#ifndef IOVIRT_DRIVER_H
#define IOVIRT_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum iovirt_status {
    IOVIRT_OK = 0,
    IOVIRT_NO_DEVICE = -1,    /* no iovirt there, or a part of it is not built */
    IOVIRT_BAD_ARGUMENT = -2,
    IOVIRT_TIMEOUT = -3,      /* iovirt_wait() gave up */
    IOVIRT_REFUSED = -4,      /* the hardware did not take a setting */
    IOVIRT_QUEUE_ERROR = -5,  /* the queue has stopped: a record could not be written */
};

/* The block. Filled in by iovirt_probe(); read only afterwards. */
struct iovirt {
    volatile uint8_t *registers;   /* page 0 */
    volatile uint8_t *interrupts;  /* page of windows and settings; null: no interrupt block */
    volatile uint8_t *table;       /* remap table, then message table */
    volatile uint8_t *queues;      /* control blocks of the event queues */
    volatile uint8_t *pages;       /* guest pages of the event queues */
    volatile uint8_t *pio;         /* page of programmed I/O; null: not built */
    uint32_t entries;              /* of the remap table */
    uint32_t queue_count;
    uint32_t wires;
    uint32_t tick;                 /* clocks of a unit of hold-off time */
    uint32_t windows;              /* of programmed I/O */
};

/* Find the parts of the block behind `registers`, and wait until it is ready. */
int iovirt_probe(struct iovirt *dev, volatile void *registers);

/*
 * RID of the root port: its bus is the primary one. With `check`, requests of devices outside the
 * port's buses are refused, and, if the header of the port is built in, all while its Bus Master
 * Enable is 0. Switch that on when buses are numbered.
 */
void iovirt_port_set(const struct iovirt *dev, uint16_t rid, bool check);

/* Windows that devices write their interrupts to. */

enum iovirt_window { IOVIRT_WINDOW_32, IOVIRT_WINDOW_64 };

#define IOVIRT_WINDOW_BYTES 0x10000u

/* `base` is a device address and a multiple of 64 KiB, below 4 GiB for IOVIRT_WINDOW_32. */
int iovirt_window_open(const struct iovirt *dev, enum iovirt_window which, uint64_t base);
void iovirt_window_close(const struct iovirt *dev, enum iovirt_window which);

/*
 * Message address of a device. With `several`, message data 0 to 31 select the entries from `index`
 * on, which must admit that (`multi`); else all data select `index`.
 */
uint64_t iovirt_message_address(uint64_t window_base, uint32_t index, bool several);

/* Remap table: one entry per interrupt of a device. */

enum iovirt_delivery { IOVIRT_TO_QUEUE = 0, IOVIRT_FORWARD = 2 };

struct iovirt_entry {
    enum iovirt_delivery delivery;
    bool suspend;       /* keep interrupts pending */
    bool urgent;        /* override the moderation of the queue */
    bool merge;         /* count interrupts while the last record is unread */
    bool multi;         /* admit message data that select entries */
    uint8_t priority;   /* 0 to 3, highest last */
    uint8_t segment;
    uint16_t rid;       /* who may use the entry ... */
    uint16_t rid_mask;  /* ... but for these bits */
    uint32_t cookie;    /* returned in records */
    uint16_t guest;     /* returned in records */
    uint8_t queue;
    uint16_t limit;     /* interrupts per storm interval; 0: no limit */
    uint64_t address;   /* IOVIRT_FORWARD: where to ... */
    uint32_t data;      /* ... and what to write */
};

/* Interrupts without an MSI have entries behind those of the remap table. */
enum iovirt_message {
    IOVIRT_INTA, IOVIRT_INTB, IOVIRT_INTC, IOVIRT_INTD, IOVIRT_ERR_COR, IOVIRT_ERR_NONFATAL,
    IOVIRT_ERR_FATAL, IOVIRT_PM_PME, IOVIRT_FAULT, IOVIRT_PIO_ERROR, IOVIRT_SHARING,
};

/* Index of the entry of a message, for the calls below. */
uint32_t iovirt_message_index(const struct iovirt *dev, enum iovirt_message message);

/*
 * Make an entry valid, or change it, all at once. When this returns, what came before is in its
 * queue or pending, and what comes from now on sees the new entry. Pending interrupts stay.
 */
int iovirt_entry_set(const struct iovirt *dev, uint32_t index, const struct iovirt_entry *entry);

/* Make an entry invalid, and drop what is pending for it. */
int iovirt_entry_clear(const struct iovirt *dev, uint32_t index);

/* 1: an interrupt of the entry is pending; 0: none; negative: iovirt_status. */
int iovirt_entry_pending(const struct iovirt *dev, uint32_t index);

/* Storm interval in clocks, up to 2^24 - 1; 0: limits do not count. */
int iovirt_storm_interval(const struct iovirt *dev, uint32_t clocks);

/* Event queues: what a hypervisor does with them. */

enum iovirt_notify { IOVIRT_NOTIFY_NONE, IOVIRT_NOTIFY_MSI, IOVIRT_NOTIFY_WIRE };

#define IOVIRT_EVENT_BYTES 32u

struct iovirt_queue_setup {
    uint64_t ring;         /* SPA, a multiple of 32 << size_log2 */
    uint8_t size_log2;     /* records, 1 to 16 */
    bool drop_new;         /* a full queue drops and counts; else nothing is lost */
    bool every;            /* notify of every record behind the armed one, not once per arm */
    uint16_t holdoff;      /* units of time, up to 32767; 0: no moderation */
    uint8_t threshold;     /* records that end the hold-off time; 0: any number waits for it */
    uint8_t notify;        /* enum iovirt_notify */
    uint8_t wire;
    uint64_t notify_address;
    uint32_t notify_data;
};

/* Start an empty queue at count 0. `ring` is the setup's ring as this program sees it. */
int iovirt_queue_start(const struct iovirt *dev, uint32_t queue,
                       const struct iovirt_queue_setup *setup, volatile uint64_t *ring);

/* Stop taking events and wait until what is on its way has become readable. Counts stay. */
int iovirt_queue_stop(const struct iovirt *dev, uint32_t queue);

/*
 * Start a stopped queue where it was: counts and unread records stay, so ring and size must be as
 * before. The way of notification and the policy may be other ones. After an error, what was
 * written behind the lost record is removed from the ring.
 */
int iovirt_queue_resume(const struct iovirt *dev, uint32_t queue,
                        const struct iovirt_queue_setup *setup, volatile uint64_t *ring);

/* New moderation of a running queue. */
int iovirt_queue_moderate(const struct iovirt *dev, uint32_t queue, uint16_t holdoff,
                          uint8_t threshold);

/*
 * Wait until all events that the queue had accepted before are readable, whatever comes meanwhile;
 * `*count` is the count behind the last of them (see iovirt_reader_passed()).
 */
int iovirt_queue_settle(const struct iovirt *dev, uint32_t queue, uint32_t *count);

struct iovirt_queue_state {
    bool running, busy, error, waiting;  /* waiting: an event waits with its source */
    uint32_t tail, head, arm;
    uint32_t dropped;                    /* events lost by policy */
    uint32_t lost;                       /* records that could not be written */
    uint32_t forged;                     /* writes of head refused */
};

int iovirt_queue_get_state(const struct iovirt *dev, uint32_t queue,
                           struct iovirt_queue_state *state);

/* Page of a queue that a guest may get, or null. */
volatile void *iovirt_queue_page(const struct iovirt *dev, uint32_t queue);

/* Wires: a raised one stays until lowered. Lower it before its queues are read, never after. */
uint32_t iovirt_wires(const struct iovirt *dev);
void iovirt_wires_lower(const struct iovirt *dev, uint32_t wires);

/* Event queues: what their reader does, with its page and its ring alone. */

enum iovirt_event_type {
    IOVIRT_EVENT_MSI = 1, IOVIRT_EVENT_INTX, IOVIRT_EVENT_ERR_COR, IOVIRT_EVENT_ERR_NONFATAL,
    IOVIRT_EVENT_ERR_FATAL, IOVIRT_EVENT_PM_PME, IOVIRT_EVENT_FAULT, IOVIRT_EVENT_PIO_ERROR,
    IOVIRT_EVENT_SHARING,
};

struct iovirt_event {
    uint32_t cookie;
    uint16_t count;     /* interrupts that this event stands for; 65535: or more */
    uint16_t index;     /* of the entry */
    uint16_t rid;       /* of the first interrupt */
    uint8_t segment;
    uint16_t guest;
    bool more;          /* others came from another requester */
    uint32_t data;      /* of the last interrupt */
    uint32_t sequence;  /* count of the record in its queue */
    uint64_t time;      /* clocks since reset */
    uint8_t type;       /* enum iovirt_event_type; ignore others */
    uint8_t priority;
};

struct iovirt_reader {
    volatile uint8_t *page;
    const volatile uint64_t *ring;
    uint32_t head;       /* count of the next record */
    uint32_t released;   /* as the hardware knows it */
    uint8_t size_log2;
};

typedef void iovirt_handler(void *context, const struct iovirt_event *event);

/* Open a queue that runs, or has stopped with unread records. */
int iovirt_reader_open(struct iovirt_reader *reader, volatile void *page,
                       const volatile uint64_t *ring);

/* Whether a record is there. Reads memory only. */
bool iovirt_reader_ready(const struct iovirt_reader *reader);

/* Take the next record, if there is one. Reads memory only. */
bool iovirt_reader_take(struct iovirt_reader *reader, struct iovirt_event *event);

/* Give the places of taken records back: one register write. */
void iovirt_reader_release(struct iovirt_reader *reader);

/* Ask to be notified of what has not been taken: at once if something is there. */
void iovirt_reader_arm(const struct iovirt_reader *reader);

/* Silence the queue, or let it speak: then it notifies at once if something is there. */
void iovirt_reader_mask(const struct iovirt_reader *reader, bool mask);

/* Whether everything before `count` has been taken. */
bool iovirt_reader_passed(const struct iovirt_reader *reader, uint32_t count);

/*
 * Take, handle and release up to `budget` records; return how many. Less than `budget`: the queue
 * is empty and armed, so its reader may sleep until the next notification. Exactly `budget`: it is
 * not armed, so call this again before sleeping.
 */
uint32_t iovirt_service(struct iovirt_reader *reader, uint32_t budget, iovirt_handler *handle,
                        void *context);

/* Storms: watch how many interrupts an entry sends. */

struct iovirt_storm {
    uint64_t window;    /* clocks */
    uint32_t limit;     /* interrupts in a window */
    uint64_t since;     /* state: 0 at first */
    uint32_t count;
};

/* Count an event of the entry. True: more than `limit` interrupts in this window. */
bool iovirt_storm_check(struct iovirt_storm *storm, const struct iovirt_event *event);

/* Error log. */

struct iovirt_error {
    uint8_t cause;      /* see error_record in the register document */
    uint8_t segment;
    uint16_t rid;
    uint64_t address;
    bool more;          /* other errors came after it; the counters tell which */
};

/* Take the first error since the last call, if there was one, and make room for the next. */
bool iovirt_error_take(const struct iovirt *dev, struct iovirt_error *error);

#ifdef __cplusplus
}
#endif

#endif /* IOVIRT_DRIVER_H */
