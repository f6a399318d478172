/* health.c - who asks for which path, and what is wrong. The rules are in health.h. */
#include "io/health.h"
#include "http/llhttp.h"

#include <string.h>

bool fw_health_is_on(const fw_config *cfg)
{
    return cfg->health != NULL || cfg->live != NULL || cfg->ready != NULL;
}

static bool is_path(const fw_request *r, const char *path)
{
    if (path == NULL)
        return false;
    const size_t n = strlen(path);
    return r->path.len == n && memcmp(fw_request_at(r, r->path), path, n) == 0;
}

enum fw_probe fw_health_asked(const fw_config *cfg, const fw_request *r)
{
    if (r->method_id != FW_METHOD_GET && !fw_request_is_head(r))
        return FW_PROBE_NONE;
    if (is_path(r, cfg->health))
        return FW_PROBE_HEALTH;
    if (is_path(r, cfg->live))
        return FW_PROBE_LIVE;
    return is_path(r, cfg->ready) ? FW_PROBE_READY : FW_PROBE_NONE;
}

static bool is_overloaded(const fw_conns *cs)
{
    const fw_config *cfg = &cs->cfg;
    return cs->admission.overloaded ||
           (cfg->max_ready != 0 && atomic_load_explicit(&cs->nready, memory_order_relaxed) >= cfg->max_ready);
}

const char *fw_health_trouble(const fw_conns *cs, enum fw_probe probe)
{
    if (probe == FW_PROBE_LIVE)
        return NULL;
    if (cs->stopping && !cs->passes_on) /* otherwise others go on, and the server is well */
        return "stopping";
    if (cs->draining != NULL && atomic_load_explicit(cs->draining, memory_order_relaxed) != 0)
        return "draining";
    return probe == FW_PROBE_READY && is_overloaded(cs) ? "overloaded" : NULL;
}
