/* race.c - threads, a standby and clients of all kinds at once, for a sanitizer that sees races (tests/threads/test_races.py).
 *
 * Each client draws what it does: it asks, pipelines, reads slowly, talks nonsense, leaves in the midst. Meanwhile time
 * passes, and deadlines with it. At the end everybody is answered, the loop stops with requests on their way, and all
 * that was handed in has come back.
 */
#include "observe/access_log.h"
#include "apps.h"
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 4
#define ROUNDS 120

typedef struct visitor {
    threads_fixture *threads_fixture;
    pthread_t id;
    uint32_t dice;
    unsigned whole; /* responses that were read to their end */
} visitor;

/* Reads until `n` responses are complete, or the end; slowly, or not to the end at all. False: it is over. */
static bool read_some(visitor *v, int fd, unsigned n)
{
    static const size_t MOST = 5 * APP_LARGE;
    char *bytes = malloc(MOST);
    size_t have = 0;
    const bool slow = dice(&v->dice) % 8 == 0, leaves = dice(&v->dice) % 12 == 0;
    CHECK(bytes != NULL);
    while (responses_in(bytes, have) < n) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, GUARD_S * 1000) != 1)
            FAIL("a client waits in vain");
        const ssize_t some = hear(fd, bytes + have, slow ? 3000 : MOST - have);
        if (some <= 0 || (leaves && have > 100)) {
            free(bytes);
            return false;
        }
        have += (size_t)some;
    }
    free(bytes);
    v->whole += n;
    return true;
}

static bool say_all(int fd, const char *text)
{
    return sendto(fd, text, strlen(text), MSG_NOSIGNAL, NULL, 0) == (ssize_t)strlen(text);
}

/* One request or several, and their answers; false: the connection is over. */
static bool round_of(visitor *v, int fd)
{
    static const char *const TARGETS[] = {"/quick", "/quick", "/quick", "/nap", "/drip", "/stream", "/write"};
    static const char *const TAKEN[] = {"/take/close", "/take/end", "/take/lease"};
    char text[1024] = "";
    const unsigned what = dice(&v->dice) % 16;
    if (what == 0)
        return say_all(fd, "GET / HTTP/1.1\r\nHo st: h\r\n\r\n") && read_some(v, fd, 1) && false;
    if (what == 1)
        return say_all(fd, "POST /quick HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc") && false;
    if (what == 2 && dice(&v->dice) % 2) {
        snprintf(text, sizeof text, "GET /quick HTTP/1.1\r\nHost: h\r\n\r\nGET %s HTTP/1.1\r\nHost: h\r\n\r\nearly",
                 TAKEN[dice(&v->dice) % COUNT(TAKEN)]);
        return say_all(fd, text) && read_some(v, fd, 2) && false;
    }
    const unsigned n = what < 6 ? 1 + dice(&v->dice) % 4 : 1;
    for (unsigned i = 0; i < n; i++) {
        const char *target = what == 15 ? "/health" : TARGETS[dice(&v->dice) % COUNT(TARGETS)];
        snprintf(text + strlen(text), sizeof text - strlen(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    }
    if (dice(&v->dice) % 16 == 0)
        clock_advance(dice(&v->dice) % 3000);
    return say_all(fd, text) && read_some(v, fd, n);
}

static void *visit(void *arg)
{
    visitor *v = arg;
    int fd = -1;
    for (int i = 0; i < ROUNDS; i++) {
        if (fd < 0)
            fd = dice(&v->dice) % 2 ? threads_fixture_client(v->threads_fixture) : threads_fixture_narrow(v->threads_fixture);
        if (round_of(v, fd))
            continue;
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static fw_access_log *open_log(void)
{
    static const fw_log_piece PIECES[] = {
        {.atom = FW_ATOM_LINE},
        {.atom = FW_ATOM_FIELD, .id = FW_NAME_HOST, .len = 4, .text = "host"},
        {.atom = FW_ATOM_FIELD, .len = 4, .text = "mine"},
        {.atom = FW_ATOM_TIME},
        {.atom = FW_ATOM_TEXT, .len = 1, .text = "\n", .head = "\n"},
    };
    fw_access_log *a;
    const int fd = open("/dev/null", O_WRONLY);
    CHECK(fd >= 0);
    CHECK_INT(fw_access_log_open(&a, fd, PIECES, COUNT(PIECES), false, (fw_text){NULL, 0}), FW_OK);
    return a;
}

/* The draws differ from run to run where somebody asks for it (scripts/stress.py). */
static uint32_t seeded(uint32_t seed)
{
    const char *more = getenv("FW_SEED");
    return seed + (more != NULL ? 1009 * (uint32_t)strtoul(more, NULL, 10) : 0);
}

static void everything_at_once(unsigned threads, uint32_t seed, fw_config *cfg)
{
    threads_fixture m;
    seed = seeded(seed);
    visitor visitors[CLIENTS];
    cfg->access = open_log();
    threads_fixture_open(&m, cfg, threads);
    for (unsigned i = 0; i < CLIENTS; i++) {
        visitors[i] = (visitor){.threads_fixture = &m, .dice = seed + i};
        CHECK(pthread_create(&visitors[i].id, NULL, visit, &visitors[i]) == 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        CHECK(pthread_join(visitors[i].id, NULL) == 0);
        CHECK(visitors[i].whole > 0);
    }
    int last[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) { /* all is well still */
        last[i] = threads_fixture_client(&m);
        ask(last[i], "/quick");
        CHECK_INT(answered(last[i], NULL, 0), 200);
        ask(last[i], i % 2 ? "/write" : "/nap");
    }
    fw_loop_stop(m.loop, seed % 2 ? FW_STOP_GRACEFUL : FW_STOP_QUICK);
    threads_fixture_close(&m);
    close(cfg->access->batch.fd);
    fw_access_log_close(cfg->access);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(last[i]);
}

static void one_thread_and_its_standby(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    cfg.health = "/health";
    everything_at_once(1, 11, &cfg);
}

static void several_threads(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    cfg.health = "/health";
    everything_at_once(3, 22, &cfg);
}

static void several_threads_and_a_short_queue(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    cfg.health = "/health";
    cfg.max_ready = 1;
    cfg.timeouts[FW_CLASS_KEEPALIVE] = 500;
    cfg.timeouts[FW_CLASS_WRITE] = 500;
    everything_at_once(WORKERS, 33, &cfg);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(one_thread_and_its_standby),
        T(several_threads),
        T(several_threads_and_a_short_queue),
    };
    return RUN_TESTS(TESTS);
}
