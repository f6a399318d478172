/* admission.c - the judgement over a queue. The rules are in admission.h. */
#include "io/admission.h"

#include <string.h>

#define INTERVAL_MS 100
#define LEAST 4
#define STRIKES 3
#define SERVED 10   /* requests that the target gives time for */
#define MOST_MS 200 /* four times that is less than the second that most clients wait */

void fw_admission_init(fw_admission *a, uint32_t target)
{
    memset(a, 0, sizeof *a);
    a->target = a->limit = target;
}

/* A look begins here. */
static void note(fw_admission *a, uint32_t waiting, uint64_t now)
{
    a->is_above = true;
    a->above = (uint32_t)now;
    a->waiting = waiting;
    a->taken = 0;
}

static uint32_t limit_for(const fw_admission *a, uint32_t ms, uint32_t taken)
{
    const uint32_t most = a->target > MOST_MS ? a->target : MOST_MS;
    const uint64_t wanted = (uint64_t)SERVED * ms / taken;
    if (wanted <= a->target)
        return a->target;
    return wanted < most ? (uint32_t)wanted : most;
}

static bool begin(fw_admission *a, uint32_t wait, uint64_t now)
{
    a->overloaded = true;
    a->wait = wait;
    a->is_above = false;
    a->strikes = 0;
    a->since = a->sweep_at = now;
    a->refused = 0;
    a->longest = 0;
    return true;
}

static bool is_over(fw_admission *a, uint32_t waiting)
{
    if (waiting != 0)
        return false;
    a->overloaded = false;
    return true;
}

/* What a look at a queue counts that has grown: as many more wait as have been taken, so twice as many came at least. */
static unsigned strikes(const fw_admission *a, uint32_t waiting)
{
    return waiting - a->waiting >= a->taken ? 2 : 1;
}

bool fw_admission_judge(fw_admission *a, uint32_t wait, uint32_t waiting, uint64_t now)
{
    if (a->target == 0)
        return false;
    if (a->overloaded)
        return is_over(a, waiting);
    if (wait <= a->limit) {
        a->is_above = false;
        a->strikes = 0;
        return false;
    }
    if (!a->is_above) {
        note(a, waiting, now);
        return false;
    }
    const uint32_t ms = (uint32_t)now - a->above;
    if (++a->taken < LEAST || ms < INTERVAL_MS)
        return false;
    a->strikes = waiting > a->waiting ? a->strikes + strikes(a, waiting) : 0;
    a->limit = limit_for(a, ms, a->taken);
    note(a, waiting, now);
    return a->strikes >= STRIKES && wait > a->limit && begin(a, wait, now);
}
