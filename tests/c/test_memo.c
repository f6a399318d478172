/* test_memo.c - remembered heads: with them and without them, a server answers the same. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <unistd.h>

#define BROWSER                                                                                                        \
    "Host: example.org\r\nUser-Agent: a browser of some name\r\nAccept: text/html\r\nAccept-Language: eo\r\n"

static char got[1 << 20];

static fw_config without_memo(void)
{
    fw_config cfg = defaults();
    cfg.memo = false;
    return cfg;
}

/* ---- on a connection ------------------------------------------------------------------------------------------- */

static void a_head_that_comes_again_is_recalled(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    for (int i = 0; i < 10; i++) {
        SAY(client, "GET /same?q HTTP/1.1\r\n" BROWSER "\r\n");
        CHECK(loop_fixture_hear(&s, client, got, sizeof got, 1, NULL) > 0);
        CHECK(strstr(got, "GET /same?q 0 00000000 5+1 ") != NULL);
    }
    CHECK_INT(s.memos, 1);
    CHECK_INT(s.recalled, 7); /* noted at the second, filled at the third */
    for (int i = 0; i < 10; i++) {
        char request[256], expected[64];
        snprintf(request, sizeof request, "HEAD /other/%d HTTP/1.1\r\n" BROWSER "\r\n", i);
        SAY(client, request);
        CHECK(loop_fixture_hear(&s, client, got, sizeof got, 1, NULL) > 0);
        snprintf(expected, sizeof expected, "HEAD /other/%d 0 00000000 8+0 ", i);
        CHECK(strstr(got, expected) != NULL);
    }
    CHECK_INT(s.recalled, 17);
    close(client);
    loop_fixture_close(&s);
}

static void a_single_request_is_not_remembered(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (int i = 0; i < 5; i++) {
        const int client = loop_fixture_pair(&s, false, &c);
        SAY(client, "GET /same HTTP/1.1\r\n" BROWSER "\r\n");
        CHECK(loop_fixture_hear(&s, client, got, sizeof got, 1, NULL) > 0);
        close(client);
        loop_fixture_run(&s);
    }
    CHECK_INT(s.memos, 0);
    for (unsigned i = 0; i < FW_MEMOS; i++)
        CHECK(s.loop->conns.memos.slots[i].bytes == NULL);
    loop_fixture_close(&s);
}

static void heads_that_differ_only_where_it_matters_are_told_apart(void)
{
    static const char *const REQUESTS[] = {
        "GET /a HTTP/1.1\r\n" BROWSER "\r\n",
        "GET /a HTTP/1.0\r\n" BROWSER "\r\n",
        "GET /a HTTP/1.1\r\n" BROWSER "Connection: keep-alive\r\n\r\n",
        "GET /a HTTP/1.0\r\n" BROWSER "Connection: keep-alive\r\n\r\n",
        "GET http://h/a HTTP/1.1\r\n" BROWSER "\r\n",
        "OPTIONS * HTTP/1.1\r\n" BROWSER "\r\n",
        "POST /a HTTP/1.1\r\n" BROWSER "Content-Length: 0\r\n\r\n",
        "POST /a HTTP/1.1\r\n" BROWSER "Content-Length: 1\r\n\r\nx",
        "\r\nGET /a HTTP/1.1\r\n" BROWSER "\r\n",
        "GET /a?b HTTP/1.1\r\n" BROWSER "\r\n",
        "POST /a HTTP/1.1\r\n" BROWSER "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    fw_config with = defaults(), without = without_memo();
    const fw_config *both[2] = {&with, &without};
    static char answers[2][1 << 20];
    size_t length[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        loop_fixture s;
        fw_conn *c;
        loop_fixture_open(&s, both[k]);
        uint32_t seed = 9;
        for (int round = 0; round < 40; round++) {
            const int client = loop_fixture_pair(&s, false, &c);
            const char *request = REQUESTS[0];
            for (int i = 0; i < 60; i++) {
                bool end;
                if (dice(&seed) % 3 == 0)
                    request = REQUESTS[dice(&seed) % COUNT(REQUESTS)];
                SAY(client, request);
                length[k] += loop_fixture_hear(&s, client, answers[k] + length[k], sizeof answers[k] - length[k], 0, &end);
                if (end)
                    break;
            }
            close(client);
            loop_fixture_run(&s);
        }
        CHECK_INT(s.recalled > 50, k == 0);
        loop_fixture_close(&s);
    }
    CHECK(length[0] > 10000);
    check_bytes(__FILE__, __LINE__, "answers", answers[0], length[0], answers[1], length[1]);
}

/* A remembered block behind a request line that is wrong: refused for the line, as it would be without the memo. */
static void a_bad_line_before_a_known_block_is_refused(void)
{
    static const struct {
        const char *line;
        int status;
    } LINES[] = {
        {"GET  /a HTTP/1.1", 400}, {"GET /a  HTTP/1.1", 400}, {"GET /a HTTP/1.1 ", 400}, {"GET /a\x01 HTTP/1.1", 400},
        {"GET /a HTTP/2.0", 505},  {"GET /a", 505},           {"BREW /a HTTP/1.1", 501}, {"CONNECT a:1 HTTP/1.1", 501},
        {"GET * HTTP/1.1", 400},   {"GET /a HTTP/1.1\r\n", 400},
    };
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(LINES); i++) {
        const int client = loop_fixture_pair(&s, false, &c);
        for (int k = 0; k < 4; k++) {
            SAY(client, "GET /a HTTP/1.1\r\n" BROWSER "\r\n");
            CHECK(loop_fixture_hear(&s, client, got, sizeof got, 1, NULL) > 0);
        }
        char request[512], expected[32];
        trying("%s", LINES[i].line);
        snprintf(request, sizeof request, "%s\r\n" BROWSER "\r\n", LINES[i].line);
        SAY(client, request);
        CHECK(loop_fixture_hear(&s, client, got, sizeof got, 1, NULL) > 0);
        snprintf(expected, sizeof expected, "HTTP/1.1 %d ", LINES[i].status);
        if (strstr(got, expected) != got)
            FAIL("%s", got);
        close(client);
        loop_fixture_run(&s);
    }
    CHECK(s.recalled > 10);
    loop_fixture_close(&s);
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static fw_request *parsed(const fw_config *cfg, const char *bytes)
{
    fw_request *r = fw_request_open(parser(), cfg);
    CHECK(r != NULL);
    CHECK_INT(fw_request_parse(r, bytes, strlen(bytes)), FW_PARSE_DONE);
    return r;
}

static void every_user_comes_back(void)
{
    const fw_config cfg = defaults();
    static fw_memos table; /* zeroed */
    int users = 0, owner;
    for (int i = 0; i < 2000; i++) {
        char head[256];
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nX-Number: %d and more to tell it by\r\n\r\n", i);
        for (int again = 0; again < 2; again++) {
            fw_request *r = parsed(&cfg, head);
            fw_memo_note(&table, r, 0);
            if (r->memo_use == FW_MEMO_FILL) {
                fw_memo_fill(r, &owner);
                users++;
            }
            fw_memo_unpin(r);
            fw_request_close(r);
        }
        CHECK(users > i || table.nto_release > 0); /* nobody has collected: the table may stop to overwrite */
    }
    CHECK(users > FW_MEMOS);
    fw_memos_clear(&table);
    for (void *user; (user = fw_memo_to_release(&table)) != NULL; users--)
        CHECK(user == &owner);
    CHECK_INT(users, 0);
}

static void a_memo_in_use_stays_as_it_is(void)
{
    const fw_config cfg = defaults();
    static fw_memos table;
    static const char HEAD[] = "GET /kept HTTP/1.1\r\nHost: h\r\nX-Number: 0 and more to tell it by\r\n\r\n";
    int owner;
    fw_request *r = parsed(&cfg, HEAD);
    const unsigned slot = fw_memo_note(&table, r, 0);
    CHECK(slot > 0);
    CHECK_INT(fw_memo_note(&table, r, 0), slot);
    CHECK_INT(r->memo_use, FW_MEMO_FILL);
    fw_memo_fill(r, &owner);
    fw_memo *m = r->memo;
    for (int i = 0; i < 500; i++) {
        char head[128];
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nX-Number: %d and more to tell it by\r\n\r\n", i);
        fw_request *other = parsed(&cfg, head);
        fw_memo_note(&table, other, 0);
        fw_request_close(other);
    }
    enum fw_memo_use use;
    CHECK(fw_memo_find(&table, slot, HEAD, sizeof HEAD - 1, 0, &use) == m && use == FW_MEMO_FULL);
    CHECK(fw_memo_find(&table, slot, HEAD, sizeof HEAD - 2, 0, &use) == NULL);
    CHECK(fw_memo_find(&table, slot, HEAD, sizeof HEAD - 1, 1, &use) == NULL);
    CHECK(fw_memo_find(&table, slot, HEAD, 10, 0, &use) == NULL);
    fw_request_close(r);
    fw_memos_clear(&table);
    CHECK(fw_memo_to_release(&table) == &owner);
    CHECK(fw_memo_to_release(&table) == NULL);
}

static void what_a_memo_must_not_hold_is_not_noted(void)
{
    static const char *const HEADS[] = {
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    const fw_config cfg = defaults();
    static fw_memos table;
    for (size_t i = 0; i < COUNT(HEADS); i++) {
        fw_request *r = parsed(&cfg, HEADS[i]);
        CHECK_INT(fw_memo_note(&table, r, 0), 0);
        CHECK_INT(r->memo_use, FW_MEMO_NONE);
        fw_request_close(r);
    }
}

static void no_memory_means_no_memo(void)
{
    const fw_config cfg = defaults();
    static fw_memos table;
    fw_request *r = parsed(&cfg, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(fw_memo_note(&table, r, 0), 0);
    CHECK(fw_memo_note(&table, r, 0) > 0);
    fw_request_close(r);
    fw_memos_clear(&table);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_head_that_comes_again_is_recalled),
        T(a_single_request_is_not_remembered),
        T(heads_that_differ_only_where_it_matters_are_told_apart),
        T(a_bad_line_before_a_known_block_is_refused),
        T(every_user_comes_back),
        T(a_memo_in_use_stays_as_it_is),
        T(what_a_memo_must_not_hold_is_not_noted),
        T(no_memory_means_no_memo),
    };
    return RUN_TESTS(TESTS);
}
