/* conns.c - what the connections of one loop share: its birth and its end. */
#include "io/conn.h"
#include "io/input.h"

#include <stdlib.h>
#include <string.h>

#define PACE_MS 1000     /* between two looks at how fast a client takes its response, at most */
#define PACE_LEAST_MS 50 /* ... at least */
#define LOOKS 8          /* ... in a write timeout: it may end so much later than on the dot */

void fw_config_defaults(fw_config *cfg)
{
    *cfg = (fw_config){
        .high_water = 256 << 10,
        .timeouts = {[FW_CLASS_LINGER] = 2000, [FW_CLASS_RETIRE] = 500},
    };
}

/* Often enough for what is judged at the looks: the least rate and the write timeout. 0: neither is. */
static uint32_t pace(const fw_config *cfg)
{
    uint32_t ms = UINT32_MAX;
    if (cfg->min_rate != 0)
        ms = cfg->min_rate_grace_ms < PACE_MS ? cfg->min_rate_grace_ms : PACE_MS;
    if (cfg->timeouts[FW_CLASS_WRITE] != 0 && cfg->timeouts[FW_CLASS_WRITE] / LOOKS < ms)
        ms = cfg->timeouts[FW_CLASS_WRITE] / LOOKS;
    if (ms == UINT32_MAX)
        return 0;
    return ms > PACE_LEAST_MS ? ms : PACE_LEAST_MS;
}

int fw_hub_open(fw_hub *h, const fw_llhttp_api *api, const fw_config *cfg, int events)
{
    memset(h, 0, sizeof *h);
    h->api = api;
    h->cfg = *cfg;
    h->cfg.timeouts[FW_CLASS_PACE] = pace(cfg);
    atomic_init(&h->mark, cfg->high_water);
    h->conns.prev = h->conns.next = &h->conns;
    fw_deadlines_open(&h->deadlines, h->cfg.timeouts);
    h->now = fw_deadline_clock();
    return fw_poller_open(&h->poller, events);
}

void fw_hub_close(fw_hub *h)
{
    fw_memos_clear(&h->memos);
    fw_intake_close(h);
    fw_pool_close(&h->pool);
    fw_poller_close(&h->poller);
}

void fw_hub_reap(fw_hub *h)
{
    while (h->dead != NULL) {
        fw_conn *c = h->dead;
        h->dead = c->link;
        if (c->peer == NULL) {
            free(c);
        } else {
            c->link = h->buried;
            h->buried = c;
        }
    }
}
