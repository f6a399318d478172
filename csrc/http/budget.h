/* budget.h - how long a request is worth answering, and what of that is gone when it comes to us.
 *
 * A proxy that has held a request says when it came: X-Request-Start or X-Queue-Start, in seconds, milliseconds,
 * microseconds or nanoseconds since 1970, with or without "t=". It may also say how long the client waits for an answer, in
 * a field that the setting names. Both are taken from a trusted peer only (conn.h), and what cannot be understood is as if
 * it were not there. Of several starts the earliest counts, of several budgets the least.
 */
#ifndef FW_BUDGET_H
#define FW_BUDGET_H

#include "http/forwarded.h"

/* The settings. Texts are borrowed. */
typedef struct fw_budgets {
    uint32_t ms;         /* of every request; 0: it has none, unless a proxy says so */
    fw_lower_name field; /* of the proxy; of no bytes: there is none */
} fw_budgets;

/* Reads what the fields of a trusted peer's request say into r->followed and r->follows. */
void fw_budget_read(const fw_budgets *b, fw_request *r);

/* What is left at `wall` (us since 1970) of the budget of a request that has just come, in ms; `*ms` may be 0. False: it has
 * no budget. */
bool fw_budget_left(const fw_budgets *b, const fw_request *r, uint64_t wall, uint32_t *ms);

#endif
