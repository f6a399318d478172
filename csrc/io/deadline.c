/* deadline.c - one FIFO per timeout class. */
#include "io/deadline.h"

#include <limits.h>
#include <time.h>

#if defined(CLOCK_MONOTONIC_COARSE)
#define FW_CLOCK CLOCK_MONOTONIC_COARSE
#elif defined(CLOCK_MONOTONIC_RAW_APPROX)
#define FW_CLOCK CLOCK_MONOTONIC_RAW_APPROX
#else
#define FW_CLOCK CLOCK_MONOTONIC
#endif

uint64_t fw_deadline_clock(void)
{
    struct timespec t;
    clock_gettime(FW_CLOCK, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static uint64_t microseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t fw_deadline_us(void)
{
    return microseconds(CLOCK_MONOTONIC);
}

uint64_t fw_deadline_wall(void)
{
    return microseconds(CLOCK_REALTIME);
}

void fw_deadlines_init(fw_deadlines *d, const uint32_t span[FW_CLASSES])
{
    for (int i = 0; i < FW_CLASSES; i++) {
        d->fifo[i].prev = d->fifo[i].next = &d->fifo[i];
        d->span[i] = span[i];
    }
}

static void unlink_deadline(fw_deadline *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
}

void fw_deadline_clear(fw_deadline *e)
{
    if (e->next == NULL)
        return;
    unlink_deadline(e);
    e->prev = e->next = NULL;
}

void fw_deadline_set(fw_deadlines *d, fw_deadline *e, enum fw_class class, uint64_t now)
{
    if (e->next != NULL)
        unlink_deadline(e);
    if (d->span[class] == 0) {
        e->prev = e->next = NULL;
        return;
    }
    fw_deadline *fifo = &d->fifo[class];
    e->class = (uint8_t)class;
    e->when = now + d->span[class];
    e->prev = fifo->prev;
    e->next = fifo;
    fifo->prev->next = e;
    fifo->prev = e;
}

fw_deadline *fw_deadline_expire(fw_deadlines *d, uint64_t now)
{
    for (int i = 0; i < FW_CLASSES; i++) {
        fw_deadline *first = d->fifo[i].next;
        if (first != &d->fifo[i] && first->when <= now) {
            fw_deadline_clear(first);
            return first;
        }
    }
    return NULL;
}

int fw_deadline_wait(const fw_deadlines *d, uint64_t now)
{
    uint64_t soonest = UINT64_MAX;
    for (int i = 0; i < FW_CLASSES; i++) {
        const fw_deadline *first = d->fifo[i].next;
        if (first != &d->fifo[i] && first->when < soonest)
            soonest = first->when;
    }
    if (soonest == UINT64_MAX)
        return -1;
    if (soonest <= now)
        return 0;
    return soonest - now > INT_MAX ? INT_MAX : (int)(soonest - now);
}
