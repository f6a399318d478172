/* admission.h - which waiting requests are still worth serving: the queue is judged by the time that requests wait in it.
 *
 * Past capacity a queue that is served in the order of arrival answers requests whose clients have given up, and nobody is
 * served in time. A fixed length is no remedy: it is too long for slow applications and too short for bursts of quick
 * ones. Time tells. These are the rules; bench/admission.py simulates them.
 *
 *  1. A request that has waited less than the target is proof that the queue is fine: its shortest wait says what bursts
 *     cannot hide (K. Nichols, V. Jacobson: Controlling Queue Delay, ACM Queue 10(5), 2012; RFC 8289).
 *  2. While all that are taken have waited longer, the queue is looked at every INTERVAL_MS, and not before LEAST requests
 *     have been taken since: it grows, or it shrinks. A queue that shrinks is what a burst or a stall has left behind (one
 *     slow call, a long collection, a machine that stood still), and is worked off. One that has grown at STRIKES looks in
 *     a row is overloaded; a look counts twice at which it has grown by as many as were taken.
 *  3. An overloaded queue is served newest first, because those can still be served in time (B. Maurer: Fail at Scale, ACM
 *     Queue 13(8), 2015: adaptive LIFO). What has waited four times the target is refused: 503, Retry-After.
 *  4. The overload is over when nobody waits any more.
 *  5. The target is what the setting says, but at least as long as ten requests take to be served, up to MOST_MS: no queue
 *     of a slow application is shorter than some of its calls.
 */
#ifndef FW_ADMISSION_H
#define FW_ADMISSION_H

#include "fw.h"

typedef struct fw_admission {
    uint32_t target;   /* ms of the setting; 0: everybody is admitted */
    uint32_t limit;    /* ms: the target as it is now */
    bool overloaded;
    bool told;         /* ... and somebody has been told */
    unsigned strikes;  /* of looks in a row at which it had grown */
    uint32_t above;    /* ms, the low bits: since when all have waited longer, or the last look */
    bool is_above;
    uint32_t waiting;  /* requests that waited then */
    uint32_t taken;    /* requests taken since */
    uint64_t since;    /* ms: when the overload began */
    uint32_t wait;     /* ms that the request had waited that was taken then */
    uint64_t sweep_at; /* ms: when those that have waited too long are refused next */
    uint64_t refused;  /* in this overload */
    uint32_t longest;  /* ms: wait of a refused one, in this overload */
} fw_admission;

void fw_admission_init(fw_admission *a, uint32_t target);

/* A request that has waited `wait` ms is taken and has not been found fine by the inline part below; `waiting` others wait. True: the
 * queue is overloaded from now on, or is no longer. */
bool fw_admission_judge(fw_admission *a, uint32_t wait, uint32_t waiting, uint64_t now);

/* The same, for every request. */
static inline bool fw_admission_look(fw_admission *a, uint32_t wait, uint32_t waiting, uint64_t now)
{
    if (fw_likely(wait <= a->target && !a->overloaded && !a->is_above))
        return false;
    return fw_admission_judge(a, wait, waiting, now);
}

/* ms that a request may wait in an overload. */
static inline uint32_t fw_admission_patience(const fw_admission *a)
{
    return 4 * a->limit;
}

#endif
