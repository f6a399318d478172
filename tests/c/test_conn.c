/* test_conn.c - one connection from its first byte to its last: requests, refusals, ends. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(n) "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: " n "\r\n\r\n"

static char got[4 << 20];

/* A client whose connection has answered one request and is idle. */
static int idle_client(loop_fixture *s, fw_conn **c)
{
    const int client = loop_fixture_pair(s, false, c);
    SAY(client, GET);
    CHECK(loop_fixture_hear(s, client, got, sizeof got, 1, NULL) > 0);
    CHECK_INT((*c)->state, FW_STATE_IDLE);
    return client;
}

static void check_answer(loop_fixture *s, int client, const char *expected)
{
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 1, NULL);
    if (responses_in(got, n) != 1 || strstr(got, expected) == NULL)
        FAIL("not %s but: %s", expected, got);
}

static void check_end(loop_fixture *s, int client, const char *expected)
{
    bool end;
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 99, &end);
    CHECK(end);
    if (expected == NULL)
        CHECK_INT(n, 0);
    else if (strstr(got, expected) == NULL)
        FAIL("not %s but: %s", expected, got);
}

/* Lets time pass and the loop notice it. */
static void wait_ms(loop_fixture *s, unsigned ms)
{
    clock_advance(ms);
    loop_fixture_run(s);
    loop_fixture_run(s);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void an_idle_connection_holds_no_buffer(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = idle_client(&s, &c);
    CHECK(c->in == NULL && c->req == NULL && c->out.head == NULL);
    SAY(client, "GET / HT");
    faults_clear();
    loop_fixture_run(&s);
    CHECK_INT(fault_calls(FAULT_RECV), 1);
    CHECK_INT(c->state, FW_STATE_HEAD);
    CHECK(c->in != NULL && c->in->cap < 4096); /* a piece of a head keeps a small one */
    SAY(client, "TP/1.1\r\nHost: h\r\n\r\n");
    check_answer(&s, client, "GET / 0");
    CHECK(c->in == NULL && c->req == NULL);
    close(client);
    loop_fixture_close(&s);
}

static void requests_arrive_byte_by_byte(void)
{
    static const char REQUEST[] = POST("5") "hello";
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof REQUEST - 1; i++) {
            CHECK_INT(s.requests, round);
            say(client, REQUEST + i, 1);
            loop_fixture_run(&s);
        }
        check_answer(&s, client, "POST /p 5 ");
    }
    close(client);
    loop_fixture_close(&s);
}

static void pipelined_requests_are_answered_in_order_and_share_a_send(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    char requests[8192];
    size_t n = 0;
    loop_fixture_open(&s, &cfg);
    s.loop->conns.shares = true; /* as with a standby, which would send what waits for too long */
    const int client = loop_fixture_pair(&s, false, &c);
    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(requests + n, sizeof requests - n,
                              i % 3 == 0 ? "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                              : i % 3 == 1
                                  ? "POST /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
                                  : "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n",
                              i);
    faults_clear();
    say(client, requests, n);
    const size_t have = loop_fixture_hear(&s, client, got, sizeof got, 20, NULL);
    CHECK_INT(responses_in(got, have), 20);
    const char *at = got;
    for (int i = 0; i < 20; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, " /%d ", i);
        at = strstr(at, expected);
        CHECK(at != NULL);
    }
    CHECK(fault_calls(FAULT_SEND) <= 2);
    CHECK_INT(fault_calls(FAULT_RECV), 1);
    close(client);
    loop_fixture_close(&s);
}

/* A lone CRLF, a half of it, a piece of a head, of a body: each waits behind a good request for its rest. */
static void the_beginning_of_a_request_waits_behind_another(void)
{
    static const char *const PIECES[][2] = {
        {"\r\n", "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"\r", "\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"G", "ET /2 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"GET /2 HTTP/1.1\r\nHo", "st: h\r\n\r\n"},
        {"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab", "cd"},
        {"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "abcd"},
        {"POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r", "\nx\r\n0\r\n\r\n"},
    };
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(PIECES); i++) {
        const int client = loop_fixture_pair(&s, false, &c);
        trying("%s", PIECES[i][0]);
        char first[256];
        snprintf(first, sizeof first, GET "%s", PIECES[i][0]);
        SAY(client, first);
        check_answer(&s, client, " /x ");
        CHECK(c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY);
        SAY(client, PIECES[i][1]);
        check_answer(&s, client, " /2 ");
        CHECK_INT(c->state, FW_STATE_IDLE);
        close(client);
        loop_fixture_run(&s);
    }
    loop_fixture_close(&s);
}

static void bodies_of_every_size_and_framing_arrive_whole(void)
{
    static char body[300000], request[700000];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 7);
    static const size_t SIZES[] = {1, 100, 4096, 8192, 32000, 32768, 65536, 99999, 100000, 100001, 131072, 300000};
    fw_config cfg = defaults();
    cfg.body_memory = 100000;
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(SIZES); i++) {
        uint32_t sum = 0;
        for (size_t k = 0; k < SIZES[i]; k++)
            sum = sum * 31 + (uint8_t)body[k];
        for (int style = 0; style < 4; style++) {
            size_t n = (size_t)snprintf(request, 200, "POST /p HTTP/1.1\r\nHost: h\r\n");
            if (style % 2 == 0) {
                n += (size_t)snprintf(request + n, 100, "Content-Length: %zu\r\n\r\n", SIZES[i]);
                memcpy(request + n, body, SIZES[i]);
                n += SIZES[i];
            } else {
                n += (size_t)snprintf(request + n, 100, "Transfer-Encoding: chunked\r\n\r\n");
                for (size_t at = 0, step = 1; at < SIZES[i]; at += step) {
                    step = step * 3 % 20011 + 1 < SIZES[i] - at ? step * 3 % 20011 + 1 : SIZES[i] - at;
                    n += (size_t)snprintf(request + n, 20, "%zx\r\n", step);
                    memcpy(request + n, body + at, step);
                    n += step;
                    memcpy(request + n, "\r\n", 2);
                    n += 2;
                }
                memcpy(request + n, "0\r\n\r\n", 5);
                n += 5;
            }
            memcpy(request + n, GET, sizeof GET - 1); /* and a request right behind */
            n += sizeof GET - 1;
            trying("%zu bytes, style %d", SIZES[i], style);
            const int client = loop_fixture_pair(&s, false, &c);
            const size_t bite = style < 2 ? n : 1500;
            for (size_t at = 0; at < n; at += bite) {
                for (size_t from = at, to = at + bite < n ? at + bite : n; from < to;) {
                    ssize_t sent = sendto(client, request + from, to - from, MSG_NOSIGNAL, NULL, 0);
                    CHECK(sent > 0 || errno == EAGAIN);
                    from += sent > 0 ? (size_t)sent : 0;
                    loop_fixture_run(&s);
                }
            }
            const size_t have = loop_fixture_hear(&s, client, got, sizeof got, 2, NULL);
            char expected[64];
            snprintf(expected, sizeof expected, "POST /p %zu %08x ", SIZES[i], sum);
            CHECK_INT(responses_in(got, have), 2);
            CHECK(strstr(got, expected) != NULL && strstr(got, "GET /x 0 ") != NULL);
            close(client);
            loop_fixture_run(&s);
        }
    }
    loop_fixture_close(&s);
}

static void leave_to_send_a_body_is_given_once_and_only_if_needed(void)
{
    static const char HEAD[] = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    SAY(client, HEAD);
    check_answer(&s, client, "HTTP/1.1 100 Continue\r\n\r\n");
    SAY(client, "a");
    CHECK_INT(loop_fixture_hear(&s, client, got, sizeof got, 0, NULL), 0);
    SAY(client, "b");
    check_answer(&s, client, "POST /p 2 ");
    SAY(client, HEAD);
    SAY(client, "a"); /* it has not waited */
    CHECK_INT(loop_fixture_hear(&s, client, got, sizeof got, 0, NULL), 0);
    SAY(client, "b");
    check_answer(&s, client, "POST /p 2 ");
    fault_fail(FAULT_SEND, 0, 1, EAGAIN); /* the interim response waits for the next event */
    SAY(client, HEAD);
    CHECK_INT(loop_fixture_hear(&s, client, got, sizeof got, 0, NULL), 0);
    SAY(client, "a");
    check_answer(&s, client, "HTTP/1.1 100 Continue\r\n\r\n");
    SAY(client, "b");
    check_answer(&s, client, "POST /p 2 ");
    fault_fail(FAULT_SEND, 0, 1, EPIPE);
    SAY(client, HEAD);
    check_end(&s, client, NULL);
    close(client);
    loop_fixture_close(&s);
}

/* ---- refusals and ends ----------------------------------------------------------------------------------------- */

static void nothing_is_read_as_a_request_after_a_refusal(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    SAY(client, GET "BAD\r\n\r\n" GET);
    check_end(&s, client, "HTTP/1.1 400 ");
    CHECK(strstr(got, " /x ") != NULL && responses_in(got, strlen(got)) == 2);
    CHECK_INT(s.requests, 1);
    CHECK_INT(c->state, FW_STATE_LINGER);
    SAY(client, GET GET);
    loop_fixture_run(&s);
    CHECK_INT(s.requests, 1);
    wait_ms(&s, cfg.timeouts[FW_CLASS_LINGER]);
    CHECK_INT(s.loop->conns.stats.connections, 0);
    close(client);
    loop_fixture_close(&s);
}

/* Over TCP, closing with unread bytes resets the connection, and a reset overtakes the response. */
static void a_client_that_is_still_talking_reads_its_refusal(void)
{
    static char body[500000];
    fw_config cfg = defaults();
    cfg.limit_body = 1000;
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    for (int shut = 0; shut < 2; shut++) {
        const int client = loop_fixture_client(&s);
        SAY(client, GET);
        check_answer(&s, client, " /x ");
        SAY(client, POST("100000"));
        say(client, body, 100000);
        if (shut)
            CHECK(shutdown(client, SHUT_WR) == 0);
        check_end(&s, client, "HTTP/1.1 413 ");
        CHECK(!s.reset);
        close(client);
        loop_fixture_run(&s);
    }
    loop_fixture_close(&s);
}

static void answer_and_leave(loop_fixture *s, fw_conn *c)
{
    const bool cut = s->data != NULL;
    CHECK(loop_fixture_head(s, c, 0));
    fw_conn_finish(&s->loop->conns, c, false, cut, false);
}

/* Who breaks off hangs up at once; who ends in peace waits for the client, unless that has nothing more to say. */
static void a_connection_lingers_when_the_client_may_still_talk(void)
{
    static const struct {
        const char *request;
        bool cut, lingers;
    } CASES[] = {
        {GET, false, true},
        {GET, true, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nmore", false, true},
    };
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    int token;
    loop_fixture_open(&s, &cfg);
    s.app = answer_and_leave;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        trying("case %zu", i);
        s.data = CASES[i].cut ? &token : NULL;
        const int client = loop_fixture_pair(&s, false, &c);
        SAY(client, CASES[i].request);
        check_end(&s, client, "HTTP/1.1 200 OK");
        CHECK_INT(s.loop->conns.stats.connections, CASES[i].lingers);
        close(client);
        loop_fixture_run(&s);
    }
    loop_fixture_close(&s);
}

static void a_client_that_has_shut_its_side_gets_its_response(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (int late = 0; late < 2; late++) {
        const int client = loop_fixture_pair(&s, false, &c);
        if (late)
            loop_fixture_run(&s);
        SAY(client, GET GET);
        CHECK(shutdown(client, SHUT_WR) == 0);
        check_end(&s, client, " /x ");
        CHECK_INT(responses_in(got, strlen(got)), 2);
        close(client);
    }
    CHECK_INT(s.loop->conns.stats.truncated, 0);
    loop_fixture_close(&s);
}

static void an_end_in_the_middle_is_counted_and_not_answered(void)
{
    static const char *const BEGINNINGS[] = {"G", "GET / HTTP/1.1\r\nHost", POST("5"), POST("5") "abcd"};
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(BEGINNINGS); i++) {
        const int client = loop_fixture_pair(&s, false, &c);
        SAY(client, BEGINNINGS[i]);
        CHECK(shutdown(client, SHUT_WR) == 0);
        check_end(&s, client, NULL);
        CHECK_INT(s.loop->conns.stats.truncated, i + 1);
        close(client);
    }
    CHECK_INT(s.requests, 0);
    loop_fixture_close(&s);
}

static void a_connection_that_breaks_while_reading_is_counted(void)
{
    static const int ERRORS[] = {ECONNRESET, ETIMEDOUT, ENOTCONN, ENOMEM};
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        const int client = loop_fixture_pair(&s, false, &c);
        SAY(client, "GET / H");
        loop_fixture_run(&s);
        fault_fail(FAULT_RECV, 0, 1, ERRORS[i]);
        SAY(client, "TTP/1.1\r\nHost: h\r\n\r\n");
        check_end(&s, client, NULL);
        CHECK_INT(s.loop->conns.stats.broken, i + 1);
        close(client);
    }
    loop_fixture_close(&s);
}

static void interrupted_and_tiny_reads_change_nothing(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    fault_fail(FAULT_RECV, 0, 5, EINTR);
    SAY(client, GET);
    check_answer(&s, client, " /x ");
    fault_fail(FAULT_RECV, 0, 1, EAGAIN); /* an event in vain; the bytes come with the next */
    SAY(client, "GET /2 HTTP/1.1\r\n");
    loop_fixture_run(&s);
    SAY(client, "Host: h\r\n\r\n");
    check_answer(&s, client, " /2 ");
    close(client);
    loop_fixture_close(&s);
}

static void a_poller_that_refuses_costs_the_connection_alone(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c, *d;
    loop_fixture_open(&s, &cfg);
    const int other = idle_client(&s, &d);
    fault_fail(FAULT_EPOLL_CTL, 0, 1, ENOSPC);
    const int client = loop_fixture_pair(&s, false, &c);
    check_end(&s, client, NULL);
    SAY(other, GET);
    check_answer(&s, other, " /x ");
    close(client);
    close(other);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(an_idle_connection_holds_no_buffer),
        T(requests_arrive_byte_by_byte),
        T(pipelined_requests_are_answered_in_order_and_share_a_send),
        T(the_beginning_of_a_request_waits_behind_another),
        T(bodies_of_every_size_and_framing_arrive_whole),
        T(leave_to_send_a_body_is_given_once_and_only_if_needed),
        T(nothing_is_read_as_a_request_after_a_refusal),
        T(a_client_that_is_still_talking_reads_its_refusal),
        T(a_connection_lingers_when_the_client_may_still_talk),
        T(a_client_that_has_shut_its_side_gets_its_response),
        T(an_end_in_the_middle_is_counted_and_not_answered),
        T(a_connection_that_breaks_while_reading_is_counted),
        T(interrupted_and_tiny_reads_change_nothing),
        T(a_poller_that_refuses_costs_the_connection_alone),
    };
    return RUN_TESTS(TESTS);
}
