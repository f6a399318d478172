/* test_request.c - heads, chunked bodies and refusals: whole, byte by byte, and cut anywhere. */
#include "http/check.h"
#include "faults.h"
#include "feed.h"
#include "harness.h"

#define H "Host: h\r\n"

/* The case in every segmentation: all come to the same. */
static void check_everywhere(const fw_config *cfg, const char *bytes, size_t n, enum fw_parse head, int status)
{
    feed whole, other;
    feed_open(&whole, cfg, bytes, n, 0, n);
    CHECK_INT(whole.head, head);
    CHECK_INT(whole.r->status, status);
    CHECK((status == 0) == (whole.r->why == NULL));
    feed_open(&other, cfg, bytes, n, 0, 1);
    if (!feed_same(&whole, &other))
        FAIL("byte by byte: %d %d", other.head, other.r->status);
    feed_close(&other);
    for (size_t first = 1; first < n; first++) {
        feed_open(&other, cfg, bytes, n, first, n);
        if (!feed_same(&whole, &other))
            FAIL("cut at %zu: %d %d", first, other.head, other.r->status);
        feed_close(&other);
    }
    feed_close(&whole);
}

/* ---- heads that are accepted ----------------------------------------------------------------------------------- */

static void accepted(const char *bytes)
{
    const fw_config cfg = defaults();
    trying("%s", bytes);
    check_everywhere(&cfg, bytes, strlen(bytes), FW_PARSE_DONE, 0);
}

static void heads_are_accepted_however_they_arrive(void)
{
    accepted("GET / HTTP/1.1\r\n" H "\r\n");
    accepted("\r\nGET / HTTP/1.1\r\n" H "\r\n");
    accepted("GET / HTTP/1.0\r\n\r\n");
    accepted("GET /a%20b?x=1&y HTTP/1.1\r\n" H "Accept: */*\r\nCookie: a=1\r\nCookie: b=2\r\n\r\nGET /next");
    accepted("OPTIONS * HTTP/1.1\r\n" H "\r\n");
    accepted("GET http://x.y:1/p?q HTTP/1.1\r\n" H "\r\n");
    accepted("GET http://x.y?q HTTP/1.1\r\n" H "\r\n");
    accepted("HEAD / HTTP/1.1\r\nHost: [::1]:80\r\nA:\r\nB: \t \r\nC:x \t\r\n\r\n");
    accepted("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    accepted("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n");
    accepted("PROPFIND / HTTP/1.1\r\n" H "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
}

static void the_parts_of_a_head_are_where_they_are(void)
{
    static const char HEAD[] = "\r\nPUT /p/q?r=s HTTP/1.1\r\nhOST: h\r\nX-Long-Name:  a b \t\r\nEmpty:\r\n\r\n";
    const fw_config cfg = defaults();
    for (size_t step = 1; step < sizeof HEAD; step++) {
        feed f;
        feed_open(&f, &cfg, HEAD, sizeof HEAD - 1, 0, step);
        const fw_request *r = f.r;
        CHECK_INT(f.head, FW_PARSE_DONE);
        CHECK_INT(r->head_len, sizeof HEAD - 1);
        CHECK_BYTES(fw_request_at(r, r->method), r->method.len, "PUT");
        CHECK_BYTES(fw_request_at(r, r->target), r->target.len, "/p/q?r=s");
        CHECK_BYTES(fw_request_at(r, r->path), r->path.len, "/p/q");
        CHECK_BYTES(fw_request_at(r, r->query), r->query.len, "r=s");
        CHECK_INT(r->nfields, 3);
        CHECK_INT(r->fields[0].id, FW_NAME_HOST);
        CHECK_BYTES(fw_request_at(r, r->fields[1].name), r->fields[1].name.len, "X-Long-Name");
        CHECK_BYTES(fw_request_at(r, r->fields[1].value), r->fields[1].value.len, "a b");
        CHECK_INT(r->fields[2].value.len, 0);
        CHECK(r->keep_alive && r->minor == 1 && r->framing == FW_FRAMING_NONE);
        feed_close(&f);
    }
}

static void persistence_follows_version_and_connection(void)
{
    static const struct {
        const char *head;
        bool keep;
    } CASES[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", true},
        {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Connection: x\r\nConnection: y, Close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(CASES); i++) {
        feed f;
        trying("%s", CASES[i].head);
        feed_open(&f, &cfg, CASES[i].head, strlen(CASES[i].head), 0, 1000);
        CHECK_INT(f.head, FW_PARSE_DONE);
        CHECK_INT(f.r->keep_alive, CASES[i].keep);
        feed_close(&f);
    }
}

static void fields_are_hidden_by_rule(void)
{
    static const char HEAD[] = "GET / HTTP/1.1\r\n" H "A_B: 1\r\nProxy: p\r\nA-B: 2\r\n\r\n";
    for (int map = FW_MAP_DROP; map <= FW_MAP_DANGEROUS; map++) {
        fw_config cfg = defaults();
        cfg.header_map = (enum fw_header_map)map;
        feed f;
        feed_open(&f, &cfg, HEAD, sizeof HEAD - 1, 0, 7);
        if (map == FW_MAP_REFUSE) {
            CHECK_INT(f.r->status, 400);
        } else {
            CHECK_INT(f.r->nfields, 4);
            CHECK_INT(f.r->fields[1].flags, map == FW_MAP_DROP ? FW_FIELD_HIDDEN : 0);
            CHECK_INT(f.r->fields[2].flags, FW_FIELD_HIDDEN);
            CHECK_INT(f.r->fields[3].flags, 0);
        }
        feed_close(&f);
    }
}

/* ---- heads that are refused ------------------------------------------------------------------------------------ */

static void refused(int status, const char *bytes)
{
    const fw_config cfg = defaults();
    trying("%s", bytes);
    check_everywhere(&cfg, bytes, strlen(bytes), FW_PARSE_REFUSED, status);
}

static void request_lines_are_refused_however_they_arrive(void)
{
    refused(400, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n");
    refused(400, "\nGET / HTTP/1.1\r\n" H "\r\n");
    refused(400, "\rGET / HTTP/1.1\r\n" H "\r\n");
    refused(400, " GET / HTTP/1.1\r\n" H "\r\n");
    refused(400, "G@T / HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET  / HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET /  HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET\t/ HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET / HTTP/1.1 \r\n" H "\r\n");
    refused(400, "GET / HTTP/1.1\n" H "\r\n");
    refused(400, "GET /a b HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET /#f HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET /\x01 HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET a HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET * HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET http://a b/ HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET http:/// HTTP/1.1\r\n" H "\r\n");
    refused(400, "GET / http/1.1\r\n" H "\r\n");
    refused(400, "OPTIONS * RTSP/1.0\r\n" H "\r\n");
    refused(400, "SOURCE / ICE/1.1\r\n" H "\r\n");
    refused(501, "BREW / HTTP/1.1\r\n" H "\r\n");
    refused(501, "CONNECT h:1 HTTP/1.1\r\n" H "\r\n");
    refused(505, "GET /\r\n" H "\r\n");
    refused(505, "GET / HTTP/1.2\r\n" H "\r\n");
    refused(505, "GET / HTTP/2.0\r\n" H "\r\n");
    refused(505, "GET / HTTP/0.9\r\n" H "\r\n");
    refused(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

static void fields_are_refused_however_they_arrive(void)
{
    refused(400, "GET / HTTP/1.1\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H H "\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H "A : b\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H ": b\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H "A\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H "A: b\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\n A: b\r\n" H "\r\n");
    refused(417, "POST / HTTP/1.1\r\n" H "Expect: more\r\n\r\n");
}

static void framings_are_refused_however_they_arrive(void)
{
    static const char *const BAD_400[] = {
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 1, 1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 9223372036854775808",
        "Content-Length: 99999999999999999999",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \013chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;x",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding:",
    };
    char request[512];
    for (size_t i = 0; i < COUNT(BAD_400); i++) {
        snprintf(request, sizeof request, "POST / HTTP/1.1\r\n" H "%s\r\n\r\n", BAD_400[i]);
        refused(400, request);
    }
    refused(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused(501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n");
}

/* ---- limits ---------------------------------------------------------------------------------------------------- */

static void limits_hold_to_the_byte(void)
{
    char request[2048], name[301];
    memset(name, 'n', sizeof name);
    for (int over = 0; over < 2; over++) {
        const enum fw_parse p = over ? FW_PARSE_REFUSED : FW_PARSE_DONE;
        fw_config cfg = defaults();
        cfg.limit_line = 40;
        int n = snprintf(request, sizeof request, "GET /%.*s HTTP/1.1\r\n" H "\r\n", 26 + over, name);
        check_everywhere(&cfg, request, (size_t)n, p, over ? 414 : 0);
        cfg = defaults();
        cfg.limit_field_size = 60;
        n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H "%.*s: v\r\n\r\n", 57 + over, name);
        check_everywhere(&cfg, request, (size_t)n, p, over ? 431 : 0);
        n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H "A: %.*s\r\n\r\n", 57 + over, name);
        check_everywhere(&cfg, request, (size_t)n, p, over ? 431 : 0);
        cfg = defaults();
        cfg.limit_fields = 3;
        n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H "A: 1\r\nB: 2\r\n%s\r\n", over ? "C: 3\r\n" : "");
        check_everywhere(&cfg, request, (size_t)n, p, over ? 431 : 0);
        cfg = defaults();
        cfg.limit_header = 100;
        n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H "A: %.*s\r\n\r\n", 84 + over, name);
        check_everywhere(&cfg, request, (size_t)n, p, over ? 431 : 0);
        cfg = defaults();
        cfg.limit_body = 10;
        n = snprintf(request, sizeof request, "POST / HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n", 10 + over);
        check_everywhere(&cfg, request, (size_t)n, p, over ? 413 : 0);
    }
}

static void a_line_without_an_end_is_refused_when_it_is_too_long(void)
{
    fw_config cfg = defaults();
    static char endless[9000];
    memset(endless, 'a', sizeof endless);
    memcpy(endless, "GET /", 5);
    for (size_t step = 1; step < sizeof endless; step *= 10) {
        feed f;
        feed_open(&f, &cfg, endless, sizeof endless, 0, step);
        CHECK_INT(f.head, FW_PARSE_REFUSED);
        CHECK_INT(f.r->status, 414);
        feed_close(&f);
    }
}

static void many_fields_grow_the_table(void)
{
    fw_config cfg = defaults();
    cfg.limit_fields = 2000;
    static char request[20000];
    size_t n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(request + n, sizeof request - n, "X-%d: %d\r\n", i, i);
    n += (size_t)snprintf(request + n, sizeof request - n, "\r\n");
    feed f;
    feed_open(&f, &cfg, request, n, 0, 1000);
    CHECK_INT(f.head, FW_PARSE_DONE);
    CHECK_INT(f.r->nfields, 1001);
    CHECK_BYTES(fw_request_at(f.r, f.r->fields[1000].value), f.r->fields[1000].value.len, "999");
    feed_close(&f);
}

/* ---- chunked bodies -------------------------------------------------------------------------------------------- */

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static void check_chunks(const fw_config *cfg, const char *body, const char *decoded, int status)
{
    char request[4096];
    const size_t n = (size_t)snprintf(request, sizeof request, CHUNKED "%s", body);
    trying("%s", body);
    check_everywhere(cfg, request, n, FW_PARSE_DONE, status);
    feed f;
    feed_open(&f, cfg, request, n, 0, n);
    CHECK_INT(f.body, status == 0 ? FW_PARSE_DONE : FW_PARSE_REFUSED);
    if (status == 0)
        CHECK_BYTES(f.r->body.data, f.r->body.len, decoded);
    feed_close(&f);
}

static void chunks_are_decoded_however_they_arrive(void)
{
    const fw_config cfg = defaults();
    check_chunks(&cfg, "0\r\n\r\n", "", 0);
    check_chunks(&cfg, "5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    check_chunks(&cfg, "1\r\nh\r\n0004\r\nello\r\n0\r\n\r\n", "hello", 0);
    check_chunks(&cfg, "A;x=\"y\";z\r\n0123456789\r\n0;last\r\n\r\n", "0123456789", 0);
    check_chunks(&cfg, "5\r\nhello\r\n0\r\nTrailer: t\r\nMore: m\r\n\r\nGET /next", "hello", 0);
}

static void trailers_add_no_field_to_the_request(void)
{
    static const char REQUEST[] = CHUNKED "2\r\nhi\r\n0\r\nOne: 1\r\nTwo: 2\r\nHost: evil\r\n\r\n";
    const fw_config cfg = defaults();
    for (size_t step = 1; step < sizeof REQUEST; step++) {
        feed f;
        trying("%zu bytes at a time", step);
        feed_open(&f, &cfg, REQUEST, sizeof REQUEST - 1, 0, step);
        CHECK_INT(f.body, FW_PARSE_DONE);
        CHECK_INT(f.r->nfields, 2);
        feed_close(&f);
    }
}

static void malformed_chunks_are_refused_however_they_arrive(void)
{
    static const char *const BAD[] = {
        "x\r\n",
        "-1\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\na\r\n0\r\n\r\n", /* 17 digits, whatever they say */
        "1\r\na\r\n00000000000000000\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1;\x01\r\na\r\n0\r\n\r\n",
        "\r\n",
        "1\r\na\r\n0\r\nbad trailer\r\n\r\n",
        "1\r\na\r\n0\r\nT: t\n\r\n",
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(BAD); i++)
        check_chunks(&cfg, BAD[i], NULL, 400);
}

static void limits_on_chunked_bodies_hold(void)
{
    fw_config cfg = defaults();
    cfg.limit_body = 10;
    check_chunks(&cfg, "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0);
    check_chunks(&cfg, "A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", NULL, 413);
    cfg = defaults();
    cfg.limit_fields = 4;
    check_chunks(&cfg, "0\r\nA: 1\r\nB: 2\r\n\r\n", "", 0);
    check_chunks(&cfg, "0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", NULL, 431);
    cfg = defaults();
    cfg.limit_header = 60;
    cfg.limit_line = 40;
    check_chunks(&cfg, "0\r\nA: 01234567890123456789012345678901234567890123456789\r\n\r\n", NULL, 431);
    cfg.limit_field_size = 30;
    check_chunks(&cfg, "0\r\nA: 0123456789\r\nB: 0123456789\r\n\r\n", "", 0);
    check_chunks(&cfg, "0\r\nA: 01234567890123456789012345678\r\n\r\n", NULL, 431);
    cfg = defaults();
    char extension[2048];
    memset(extension, 'e', sizeof extension);
    memcpy(extension, "1;", 2);
    memcpy(extension + 1200, "\r\na\r\n0\r\n\r\n", 11);
    check_chunks(&cfg, extension, NULL, 400);
    memcpy(extension + 600, "\r\na\r\n1;", 7);
    check_chunks(&cfg, extension, "aa", 0); /* two of them, each within the limit */
    check_chunks(&cfg, "0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a", 0);
}

/* A limit on names and values alone is none: delimiters and white space are bytes too. */
static void bytes_that_stand_between_parts_are_limited(void)
{
    char text[1200];
    fw_config cfg = defaults();
    static const char *const FILLS[] = {";", ";=", ";a", ";a=\"\""};
    for (size_t i = 0; i < COUNT(FILLS); i++) {
        size_t n = 1;
        text[0] = '1';
        while (n < 1100) {
            memcpy(text + n, FILLS[i], strlen(FILLS[i]));
            n += strlen(FILLS[i]);
        }
        memcpy(text + n, "\r\na\r\n0\r\n\r\n", 11);
        check_chunks(&cfg, text, NULL, 400);
    }
    memset(text, ' ', sizeof text);
    memcpy(text, "0\r\nA:", 5);
    memcpy(text + 200, "b\r\n\r\n", 6);
    check_chunks(&cfg, text, "", 0);
    cfg.limit_header = 60;
    cfg.limit_line = 40;
    cfg.limit_fields = 4;
    check_chunks(&cfg, text, NULL, 431);
}

/* ---- failures and reuse ---------------------------------------------------------------------------------------- */

static void no_memory_is_a_refusal_or_no_request(void)
{
    fw_config cfg = defaults();
    cfg.body_memory = 10;
    for (unsigned k = 0; k < 2; k++) {
        fault_fail(FAULT_MEMORY, k, 1, ENOMEM);
        CHECK(fw_request_open(parser(), &cfg) == NULL);
    }
    faults_clear();
    char request[4096];
    size_t n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(request + n, sizeof request - n, "X-%d: %d\r\n", i, i);
    n += (size_t)snprintf(request + n, sizeof request - n, "\r\n");
    fw_request *r = fw_request_open(parser(), &cfg);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(fw_request_parse(r, request, n), FW_PARSE_REFUSED);
    CHECK_INT(r->status, 503);
    fw_request_close(r);
}

static void a_body_that_cannot_be_stored_is_refused(void)
{
    static const struct {
        int error, status;
    } CASES[] = {
        {ENOMEM, 503}, {EMFILE, 503}, {ENFILE, 503}, {ENOSPC, 507}, {EDQUOT, 507},  {EFBIG, 507}, {EACCES, 507},
        {EPERM, 507},  {EROFS, 507},  {ENOENT, 507}, {ENOTDIR, 507}, {ELOOP, 507},  {EIO, 500},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        const fw_config cfg = defaults();
        fw_request *r = fw_request_open(parser(), &cfg);
        CHECK_INT(fw_request_refuse_storage(r, -CASES[i].error), FW_PARSE_REFUSED);
        CHECK_INT(r->status, CASES[i].status);
        fw_request_close(r);
    }
    const fw_config cfg = defaults();
    fw_request *r = fw_request_open(parser(), &cfg);
    size_t used;
    static const char HEAD[] = CHUNKED;
    CHECK_INT(fw_request_parse(r, HEAD, sizeof HEAD - 1), FW_PARSE_DONE);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(fw_request_chunks(r, "5\r\nhello\r\n", 10, &used), FW_PARSE_REFUSED);
    CHECK_INT(r->status, 503);
    fw_request_close(r);
}

static void a_request_is_used_again(void)
{
    const fw_config cfg = defaults();
    static const char FIRST[] = CHUNKED, SECOND[] = "GET /second HTTP/1.0\r\n\r\n", THIRD[] = "BAD\r\n";
    size_t used;
    fw_request *r = fw_request_open(parser(), &cfg);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(fw_request_parse(r, FIRST, sizeof FIRST - 1), FW_PARSE_DONE);
        CHECK_INT(fw_request_chunks(r, "1\r\na\r\n0\r\n\r\n", 11, &used), FW_PARSE_DONE);
        fw_request_reset(r);
        CHECK_INT(fw_request_parse(r, SECOND, sizeof SECOND - 1), FW_PARSE_DONE);
        CHECK(r->nfields == 0 && !r->keep_alive && r->body.len == 0 && r->framing == FW_FRAMING_NONE);
        fw_request_reset(r);
        CHECK_INT(fw_request_parse(r, THIRD, sizeof THIRD - 1), FW_PARSE_REFUSED);
        fw_request_reset(r);
    }
    fw_request_close(r);
}

static void the_first_refusal_stays(void)
{
    const fw_config cfg = defaults();
    fw_request *r = fw_request_open(parser(), &cfg);
    CHECK_INT(fw_request_refuse(r, 400, "first"), FW_PARSE_REFUSED);
    CHECK_INT(fw_request_refuse(r, 500, "second"), FW_PARSE_REFUSED);
    CHECK_INT(r->status, 400);
    CHECK_BYTES(r->why, strlen(r->why), "first");
    fw_request_close(r);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(heads_are_accepted_however_they_arrive),
        T(the_parts_of_a_head_are_where_they_are),
        T(persistence_follows_version_and_connection),
        T(fields_are_hidden_by_rule),
        T(request_lines_are_refused_however_they_arrive),
        T(fields_are_refused_however_they_arrive),
        T(framings_are_refused_however_they_arrive),
        T(limits_hold_to_the_byte),
        T(a_line_without_an_end_is_refused_when_it_is_too_long),
        T(many_fields_grow_the_table),
        T(chunks_are_decoded_however_they_arrive),
        T(trailers_add_no_field_to_the_request),
        T(malformed_chunks_are_refused_however_they_arrive),
        T(limits_on_chunked_bodies_hold),
        T(bytes_that_stand_between_parts_are_limited),
        T(no_memory_is_a_refusal_or_no_request),
        T(a_body_that_cannot_be_stored_is_refused),
        T(a_request_is_used_again),
        T(the_first_refusal_stays),
    };
    return RUN_TESTS(TESTS);
}
