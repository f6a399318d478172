/* conns.c - what the connections of one loop share: its beginning and its end.
 *
 * It has no unit test of its own: every test of a connection opens, reaps and closes what is here.
 */
#include "io/conns.h"
#include "io/health.h"
#include "io/input.h"

#include <stdlib.h>
#include <string.h>

#define PACE_MS 1000     /* between two checks of how fast a client takes its response, at most */
#define PACE_LEAST_MS 50 /* ... at least */
#define CHECKS 8         /* ... in a write timeout: it may end so much later than on the dot */

void fw_config_defaults(fw_config *cfg)
{
    *cfg = (fw_config){
        .high_water = 256 << 10,
        .timeouts = {[FW_CLASS_LINGER] = 2000, [FW_CLASS_RETIRE] = 500},
    };
}

/* Often enough for what is judged by the checks: the least rate and the write timeout. 0: neither is. */
static uint32_t pace(const fw_config *cfg)
{
    uint32_t ms = UINT32_MAX;
    if (cfg->min_rate != 0)
        ms = cfg->min_rate_grace_ms < PACE_MS ? cfg->min_rate_grace_ms : PACE_MS;
    if (cfg->timeouts[FW_CLASS_WRITE] != 0 && cfg->timeouts[FW_CLASS_WRITE] / CHECKS < ms)
        ms = cfg->timeouts[FW_CLASS_WRITE] / CHECKS;
    if (ms == UINT32_MAX)
        return 0;
    return ms > PACE_LEAST_MS ? ms : PACE_LEAST_MS;
}

int fw_conns_open(fw_conns *cs, const fw_llhttp_api *api, const fw_config *cfg, int events)
{
    memset(cs, 0, sizeof *cs);
    cs->api = api;
    cs->cfg = *cfg;
    cs->cfg.timeouts[FW_CLASS_PACE] = pace(cfg);
    cs->answers = fw_health_is_on(cfg) || cfg->statics != NULL;
    cs->metrics = cfg->metrics;
    cs->timed = cfg->timed || cfg->metrics != NULL;
    cs->us = fw_deadline_us();
    atomic_init(&cs->mark, cfg->high_water);
    cs->all.prev = cs->all.next = &cs->all;
    fw_deadlines_init(&cs->deadlines, cs->cfg.timeouts);
    cs->now = cs->heard_at = fw_deadline_clock();
    fw_admission_init(&cs->admission, cfg->queue_target_ms);
    return fw_poller_open(&cs->poller, events);
}

void fw_conns_close(fw_conns *cs)
{
    fw_memos_clear(&cs->memos);
    fw_input_clear_spares(cs);
    fw_chunk_cache_clear(&cs->cache);
    fw_poller_close(&cs->poller);
}

_Static_assert(FW_STATES <= FW_COUNTED_STATES, "a state is not counted");

void fw_conns_census(fw_conns *cs)
{
    uint64_t n[FW_COUNTED_STATES] = {0};
    for (const fw_conn *c = cs->all.next; c != &cs->all; c = c->next)
        n[c->state]++;
    memcpy(cs->metrics->states, n, sizeof n);
}

void fw_conns_reap(fw_conns *cs)
{
    while (cs->to_free != NULL) {
        fw_conn *c = cs->to_free;
        cs->to_free = c->link;
        if (c->peer == NULL) {
            free(c);
        } else {
            c->link = cs->to_release;
            cs->to_release = c;
        }
    }
}
