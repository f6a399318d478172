/* deadline.h - one FIFO per timeout class.
 *
 * Every member of a class waits equally long, so the FIFO is sorted by itself: to set or move a deadline is to append
 * to the tail, and the first to expire is always the head.  All operations are O(1).  Not safe between threads: the
 * deadlines belong to whoever runs the loop.
 */
#ifndef FW_DEADLINE_H
#define FW_DEADLINE_H

#include "fw.h"

/* Embedded in what can time out.  Zeroed memory is a valid, unset deadline. */
typedef struct fw_deadline {
    struct fw_deadline *prev, *next; /* NULL while unset */
    uint64_t when;                   /* monotonic ms */
    uint8_t class;
} fw_deadline;

typedef struct fw_deadlines {
    fw_deadline fifo[FW_CLASSES]; /* sentinels of circular lists */
    uint32_t span[FW_CLASSES];    /* ms; 0 = this class never expires */
} fw_deadlines;

void fw_deadlines_init(fw_deadlines *d, const uint32_t span[FW_CLASSES]);

/* Monotonic milliseconds: coarse where the system offers a cheaper coarse clock. */
uint64_t fw_deadline_clock(void);

/* Monotonic microseconds, exact. */
uint64_t fw_deadline_us(void);

/* Microseconds since 1970, by a clock that may be set. */
uint64_t fw_deadline_wall(void);

/* (Re)starts the deadline of `class` at `now`; with a span of 0 it is merely cleared.  `now` never decreases. */
void fw_deadline_set(fw_deadlines *d, fw_deadline *e, enum fw_class class, uint64_t now);

void fw_deadline_clear(fw_deadline *e);

/* Takes out one deadline that has passed at `now` and returns it (its class stays readable), or NULL. */
fw_deadline *fw_deadline_expire(fw_deadlines *d, uint64_t now);

/* Milliseconds until the next one passes: 0 if one already has, -1 if there is none. */
int fw_deadline_wait(const fw_deadlines *d, uint64_t now);

#endif
