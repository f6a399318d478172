/* test_loop.c - accepting and handing out; a system that runs short, and too many clients. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

/* One request and its answer. */
static void check_served(loop_fixture *s, int client)
{
    char got[4096];
    bool end;
    SAY(client, GET);
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 1, &end);
    CHECK(!end);
    CHECK_INT(responses_in(got, n), 1);
    CHECK(strstr(got, "GET /x 0 ") != NULL);
}

static void check_ended(loop_fixture *s, int client, const char *expected)
{
    char got[4096];
    bool end;
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 99, &end);
    CHECK(end);
    if (expected == NULL)
        CHECK_INT(n, 0);
    else if (strstr(got, expected) == NULL)
        FAIL("no %s in: %s", expected, got);
}

/* ---- serving --------------------------------------------------------------------------------------------------- */

static void clients_are_accepted_and_served(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    int clients[20];
    loop_fixture_open(&s, &cfg);
    for (int i = 0; i < 20; i++)
        clients[i] = loop_fixture_client(&s);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 20; i++)
            check_served(&s, clients[i]);
    CHECK_INT(s.loop->conns.stats.accepted, 20);
    CHECK_INT(s.loop->conns.stats.requests, 60);
    CHECK_INT(s.loop->conns.stats.connections, 20);
    for (int i = 0; i < 20; i++)
        close(clients[i]);
    loop_fixture_run(&s);
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.stats.connections, 0);
    loop_fixture_close(&s);
}

static void the_steady_state_is_one_recv_one_send_and_no_epoll_ctl(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_client(&s);
    for (int i = 0; i < 3; i++)
        check_served(&s, client);
    faults_clear();
    enum { N = 10 };
    for (int i = 0; i < N; i++)
        check_served(&s, client);
    CHECK_INT(fault_calls(FAULT_RECV), N);
    CHECK_INT(fault_calls(FAULT_SEND), N);
    CHECK_INT(fault_calls(FAULT_SENDMSG), 0);
    CHECK_INT(fault_calls(FAULT_EPOLL_CTL), 0);
    CHECK_INT(fault_calls(FAULT_MEMORY), 0);
    close(client);
    loop_fixture_close(&s);
}

static void waking_makes_the_loop_return(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_WAKE); /* it would sleep */
    CHECK_INT(poll_patience(), -1);
    for (int i = 0; i < 100000; i++)
        fw_loop_wake(s.loop); /* a full pipe does no harm */
    do {
        faults_clear();
        CHECK_INT(loop_fixture_next(&s, &c), FW_NEXT_WAKE);
        CHECK(c == NULL);
    } while (fault_calls(FAULT_READ) > 0);
    CHECK_INT(poll_patience(), -1); /* all is swallowed: it would sleep again */
    loop_fixture_close(&s);
}

static void a_listener_too_many_is_refused(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    for (int i = 1; i < FW_LISTENERS; i++)
        CHECK_INT(fw_loop_listen(s.loop, s.listener, true), i);
    CHECK_INT(fw_loop_listen(s.loop, s.listener, true), -EMFILE);
    s.loop->nlisteners = 1;
    loop_fixture_close(&s);
}

/* ---- running short --------------------------------------------------------------------------------------------- */

static void out_of_descriptors_pauses_accepting_and_spares_the_others(void)
{
    static const int ERRORS[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        const fw_config cfg = defaults();
        loop_fixture s;
        trying("%s", strerror(ERRORS[i]));
        loop_fixture_open(&s, &cfg);
        const int first = loop_fixture_client(&s);
        check_served(&s, first);
        const int second = loop_fixture_client(&s);
        fault_fail(FAULT_ACCEPT, 0, FOR_EVER, ERRORS[i]);
        check_served(&s, first);
        const unsigned tries = fault_calls(FAULT_ACCEPT);
        CHECK(!s.loop->accepting);
        CHECK_INT(fw_leader_notices(s.leader), FW_NOTICE_DESCRIPTORS);
        for (int k = 0; k < 5; k++)
            check_served(&s, first);
        CHECK_INT(fault_calls(FAULT_ACCEPT), tries); /* paused: not asked again */
        loop_fixture_run(&s);
        CHECK(poll_patience() > 0 && poll_patience() <= 100);
        clock_advance(100);
        loop_fixture_run(&s);
        CHECK_INT(fw_leader_notices(s.leader), 0); /* said once */
        faults_clear();
        clock_advance(100);
        check_served(&s, second);
        check_served(&s, first);
        close(first);
        close(second);
        loop_fixture_close(&s);
    }
}

static void the_worker_learns_at_once_that_accepting_is_paused(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    loop_fixture_run(&s);
    const int client = loop_fixture_client(&s);
    faults_clear();
    fault_fail(FAULT_ACCEPT, 0, 1, EMFILE);
    CHECK_INT(loop_fixture_next(&s, &c), FW_NEXT_WAKE);
    CHECK_INT(fault_calls(FAULT_EPOLL_WAIT), 1); /* it has not waited for something else to happen */
    CHECK_INT(fw_leader_notices(s.leader), FW_NOTICE_DESCRIPTORS);
    close(client);
    loop_fixture_close(&s);
}

static void a_stop_while_accepting_is_paused_does_not_spin(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int slow = loop_fixture_client(&s);
    SAY(slow, "GET / HTT");
    loop_fixture_run(&s);
    fault_fail(FAULT_ACCEPT, 0, 1, EMFILE);
    const int client = loop_fixture_client(&s);
    loop_fixture_run(&s);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    loop_fixture_run(&s);
    clock_advance(1000);
    loop_fixture_run(&s);
    loop_fixture_run(&s);
    CHECK(poll_patience() > 0);
    close(slow);
    close(client);
    loop_fixture_close(&s);
}

static void a_client_that_changed_its_mind_is_passed_over(void)
{
    static const int ERRORS[] = {EINTR, ECONNABORTED, EPERM, EPROTO};
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int first = loop_fixture_client(&s);
    check_served(&s, first);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        faults_clear();
        fault_fail(FAULT_ACCEPT, 0, 1000, ERRORS[i]);
        const int client = loop_fixture_client(&s);
        check_served(&s, first);
        CHECK(fault_calls(FAULT_EPOLL_WAIT) > 10); /* however often, the others get their turn */
        check_served(&s, client);
        close(client);
    }
    close(first);
    loop_fixture_close(&s);
}

static void a_connection_without_memory_is_closed(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int first = loop_fixture_client(&s);
    check_served(&s, first);
    const int second = loop_fixture_client(&s);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    check_ended(&s, second, NULL);
    CHECK_INT(fw_leader_notices(s.leader), FW_NOTICE_DESCRIPTORS);
    check_served(&s, first);
    clock_advance(100);
    const int third = loop_fixture_client(&s);
    check_served(&s, third);
    close(first);
    close(second);
    close(third);
    loop_fixture_close(&s);
}

static void listeners_that_cannot_be_registered_are_tried_again(void)
{
    static const int ERRORS[] = {ENOMEM, ENOSPC};
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        const fw_config cfg = defaults();
        loop_fixture s;
        faults_clear();
        loop_fixture_open(&s, &cfg);
        const int first = loop_fixture_client(&s);
        check_served(&s, first);
        fault_fail(FAULT_ACCEPT, 0, 1, EMFILE);
        const int second = loop_fixture_client(&s);
        loop_fixture_run(&s);
        CHECK(!s.loop->accepting);
        clock_advance(100);
        fault_fail(FAULT_EPOLL_CTL, 0, 1, ERRORS[i]);
        for (int k = 0; k < 3; k++) /* time passes in the poll */
            CHECK_INT(loop_fixture_run(&s), FW_NEXT_WAKE);
        CHECK_INT(fault_hits(FAULT_EPOLL_CTL), 1);
        check_served(&s, first);
        clock_advance(100);
        check_served(&s, second);
        close(first);
        close(second);
        loop_fixture_close(&s);
    }
}

static void a_loop_that_cannot_be_opened_leaves_nothing_behind(void)
{
    static const struct {
        enum fault fault;
        int error;
    } CASES[] = {
        {FAULT_EPOLL_CREATE, EMFILE}, {FAULT_EPOLL_CTL, ENOSPC}, {FAULT_PIPE, EMFILE}, {FAULT_PIPE, ENFILE},
    };
    const fw_config cfg = defaults();
    fw_leader *l = NULL;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        fault_fail(CASES[i].fault, 0, 1, CASES[i].error);
        CHECK_INT(fw_leader_open(&l, parser(), &cfg), -CASES[i].error);
    }
    faults_clear();
    for (unsigned k = 0;; k++) {
        fault_fail(FAULT_MEMORY, k, 1, ENOMEM);
        int rc = fw_leader_open(&l, parser(), &cfg);
        if (rc == FW_OK)
            break;
        CHECK_INT(rc, -ENOMEM);
        CHECK(l == NULL);
    }
    CHECK(fault_hits(FAULT_MEMORY) >= 3);
    fw_leader_close(l);
}

static void a_poller_that_breaks_is_reported(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    fault_fail(FAULT_EPOLL_WAIT, 0, 1, EBADF);
    CHECK_INT(loop_fixture_run(&s), -EBADF);
    CHECK_INT(loop_fixture_run(&s), -EBADF); /* for good */
    loop_fixture_close(&s);
}

/* ---- too many -------------------------------------------------------------------------------------------------- */

static void past_the_limit_clients_wait_in_the_backlog(void)
{
    fw_config cfg = defaults();
    cfg.max_connections = 2;
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int a = loop_fixture_client(&s), b = loop_fixture_client(&s), c = loop_fixture_client(&s);
    check_served(&s, a);
    check_served(&s, b);
    SAY(c, GET);
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.stats.connections, 2);
    CHECK_INT(fw_leader_notices(s.leader), FW_NOTICE_CONNECTIONS);
    check_served(&s, a);
    close(b);
    char got[4096];
    CHECK(loop_fixture_hear(&s, c, got, sizeof got, 1, NULL) > 0);
    CHECK_INT(s.loop->conns.stats.connections, 2);
    close(a);
    close(c);
    loop_fixture_close(&s);
}

static void past_the_limit_clients_are_told_503(void)
{
    fw_config cfg = defaults();
    cfg.max_connections = 1;
    cfg.overload_refuse = true;
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int a = loop_fixture_client(&s);
    check_served(&s, a);
    for (int i = 0; i < 5; i++) {
        const int b = loop_fixture_client(&s);
        check_ended(&s, b, "HTTP/1.1 503 ");
        close(b);
        loop_fixture_run(&s);
    }
    check_served(&s, a);
    CHECK_INT(s.loop->conns.stats.refused, 5);
    close(a);
    loop_fixture_close(&s);
}

static void running_short_at_the_limit_does_not_spin(void)
{
    fw_config cfg = defaults();
    cfg.max_connections = 1;
    cfg.overload_refuse = true;
    cfg.timeouts[FW_CLASS_KEEPALIVE] = 0;
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int a = loop_fixture_client(&s);
    check_served(&s, a);
    fault_fail(FAULT_ACCEPT, 0, 1, EMFILE);
    const int b = loop_fixture_client(&s);
    loop_fixture_run(&s);
    CHECK(!s.loop->accepting);
    clock_advance(1000);
    loop_fixture_run(&s);
    CHECK(poll_patience() != 0);
    check_ended(&s, b, "HTTP/1.1 503 ");
    close(a);
    close(b);
    loop_fixture_close(&s);
}

static void a_crowd_of_the_refused_is_bounded(void)
{
    fw_config cfg = defaults();
    cfg.max_connections = 1;
    cfg.overload_refuse = true;
    loop_fixture s;
    int clients[100];
    loop_fixture_open(&s, &cfg);
    for (int i = 0; i < 100; i++) {
        clients[i] = loop_fixture_client(&s); /* they do not hang up: the refused linger */
        loop_fixture_run(&s);
    }
    CHECK(s.loop->conns.stats.connections <= 1 + 64);
    loop_fixture_run(&s);
    CHECK(poll_patience() != 0);
    for (int i = 0; i < 100; i++)
        close(clients[i]);
    for (int i = 0; i < 10; i++)
        loop_fixture_run(&s);
    const int late = loop_fixture_client(&s);
    check_served(&s, late);
    close(late);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(clients_are_accepted_and_served),
        T(the_steady_state_is_one_recv_one_send_and_no_epoll_ctl),
        T(waking_makes_the_loop_return),
        T(a_listener_too_many_is_refused),
        T(out_of_descriptors_pauses_accepting_and_spares_the_others),
        T(the_worker_learns_at_once_that_accepting_is_paused),
        T(a_stop_while_accepting_is_paused_does_not_spin),
        T(a_client_that_changed_its_mind_is_passed_over),
        T(a_connection_without_memory_is_closed),
        T(listeners_that_cannot_be_registered_are_tried_again),
        T(a_loop_that_cannot_be_opened_leaves_nothing_behind),
        T(a_poller_that_breaks_is_reported),
        T(past_the_limit_clients_wait_in_the_backlog),
        T(past_the_limit_clients_are_told_503),
        T(running_short_at_the_limit_does_not_spin),
        T(a_crowd_of_the_refused_is_bounded),
    };
    return RUN_TESTS(TESTS);
}
