/* test_thread.c - what a thread does with a connection that is its own: parking, waiting, gathering. */
#include "apps.h"
#include "threads_fixture.h"
#include "threads/leader.h"
#include "faults.h"
#include "harness.h"

#include <sys/socket.h>
#include <unistd.h>

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    cfg.health = "/health";
    return cfg;
}

static bool nobody_is_connected(const threads_fixture *m)
{
    return m->loop->conns.stats.connections == 0;
}

static bool the_queue_is_full(const threads_fixture *m)
{
    return m->loop->conns.nready == 1;
}

static int health(threads_fixture *m)
{
    const int client = threads_fixture_client(m);
    ask(client, "/health");
    const int status = answered(client, NULL, 0);
    close(client);
    return status;
}

static char *target(char *to, const char *what, unsigned a, unsigned b, unsigned c)
{
    snprintf(to, 64, "/%s/%u/%u/%u", what, a, b, c);
    return to;
}

/* All of a large response. */
static void expect_large(int client)
{
    char head[64];
    const int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", APP_LARGE);
    expect_bytes(client, head, (size_t)n);
    expect_bytes(client, app_bytes, APP_LARGE);
}

/* ---- parked responses ------------------------------------------------------------------------------------------- */

static int suspended_by(threads_fixture *m)
{
    pthread_mutex_lock(&m->mutex);
    const int by = m->suspended_by;
    pthread_mutex_unlock(&m->mutex);
    return by;
}

static int resumed_by(threads_fixture *m)
{
    pthread_mutex_lock(&m->mutex);
    const int by = m->resumed_by;
    pthread_mutex_unlock(&m->mutex);
    return by;
}

static bool one_is_parked(const threads_fixture *m)
{
    const fw_conn *end = &m->loop->conns.all;
    for (const fw_conn *c = end->next; c != end; c = c->next)
        if (c->state == FW_STATE_SUSPENDED)
            return true;
    return false;
}

static bool the_parked_one_can_go_on(const threads_fixture *m)
{
    const fw_conn *end = &m->loop->conns.all;
    for (const fw_conn *c = end->next; c != end; c = c->next)
        if (c->state == FW_STATE_READY && c->turn != FW_TURN_REQUEST)
            return true;
    return false;
}

/* The owner is in a call, the other thread idle: it is not the other's to go on with. */
static void a_parked_response_goes_on_in_its_own_thread(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    char first[65536], body[16];
    threads_fixture_open(&m, &cfg, 2);
    const int reader = threads_fixture_narrow(&m), a = threads_fixture_client(&m), b = threads_fixture_client(&m);
    ask(reader, "/stream");
    AWAIT(&m, one_is_parked);
    const int owner = suspended_by(&m);
    ask(a, "/checkpoint/0");
    const int by = threads_fixture_entered(&m, 0);
    ask(b, "/checkpoint/1");
    threads_fixture_entered(&m, 1);
    const unsigned owners = by == owner ? 0 : 1;
    threads_fixture_open_checkpoint(&m, 1 - owners);
    size_t have = 0;
    while (have < sizeof first) { /* enough to make it go on */
        const ssize_t n = hear(reader, first + have, sizeof first - have);
        CHECK(n > 0 || n == -EAGAIN);
        have += n > 0 ? (size_t)n : 0;
        fw_leader_lock(m.leader);
        const bool can = the_parked_one_can_go_on(&m);
        fw_leader_unlock(m.leader);
        if (can)
            break;
    }
    AWAIT(&m, the_parked_one_can_go_on);
    CHECK_INT(answered(owners == 0 ? b : a, NULL, 0), 200);
    ask(owners == 0 ? b : a, "/quick");
    CHECK_INT(answered(owners == 0 ? b : a, body, sizeof body), 200);
    CHECK_INT(body[0], '1' - owner);
    CHECK_INT(resumed_by(&m), -1);
    threads_fixture_open_checkpoint(&m, owners);
    char head[64];
    const size_t n = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", APP_LARGE);
    CHECK(have > n && memcmp(first, head, n) == 0 && memcmp(first + n, app_bytes, have - n) == 0);
    expect_bytes(reader, app_bytes + (have - n), APP_LARGE - (have - n));
    CHECK_INT(resumed_by(&m), owner);
    close(reader);
    close(a);
    close(b);
    threads_fixture_close(&m);
}

static void an_idle_owner_is_called_to_go_on(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 3);
    const int reader = threads_fixture_narrow(&m);
    for (int i = 0; i < 4; i++) {
        ask(reader, "/stream");
        AWAIT(&m, one_is_parked);
        CHECK_INT(health(&m), 200);
        expect_large(reader);
        CHECK_INT(resumed_by(&m), suspended_by(&m));
    }
    close(reader);
    threads_fixture_close(&m);
}

static void a_parked_response_whose_client_leaves_is_ended(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int reader = threads_fixture_narrow(&m);
    ask(reader, "/stream");
    AWAIT(&m, one_is_parked);
    close(reader);
    AWAIT(&m, nobody_is_connected);
    threads_fixture_close(&m);
    CHECK_INT(m.gone, 1);
}

/* ---- waiting inside a call -------------------------------------------------------------------------------------- */

static bool one_waits(const threads_fixture *m)
{
    const fw_conn *end = &m->loop->conns.all;
    for (const fw_conn *c = end->next; c != end; c = c->next)
        if (c->waiter)
            return true;
    return false;
}

static bool its_wait_is_over(const threads_fixture *m)
{
    return atomic_load(&m->waited);
}

static void a_waiting_call_goes_on_when_its_client_has_read(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int reader = threads_fixture_narrow(&m), other = threads_fixture_client(&m);
    ask(reader, "/write");
    AWAIT(&m, one_waits);
    ask(other, "/quick"); /* for the thread, when it is back */
    CHECK_INT(health(&m), 200);
    const unsigned polls = fault_calls(FAULT_EPOLL_WAIT);
    CHECK_INT(health(&m), 200);
    CHECK(fault_calls(FAULT_EPOLL_WAIT) - polls < 20); /* a waiting request does not keep the leader busy */
    expect_large(reader);
    CHECK_INT(answered(other, NULL, 0), 200);
    close(reader);
    close(other);
    threads_fixture_close(&m);
    CHECK_INT(m.wait_rc, FW_OK);
}

static void others_run_while_a_call_waits(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int reader = threads_fixture_narrow(&m), other = threads_fixture_client(&m);
    ask(reader, "/write");
    AWAIT(&m, one_waits);
    for (int i = 0; i < 10; i++) {
        ask(other, "/quick");
        CHECK_INT(answered(other, NULL, 0), 200);
    }
    expect_large(reader);
    close(reader);
    close(other);
    threads_fixture_close(&m);
}

static void a_waiting_call_learns_that_its_client_is_gone(void)
{
    for (int way = 0; way < 3; way++) {
        const fw_config cfg = config();
        threads_fixture m;
        trying("way %d", way);
        threads_fixture_open(&m, &cfg, 1);
        const int reader = threads_fixture_narrow(&m);
        ask(reader, "/write");
        AWAIT(&m, one_waits);
        if (way == 0)
            close(reader);
        else if (way == 1)
            threads_fixture_pass(&m, cfg.timeouts[FW_CLASS_WRITE]);
        else
            fw_loop_stop(m.loop, FW_STOP_QUICK);
        AWAIT(&m, nobody_is_connected);
        if (way != 0)
            close(reader);
        threads_fixture_close(&m);
        CHECK_INT(m.wait_rc, -EPIPE);
    }
}

static void a_waiting_call_looks_around_when_a_signal_comes(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int reader = threads_fixture_narrow(&m);
    ask(reader, "/write");
    AWAIT(&m, one_waits);
    fw_loop_wake(m.loop);
    for (int waits = 0; waits == 0;) {
        CHECK_INT(health(&m), 200);
        pthread_mutex_lock(&m.mutex);
        waits = m.waits;
        pthread_mutex_unlock(&m.mutex);
    }
    expect_large(reader);
    AWAIT(&m, its_wait_is_over); /* its thread learns later than the client that the last byte is sent */
    close(reader);
    threads_fixture_close(&m);
}

/* The poller breaks while a call waits: nobody would ever wake it. */
static void a_waiting_call_ends_with_the_loop(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int reader = threads_fixture_narrow(&m);
    ask(reader, "/write");
    AWAIT(&m, one_waits);
    fault_fail(FAULT_EPOLL_WAIT, 0, FOR_EVER, EBADF);
    fw_loop_wake(m.loop);
    threads_fixture_over(&m);
    CHECK_INT(m.wait_rc, -EPIPE);
    CHECK_INT(m.workers[0].result, -EBADF);
    close(reader);
    threads_fixture_close(&m);
}

static fw_conn *waiting_one(const threads_fixture *m)
{
    fw_conn *c = m->loop->conns.all.next;
    while (c != &m->loop->conns.all && !c->waiter)
        c = c->next;
    return c != &m->loop->conns.all ? c : NULL;
}

/* The last byte goes out, and before the call has seen it the loop ends: what it has written is written. */
static void a_wait_that_is_over_before_the_loop_is_no_failure(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    char sink[65536];
    threads_fixture_open(&m, &cfg, 1);
    const int reader = threads_fixture_narrow(&m);
    ask(reader, "/write");
    AWAIT(&m, one_waits);
    fw_leader_lock(m.leader);
    fw_conn *c = waiting_one(&m);
    CHECK(c != NULL);
    while (c->waiter) {
        const ssize_t n = hear(reader, sink, sizeof sink);
        CHECK(n > 0 || n == -EAGAIN);
        fw_conn_event(&m.loop->conns, c, FW_EVENT_OUT);
    }
    CHECK_INT(c->state, FW_STATE_BUSY);
    fw_lead_wake_threads(m.leader);
    fw_lead_end(m.leader, -EBADF);
    fw_leader_unlock(m.leader);
    threads_fixture_over(&m);
    close(reader);
    threads_fixture_close(&m);
    CHECK_INT(m.wait_rc, FW_OK);
}

/* ---- gathering -------------------------------------------------------------------------------------------------- */

static void expect_head(int client, size_t length)
{
    char head[64];
    const int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length);
    expect_bytes(client, head, (size_t)n);
}

static void small_blocks_arrive_while_the_call_goes_on(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    char text[64];
    threads_fixture_open(&m, &cfg, 1);
    const int client = threads_fixture_client(&m);
    for (unsigned i = 0; i < 3; i++) {
        ask(client, target(text, "gather", 2 * i, 2 * i + 1, 100));
        expect_head(client, 200);
        expect_bytes(client, app_bytes, 100); /* both checkpoints are closed */
        threads_fixture_open_checkpoint(&m, 2 * i);
        expect_bytes(client, app_bytes + 100, 100);
        threads_fixture_open_checkpoint(&m, 2 * i + 1);
    }
    close(client);
    threads_fixture_close(&m);
    CHECK_INT(m.gather_rc, FW_OK);
}

static void a_block_arrives_piece_by_piece(size_t size)
{
    const fw_config cfg = config();
    threads_fixture m;
    char text[64];
    threads_fixture_open(&m, &cfg, 1);
    const int client = threads_fixture_narrow(&m);
    ask(client, target(text, "gather", 0, 1, (unsigned)size));
    threads_fixture_entered(&m, 0);
    CHECK_INT(health(&m), 200);
    expect_head(client, 2 * size);
    expect_bytes(client, app_bytes, size); /* the call stands still meanwhile */
    threads_fixture_open_checkpoint(&m, 0);
    threads_fixture_entered(&m, 1);
    expect_bytes(client, app_bytes + size, size);
    threads_fixture_open_checkpoint(&m, 1);
    ask(client, "/quick");
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    threads_fixture_close(&m);
}

static void what_a_full_socket_does_not_take_is_sent_when_it_does(void)
{
    a_block_arrives_piece_by_piece(FW_GATHER - 200); /* waits for the standby anyway */
    a_block_arrives_piece_by_piece(FW_GATHER * 2);   /* is tried at once */
}

static void one_that_gathers_learns_that_its_client_is_gone(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int client = threads_fixture_client(&m);
    ask(client, "/talk");
    expect_head(client, 1u << 30);
    expect_bytes(client, "x", 1);
    close(client);
    AWAIT(&m, nobody_is_connected);
    threads_fixture_close(&m);
    CHECK_INT(m.gather_rc, -EPIPE);
}

/* ---- too many requests ------------------------------------------------------------------------------------------- */

static void with_the_queue_full_clients_wait_in_the_backlog(void)
{
    fw_config cfg = config();
    cfg.max_ready = 1;
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int a = threads_fixture_client(&m);
    ask(a, "/checkpoint/0");
    threads_fixture_entered(&m, 0);
    const int b = threads_fixture_client(&m);
    ask(b, "/checkpoint/1");
    AWAIT(&m, the_queue_is_full);
    const int c = threads_fixture_client(&m);
    ask(c, "/quick");
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(a, NULL, 0), 200);
    threads_fixture_entered(&m, 1);
    threads_fixture_open_checkpoint(&m, 1);
    CHECK_INT(answered(b, NULL, 0), 200);
    CHECK_INT(answered(c, NULL, 0), 200); /* room again: it is taken */
    close(a);
    close(b);
    close(c);
    threads_fixture_close(&m);
}

static void with_the_queue_full_requests_are_refused(void)
{
    fw_config cfg = config();
    cfg.max_ready = 1;
    cfg.overload_refuse = true;
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int a = threads_fixture_client(&m), b = threads_fixture_client(&m), c = threads_fixture_client(&m);
    ask(a, "/checkpoint/0");
    threads_fixture_entered(&m, 0);
    ask(b, "/quick");
    CHECK_INT(health(&m), 200);
    ask(c, "/quick");
    CHECK_INT(answered(c, NULL, 0), 503);
    CHECK_INT(ended(c), 0);
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(a, NULL, 0), 200);
    CHECK_INT(answered(b, NULL, 0), 200);
    close(a);
    close(b);
    close(c);
    threads_fixture_close(&m);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_parked_response_goes_on_in_its_own_thread),
        T(an_idle_owner_is_called_to_go_on),
        T(a_parked_response_whose_client_leaves_is_ended),
        T(a_waiting_call_goes_on_when_its_client_has_read),
        T(others_run_while_a_call_waits),
        T(a_waiting_call_learns_that_its_client_is_gone),
        T(a_waiting_call_looks_around_when_a_signal_comes),
        T(a_waiting_call_ends_with_the_loop),
        T(a_wait_that_is_over_before_the_loop_is_no_failure),
        T(small_blocks_arrive_while_the_call_goes_on),
        T(what_a_full_socket_does_not_take_is_sent_when_it_does),
        T(one_that_gathers_learns_that_its_client_is_gone),
        T(with_the_queue_full_clients_wait_in_the_backlog),
        T(with_the_queue_full_requests_are_refused),
    };
    return RUN_TESTS(TESTS);
}
