/* test_store.c - bodies that go to files: who waits for the disk, who does not, and what becomes of it in the end. */
#include "io/store.h"
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: cs\r\n\r\n"
#define POST "POST /p HTTP/1.1\r\nHost: cs\r\n"
#define LARGE 300000

static char got[1 << 16], bytes[LARGE];

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.body_memory = 1000;
    return cfg;
}

/* ---- without threads: jobs are done at once ---------------------------------------------------------------------- */

static size_t reply(loop_fixture *s, int client, const char *request, bool *end)
{
    SAY(client, request);
    return loop_fixture_hear(s, client, got, sizeof got, 1, end);
}

static void no_place_for_files(int error)
{
    fault_fail(FAULT_OPEN, 0, FOR_EVER, error);
    fault_fail(FAULT_MKSTEMP, 0, FOR_EVER, error);
}

static void a_body_that_no_file_can_take_is_refused_before_it_comes(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    bool end;
    unsigned notices = 0;
    loop_fixture_open(&s, &cfg);
    no_place_for_files(EROFS);
    for (int i = 0; i < 3; i++) {
        const int client = loop_fixture_client(&s);
        reply(&s, client, POST "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", &end);
        CHECK(strncmp(got, "HTTP/1.1 507 ", 13) == 0 && strstr(got, "\r\nConnection: close\r\n") != NULL);
        loop_fixture_run(&s);
        const unsigned some = fw_leader_notices(s.leader);
        CHECK(some == 0 || some == FW_NOTICE_STORAGE);
        notices += some != 0;
        close(client);
        loop_fixture_run(&s);
    }
    CHECK_INT(notices, 1);
    CHECK_INT(s.loop->storage_error, EROFS);
    const int client = loop_fixture_client(&s);
    reply(&s, client, POST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", NULL);
    CHECK(strncmp(got, "HTTP/1.1 200 ", 13) == 0);
    faults_clear();
    SAY(client, POST "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    loop_fixture_hear(&s, client, got, sizeof got, 0, NULL);
    CHECK_BYTES(got, strlen(got), "HTTP/1.1 100 Continue\r\n\r\n");
    close(client);
    loop_fixture_close(&s);
}

static void a_chunked_body_is_refused_when_it_passes_the_mark(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    no_place_for_files(EACCES);
    const int client = loop_fixture_client(&s);
    SAY(client, POST "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    say(client, bytes, 1000);
    loop_fixture_run(&s);
    CHECK_INT(recv(client, got, sizeof got, MSG_DONTWAIT), -1);
    reply(&s, client, "\r\n1\r\nx\r\n", NULL);
    CHECK(strncmp(got, "HTTP/1.1 507 ", 13) == 0);
    close(client);
    loop_fixture_close(&s);
}

static void a_disk_that_fills_up_refuses_the_body_at_hand(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_client(&s);
    SAY(client, POST "Content-Length: 300000\r\n\r\n");
    loop_fixture_run(&s);
    say(client, bytes, 40000);
    loop_fixture_run(&s);
    CHECK(fault_calls(FAULT_WRITE) > 0);
    fault_fail(FAULT_WRITE, 0, FOR_EVER, ENOSPC);
    say(client, bytes, 40000);
    loop_fixture_hear(&s, client, got, sizeof got, 1, NULL);
    CHECK(strncmp(got, "HTTP/1.1 507 ", 13) == 0);
    faults_clear();
    close(client);
    loop_fixture_close(&s);
}

/* ---- with threads: the disk is held ------------------------------------------------------------------------------ */

static atomic_bool held;
static atomic_uint stands; /* jobs that have come to the disk */

/* Files are made by mkstemp here, which nobody else calls. */
static void stand(void *data)
{
    (void)data;
    atomic_fetch_add(&stands, 1);
    while (atomic_load(&held))
        sched_yield();
}

static void hold_disk(void)
{
    fault_fail(FAULT_OPEN, 0, FOR_EVER, EOPNOTSUPP);
    atomic_store(&held, true);
    atomic_store(&stands, 0);
    fault_before(FAULT_MKSTEMP, stand, NULL);
}

static void await_stand(unsigned n)
{
    while (atomic_load(&stands) < n)
        sched_yield();
}

static unsigned in_store(const threads_fixture *m)
{
    unsigned n = 0;
    const fw_conns *cs = &m->loop->conns;
    for (const fw_conn *c = cs->all.next; c != &cs->all; c = c->next)
        n += c->state == FW_STATE_STORE;
    return n;
}

static bool one_stores(const threads_fixture *m)
{
    return in_store(m) == 1;
}

static bool none_is_there(const threads_fixture *m)
{
    return m->loop->conns.stats.connections == 0;
}

static int upload(threads_fixture *m)
{
    const int client = threads_fixture_client(m);
    SAY(client, POST "Content-Length: 300000\r\n\r\n");
    return client;
}

static void send_all(int client, size_t n)
{
    while (n > 0) {
        const ssize_t done = send(client, bytes, n, MSG_NOSIGNAL);
        CHECK(done > 0 || errno == EAGAIN);
        n -= done > 0 ? (size_t)done : 0;
        sched_yield();
    }
}

static void a_held_disk_holds_its_own_connection_alone(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    hold_disk();
    const int client = upload(&m), other = threads_fixture_client(&m);
    await_stand(1);
    for (int i = 0; i < 20; i++) {
        ask(other, "/who");
        CHECK_INT(answered(other, NULL, 0), 200);
    }
    AWAIT(&m, one_stores);
    atomic_store(&held, false);
    send_all(client, LARGE);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    close(other);
    threads_fixture_close(&m);
}

static void the_disk_does_not_spend_the_clients_time(void)
{
    fw_config cfg = config();
    cfg.min_rate = 100000;
    cfg.min_rate_grace_ms = 10;
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    const int client = upload(&m);
    await_stand(1);
    AWAIT(&m, one_stores);
    threads_fixture_pass(&m, 10 * cfg.timeouts[FW_CLASS_BODY]);
    CHECK(in_store(&m) == 1);
    atomic_store(&held, false);
    send_all(client, LARGE);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    threads_fixture_close(&m);
}

static void a_client_that_leaves_meanwhile_is_let_go_at_once(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    const int client = upload(&m);
    await_stand(1);
    AWAIT(&m, one_stores);
    const struct linger reset = {.l_onoff = 1};
    CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    close(client);
    AWAIT(&m, none_is_there);
    atomic_store(&held, false);
    threads_fixture_close(&m); /* what is left behind would be found */
}

static void more_uploads_than_threads_are_all_served(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    int clients[12];
    threads_fixture_open(&m, &cfg, 2);
    hold_disk();
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = upload(&m);
    await_stand(2);
    atomic_store(&held, false);
    for (size_t i = 0; i < COUNT(clients); i++)
        send_all(clients[i], LARGE);
    for (size_t i = 0; i < COUNT(clients); i++) {
        CHECK_INT(answered(clients[i], NULL, 0), 200);
        close(clients[i]);
    }
    CHECK(atomic_load(&stands) >= COUNT(clients));
    threads_fixture_close(&m);
}

static void a_failure_of_the_disk_reaches_the_client(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    fault_fail(FAULT_MKSTEMP, 0, 1, ENOSPC);
    const int client = upload(&m);
    await_stand(1);
    atomic_store(&held, false);
    CHECK_INT(answered(client, NULL, 0), 507);
    close(client);
    threads_fixture_close(&m);
}

/* A stop does not wait for a disk for ever, and what it leaves behind is cleaned up by who comes back from there. */
static void a_stop_leaves_a_hung_disk_behind(void)
{
    const fw_config cfg = config();
    const long before = blocks_in_use();
    const int open_before = descriptors();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    const int first = upload(&m);
    await_stand(1);
    int others[6];
    for (size_t i = 0; i < COUNT(others); i++)
        others[i] = upload(&m);
    await_stand(2);
    threads_fixture_close(&m);
    CHECK(blocks_in_use() > before);
    atomic_store(&held, false);
    while (blocks_in_use() != before || descriptors() > open_before + 7)
        sched_yield();
    close(first);
    for (size_t i = 0; i < COUNT(others); i++)
        close(others[i]);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_body_that_no_file_can_take_is_refused_before_it_comes),
        T(a_chunked_body_is_refused_when_it_passes_the_mark),
        T(a_disk_that_fills_up_refuses_the_body_at_hand),
        T(a_held_disk_holds_its_own_connection_alone),
        T(the_disk_does_not_spend_the_clients_time),
        T(a_client_that_leaves_meanwhile_is_let_go_at_once),
        T(more_uploads_than_threads_are_all_served),
        T(a_failure_of_the_disk_reaches_the_client),
        T(a_stop_leaves_a_hung_disk_behind),
    };
    return RUN_TESTS(TESTS);
}
