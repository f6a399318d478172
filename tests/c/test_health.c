/* test_health.c - which request asks for which path, and what each of them answers in which state. */
#include "harness.h"
#include "http/llhttp.h"
#include "io/health.h"

#include <string.h>

static fw_config paths(void)
{
    fw_config cfg;
    fw_config_defaults(&cfg);
    cfg.health = "/health";
    cfg.live = "/live";
    cfg.ready = "/ready";
    return cfg;
}

static enum fw_probe asked(const fw_config *cfg, uint8_t method, const char *path)
{
    const fw_request r = {.base = path, .path = {0, (uint32_t)strlen(path)}, .method_id = method};
    return fw_health_asked(cfg, &r);
}

static void each_path_is_a_question_of_its_own(void)
{
    const fw_config cfg = paths();
    CHECK_INT(asked(&cfg, FW_METHOD_GET, "/health"), FW_PROBE_HEALTH);
    CHECK_INT(asked(&cfg, FW_METHOD_GET, "/live"), FW_PROBE_LIVE);
    CHECK_INT(asked(&cfg, FW_METHOD_GET, "/ready"), FW_PROBE_READY);
    CHECK_INT(asked(&cfg, FW_METHOD_GET, "/ready/"), FW_PROBE_NONE);
    CHECK_INT(asked(&cfg, FW_METHOD_GET, "/read"), FW_PROBE_NONE);
    CHECK_INT(asked(&cfg, 3, "/ready"), FW_PROBE_NONE);
}

static void without_paths_nobody_asks(void)
{
    fw_config cfg;
    fw_config_defaults(&cfg);
    CHECK(!fw_health_is_on(&cfg));
    CHECK_INT(asked(&cfg, FW_METHOD_GET, ""), FW_PROBE_NONE);
    cfg.ready = "/ready";
    CHECK(fw_health_is_on(&cfg));
}

/* What the three say in this state: 1 for each that is not well, health first. */
static int troubles(const fw_conns *cs)
{
    return (fw_health_trouble(cs, FW_PROBE_HEALTH) != NULL) * 100 + (fw_health_trouble(cs, FW_PROBE_LIVE) != NULL) * 10 +
           (fw_health_trouble(cs, FW_PROBE_READY) != NULL);
}

static bool says(const fw_conns *cs, const char *trouble)
{
    const char *found = fw_health_trouble(cs, FW_PROBE_READY);
    return found != NULL && strcmp(found, trouble) == 0;
}

static void each_state_has_its_answers(void)
{
    fw_conns cs = {0};
    _Atomic uint32_t draining = 0;
    CHECK_INT(troubles(&cs), 0);
    cs.draining = &draining;
    CHECK_INT(troubles(&cs), 0);
    draining = 1;
    CHECK_INT(troubles(&cs), 101);
    CHECK(says(&cs, "draining"));
    cs.stopping = true;
    CHECK(says(&cs, "stopping"));
    CHECK_INT(troubles(&cs), 101);
    draining = 0;
    cs.passes_on = true; /* another worker goes on */
    CHECK_INT(troubles(&cs), 0);
}

static void an_overload_is_a_matter_of_readiness(void)
{
    fw_conns cs = {0};
    cs.admission.overloaded = true;
    CHECK_INT(troubles(&cs), 1);
    cs.admission.overloaded = false;
    cs.nready = 3;
    CHECK_INT(troubles(&cs), 0);
    cs.cfg.max_ready = 3;
    CHECK_INT(troubles(&cs), 1);
    CHECK(says(&cs, "overloaded"));
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(each_path_is_a_question_of_its_own),
        T(without_paths_nobody_asks),
        T(each_state_has_its_answers),
        T(an_overload_is_a_matter_of_readiness),
    };
    return RUN_TESTS(tests);
}
