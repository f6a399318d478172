/* test_held.c - complete responses that are held while the next request is run, and sent together. */
#include "harness.h"
#include "loop_fixture.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define CLIENTS 4
#define PATIENCE 4000 /* looks, a millisecond apart */

typedef struct crowd {
    loop_fixture s;
    int clients[CLIENTS];
    fw_conn *conns[CLIENTS];
    char got[4096];
} crowd;

/* All clients have asked, and `most` responses may be held. */
static void open_crowd(crowd *m, unsigned most, bool standby)
{
    const fw_config cfg = defaults();
    loop_fixture_open(&m->s, &cfg);
    for (int i = 0; i < CLIENTS; i++)
        m->clients[i] = loop_fixture_pair(&m->s, false, &m->conns[i]);
    loop_fixture_run(&m->s);
    if (standby)
        loop_fixture_standby(&m->s);
    for (int i = 0; i < CLIENTS; i++)
        SAY(m->clients[i], GET);
    atomic_store(&m->s.loop->conns.held_most, most);
}

static void close_crowd(crowd *m)
{
    for (int i = 0; i < CLIENTS; i++)
        close(m->clients[i]);
    loop_fixture_close(&m->s);
}

/* Hands `done` back and takes the next turn, as a worker does that keeps the interpreter lock (`hasty`), or does not. */
static int take(crowd *m, fw_conn *done, bool keep, bool hasty, fw_conn **next)
{
    int rc = FW_NEXT_WAKE;
    *next = NULL;
    for (int i = 0; i < PATIENCE && rc == FW_NEXT_WAKE; i++) { /* the standby may have had to say something */
        rc = fw_thread_next(m->s.thread, done, keep, false, hasty, next);
        done = NULL;
    }
    return rc;
}

static int answer_and_take(crowd *m, fw_conn *done, fw_conn **next)
{
    CHECK(loop_fixture_head(&m->s, done, 0));
    return take(m, done, true, true, next);
}

static unsigned answered(crowd *m)
{
    unsigned n = 0;
    for (int i = 0; i < CLIENTS; i++) {
        const ssize_t got = recv(m->clients[i], m->got, sizeof m->got, MSG_PEEK | MSG_DONTWAIT);
        n += got > 0 && memcmp(m->got, "HTTP/1.1 200 OK\r\n", 17) == 0;
    }
    return n;
}

static void held_responses_leave_together(void)
{
    crowd m;
    fw_conn *c, *first;
    open_crowd(&m, 2, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    first = c;
    CHECK_INT(answer_and_take(&m, c, &c), FW_NEXT_TURN);
    CHECK_INT(answered(&m), 0);
    CHECK_INT(first->state, FW_STATE_FLUSH);
    CHECK_INT(answer_and_take(&m, c, &c), FW_NEXT_TURN);
    CHECK_INT(answered(&m), 2);
    CHECK_INT(first->state, FW_STATE_IDLE);
    CHECK_INT(answer_and_take(&m, c, &c), FW_NEXT_TURN);
    CHECK_INT(answered(&m), 2);
    CHECK_INT(answer_and_take(&m, c, &c), FW_RETRY); /* nothing else to run: nothing waits */
    CHECK_INT(answered(&m), CLIENTS);
    close_crowd(&m);
}

static void none_is_held_where_none_may_be(void)
{
    crowd m;
    fw_conn *c;
    open_crowd(&m, 0, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    for (unsigned i = 1; i < CLIENTS; i++) {
        CHECK_INT(answer_and_take(&m, c, &c), FW_NEXT_TURN);
        CHECK_INT(answered(&m), i);
    }
    CHECK_INT(answer_and_take(&m, c, &c), FW_RETRY);
    close_crowd(&m);
}

static void a_large_response_is_not_held(void)
{
    static char body[FW_SHARE];
    crowd m;
    fw_conn *c;
    open_crowd(&m, FW_HELD, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    CHECK(loop_fixture_head(&m.s, c, sizeof body));
    CHECK_INT(fw_outq_copy(&c->out, &m.s.thread->cache, body, sizeof body), FW_OK);
    CHECK_INT(take(&m, c, true, true, &c), FW_NEXT_TURN);
    CHECK_INT(answered(&m), 1);
    fw_thread_finish(m.s.thread, c, false, true);
    close_crowd(&m);
}

static void a_held_response_is_sent_before_its_connection_closes(void)
{
    crowd m;
    fw_conn *c;
    open_crowd(&m, FW_HELD, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    CHECK(loop_fixture_head(&m.s, c, 0));
    CHECK_INT(take(&m, c, false, true, &c), FW_NEXT_TURN);
    CHECK_INT(answered(&m), 0);
    loop_fixture_finish(&m.s, c, false, true);
    loop_fixture_run(&m.s);
    CHECK_INT(answered(&m), CLIENTS - 1); /* that of the second one was cut */
    close_crowd(&m);
}

static void the_client_of_a_held_response_may_leave(void)
{
    const struct linger at_once = {.l_onoff = 1};
    crowd m;
    fw_conn *c, *first;
    open_crowd(&m, FW_HELD, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    first = c;
    CHECK_INT(answer_and_take(&m, c, &c), FW_NEXT_TURN);
    for (int i = 0; i < CLIENTS; i++)
        if (m.conns[i] == first) {
            CHECK(setsockopt(m.clients[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
            close(m.clients[i]); /* a reset */
            m.clients[i] = dup(m.s.listener);
        }
    fw_conn_event(&m.s.loop->conns, first, FW_EVENT_IN | FW_EVENT_ERR | FW_EVENT_EOF); /* the leader hears of it */
    CHECK_INT(first->state, FW_STATE_FLUSH);
    loop_fixture_finish(&m.s, c, true, false);
    loop_fixture_run(&m.s);
    CHECK_INT(m.s.loop->conns.stats.connections, CLIENTS - 1);
    close_crowd(&m);
}

static void a_stop_sends_what_is_held(void)
{
    crowd m;
    fw_conn *c, *next;
    open_crowd(&m, FW_HELD, false);
    CHECK_INT(take(&m, NULL, false, false, &c), FW_NEXT_TURN);
    CHECK_INT(answer_and_take(&m, c, &next), FW_NEXT_TURN);
    loop_fixture_abandon(&m.s);
    CHECK_INT(answered(&m), 1);
    loop_fixture_finish(&m.s, next, false, true);
    close_crowd(&m);
}

/* A standby runs, the answer to the first request is held, the second one has been taken. */
static fw_conn *second_with_first_held(crowd *m)
{
    fw_conn *c;
    open_crowd(m, FW_HELD, true);
    CHECK_INT(take(m, NULL, false, false, &c), FW_NEXT_TURN);
    atomic_store(&m->s.loop->conns.held_most, FW_HELD);
    CHECK(loop_fixture_head(&m->s, c, 0));
    CHECK_INT(take(m, c, true, false, &c), FW_NEXT_TURN);
    return c;
}

static void await_first(crowd *m)
{
    for (int i = 0; i < PATIENCE && answered(m) == 0; i++)
        poll(NULL, 0, 1);
    CHECK_INT(answered(m), 1);
}

/* The thread does not come back from its second call: the first answer arrives all the same. */
static void the_standby_sends_what_is_held_too_long(void)
{
    crowd m;
    fw_conn *c = second_with_first_held(&m);
    await_first(&m);
    fw_thread_finish(m.s.thread, c, false, true);
    close_crowd(&m);
}

/* It waits for a client: what it holds does not wait with it. */
static void the_standby_sends_what_a_waiting_thread_holds(void)
{
    crowd m;
    fw_conn *c = second_with_first_held(&m);
    CHECK_INT(fw_thread_wait(m.s.thread, c), FW_OK);
    await_first(&m);
    fw_thread_finish(m.s.thread, c, false, true);
    close_crowd(&m);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(held_responses_leave_together),
        T(none_is_held_where_none_may_be),
        T(a_large_response_is_not_held),
        T(a_held_response_is_sent_before_its_connection_closes),
        T(the_client_of_a_held_response_may_leave),
        T(a_stop_sends_what_is_held),
        T(the_standby_sends_what_is_held_too_long),
        T(the_standby_sends_what_a_waiting_thread_holds),
    };
    return RUN_TESTS(TESTS);
}
