/* test_uwsgi.c - packets of the uwsgi protocol: whole, byte by byte, and cut anywhere. */
#include "faults.h"
#include "feed.h"
#include "harness.h"
#include "http/uwsgi.h"

#include <arpa/inet.h>

#define M "REQUEST_METHOD\0GET\0"
#define U "REQUEST_URI\0/\0"
#define P "PATH_INFO\0/\0"
#define ROOM 131072

/* A packet of the NUL-ended names and values that `text` lists, and what follows it. */
typedef struct packet {
    char bytes[ROOM];
    size_t n;
} packet;

static void put_number(packet *p, size_t v)
{
    p->bytes[p->n++] = (char)(v & 0xff);
    p->bytes[p->n++] = (char)(v >> 8 & 0xff);
}

static void put_text(packet *p, const char *s, size_t n)
{
    put_number(p, n);
    memcpy(p->bytes + p->n, s, n);
    p->n += n;
}

static void end_packet(packet *p)
{
    const size_t size = p->n - 4;
    CHECK(size <= 65535);
    p->n = 0;
    p->bytes[p->n++] = 0;
    put_number(p, size);
    p->bytes[p->n++] = 0;
    p->n = size + 4;
}

static packet *made(const char *text, size_t n)
{
    static packet p;
    p.n = 4;
    for (const char *s = text, *end = text + n; s < end;) {
        put_text(&p, s, strlen(s));
        s += strlen(s) + 1;
    }
    end_packet(&p);
    return &p;
}

/* The packet in every segmentation: all come to the same. */
static void check_everywhere(const fw_config *cfg, const packet *p, enum fw_parse head, int status)
{
    feed whole, other;
    feed_packet(&whole, cfg, p->bytes, p->n, 0, p->n);
    if (whole.r->status != status)
        FAIL("status %d (%s), not %d", whole.r->status, whole.r->why, status);
    CHECK_INT(whole.head, head);
    for (size_t first = 0; first < p->n; first++) {
        feed_packet(&other, cfg, p->bytes, p->n, first, first == 0 ? 1 : p->n);
        if (!feed_same(&whole, &other))
            FAIL("cut at %zu: %d %d", first, other.head, other.r->status);
        feed_close(&other);
    }
    feed_close(&whole);
}

static void check(const char *text, size_t n, int status)
{
    const fw_config cfg = defaults();
    check_everywhere(&cfg, made(text, n), status == 0 ? FW_PARSE_DONE : FW_PARSE_REFUSED, status);
}

#define ACCEPTED(text) (trying("%d", __LINE__), check(text, sizeof(text) - 1, 0))
#define REFUSED(status, text) (trying("%d", __LINE__), check(text, sizeof(text) - 1, status))

static void packets_are_accepted_however_they_arrive(void)
{
    ACCEPTED(M U);
    ACCEPTED(M U P);
    ACCEPTED(U "HTTP_HOST\0h\0" M "CONTENT_LENGTH\0\0CONTENT_TYPE\0\0");
    ACCEPTED("REQUEST_METHOD\0POST\0" U "CONTENT_LENGTH\0005\0HTTP_CONTENT_LENGTH\0007\0HTTP_TRANSFER_ENCODING\0chunked\0");
    ACCEPTED("REQUEST_METHOD\0OPTIONS\0REQUEST_URI\0*\0PATH_INFO\0*\0");
    ACCEPTED(M U "HTTP_EXPECT\000200-ok\0HTTP_CONNECTION\0close\0HTTP_PROXY\0evil\0");
    ACCEPTED(M U "PATH_INFO\0/a\r\nb\0" "SERVER_SIGNATURE\0<address>\n\0" "downgrade-1.0\0001\0");
    ACCEPTED(M U "REMOTE_ADDR\0unix:\0REMOTE_PORT\0\0SERVER_PORT\0\0SERVER_NAME\0\0UWSGI_SCHEME\0\0");
    ACCEPTED(M U "REMOTE_ADDR\0fe80::1%eth0\0SERVER_PROTOCOL\0HTTP/2.0\0SERVER_PROTOCOL\0HTTP/2.0\0");
}

static void hostile_packets_are_refused(void)
{
    REFUSED(400, "");
    REFUSED(400, U);
    REFUSED(400, M);
    REFUSED(400, M "REQUEST_URI\0\0");
    REFUSED(400, "REQUEST_METHOD\0G T\0" U);
    REFUSED(501, "REQUEST_METHOD\0FROB\0" U);
    REFUSED(501, "REQUEST_METHOD\0GE\0" U);
    REFUSED(501, "REQUEST_METHOD\0CONNECT\0" U);
    REFUSED(400, M "REQUEST_URI\0/a b\0");
    REFUSED(400, M "REQUEST_URI\0a\0");
    REFUSED(400, M "REQUEST_URI\0/\r\nX: y\0");
    REFUSED(400, M "REQUEST_URI\0*\0");
    REFUSED(400, M U "QUERY_STRING\0a b\0");
    REFUSED(400, M U "PATH_INFO\0a\0");
    REFUSED(400, M U "PATH_INFO\0*\0");
    REFUSED(400, M U "SCRIPT_NAME\0a\0");
    REFUSED(400, M U "HTTP_X\0a\r\nb\0");
    REFUSED(400, M U "HTTP_X\0a\nb\0");
    REFUSED(400, M U "CONTENT_TYPE\0a\rb\0");
    REFUSED(400, M U "ANY\0a\rb\0");
    REFUSED(400, M U "REMOTE_USER\0a\nb\0");
    REFUSED(400, M U "HTTP_\0a\0");
    REFUSED(400, M U "HTTP_X-Y\0a\0");
    REFUSED(400, M U "HTTP_x\0a\0");
    REFUSED(400, M U "HTTP_X Y\0a\0");
    REFUSED(400, M U "HTTP_HOST\0a b\0");
    REFUSED(400, M U "HTTP_HOST\0a\0HTTP_HOST\0a\0");
    REFUSED(400, M U "CONTENT_LENGTH\0001\0CONTENT_LENGTH\0001\0");
    REFUSED(400, M U "CONTENT_LENGTH\0+1\0");
    REFUSED(400, M U "CONTENT_LENGTH\0001,1\0");
    REFUSED(400, M U "CONTENT_LENGTH\00099999999999999999999\0");
    REFUSED(400, M U "CONTENT_TYPE\0a\0CONTENT_TYPE\0b\0");
    REFUSED(400, M U "PATH_INFO\0/a\0PATH_INFO\0/b\0");
    REFUSED(400, M U "REMOTE_ADDR\0hello\0");
    REFUSED(400, M U "REMOTE_ADDR\0001.2.3.4, 5.6.7.8\0");
    REFUSED(400, M U "REMOTE_PORT\00065536\0");
    REFUSED(400, M U "SERVER_PORT\08a\0");
    REFUSED(400, M U "SERVER_PROTOCOL\0HTTP 1\0");
    REFUSED(400, M U "UWSGI_SCHEME\0gopher\0");
    REFUSED(400, M U "REQUEST_SCHEME\0https, http\0");
}

static void a_nul_is_no_part_of_a_value_but_of_a_decoded_path(void)
{
    static const struct {
        const char *name, *value;
        size_t n;
        int status;
    } CASES[] = {
        {"HTTP_X", "a\0b", 3, 400}, {"ANY", "a\0b", 3, 400}, {"PATH_INFO", "/a\0b", 4, 0}, {"REQUEST_URI", "/\0", 2, 400},
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(CASES); i++) {
        trying("%s", CASES[i].name);
        packet *p = strcmp(CASES[i].name, "REQUEST_URI") == 0 ? made(M, sizeof M - 1) : made(M U, sizeof(M U) - 1);
        put_text(p, CASES[i].name, strlen(CASES[i].name));
        put_text(p, CASES[i].value, CASES[i].n);
        end_packet(p);
        check_everywhere(&cfg, p, CASES[i].status == 0 ? FW_PARSE_DONE : FW_PARSE_REFUSED, CASES[i].status);
    }
}

/* Every length in the packet is made wrong in turn: it is refused, or another packet; nothing is read past its end. */
static void lengths_that_lie_are_seen(void)
{
    const fw_config cfg = defaults();
    static const char TEXT[] = M U P "HTTP_HOST\0h\0";
    const packet good = *made(TEXT, sizeof TEXT - 1);
    for (size_t at = 4; at + 1 < good.n; at++) {
        for (unsigned v = 0; v < 3; v++) {
            packet p = good;
            p.bytes[at] = (char)(v == 0 ? 0xff : v == 1 ? p.bytes[at] + 1 : p.bytes[at] - 1);
            feed f;
            feed_packet(&f, &cfg, p.bytes, p.n, 0, p.n);
            CHECK((f.head == FW_PARSE_REFUSED) == (f.r->status != 0));
            feed_close(&f);
        }
    }
    for (size_t cut = 1; cut < good.n - 4; cut++) { /* the packet ends early */
        packet p = good;
        p.n -= cut;
        end_packet(&p);
        feed f;
        feed_packet(&f, &cfg, p.bytes, p.n, 0, p.n);
        CHECK((f.head == FW_PARSE_DONE) == (f.r->status == 0));
        feed_close(&f);
    }
}

static void who_does_not_speak_it_is_told_so_at_the_first_byte(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *why;
    } CASES[] = {
        {"GET / HTTP/1.1\r\n", 1, "HTTP on an address that speaks the uwsgi protocol"},
        {"\x16\x03\x01", 1, "TLS on an address that speaks the uwsgi protocol"},
        {"\x05\x00\x00\x00", 1, "no WSGI request of the uwsgi protocol: modifier1 is not 0"},
        {"\x00\x04\x00\x01", 4, "no WSGI request of the uwsgi protocol: modifier2 is not 0"},
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(CASES); i++) {
        feed f;
        feed_packet(&f, &cfg, CASES[i].bytes, CASES[i].n, 0, 1);
        CHECK_INT(f.head, FW_PARSE_REFUSED);
        CHECK_INT(f.r->status, 400);
        CHECK_BYTES(f.r->why, strlen(f.r->why), CASES[i].why);
        feed_close(&f);
    }
}

static void limits_are_those_of_a_head(void)
{
    static const char TEXT[] = M "REQUEST_URI\0/0123456789\0HTTP_A\0one\0HTTP_B\0two\0";
    fw_config cfg = defaults();
    const packet p = *made(TEXT, sizeof TEXT - 1);
    cfg.limit_header = (uint32_t)p.n - 4;
    cfg.limit_line = 3 + 1 + 11 + 9;
    cfg.limit_fields = 2;
    cfg.limit_field_size = 6;
    check_everywhere(&cfg, &p, FW_PARSE_DONE, 0);
    cfg.limit_header--;
    check_everywhere(&cfg, &p, FW_PARSE_REFUSED, 431);
    cfg.limit_header++;
    cfg.limit_line--;
    check_everywhere(&cfg, &p, FW_PARSE_REFUSED, 414);
    cfg.limit_line++;
    cfg.limit_fields--;
    check_everywhere(&cfg, &p, FW_PARSE_REFUSED, 431);
    cfg.limit_fields++;
    cfg.limit_field_size--;
    check_everywhere(&cfg, &p, FW_PARSE_REFUSED, 431);
    cfg = defaults();
    cfg.limit_body = 3;
    static const char BODY[] = M U "CONTENT_LENGTH\0004\0";
    check_everywhere(&cfg, made(BODY, sizeof BODY - 1), FW_PARSE_REFUSED, 413);
}

static void other_variables_have_a_limit_of_their_own(void)
{
    const fw_config cfg = defaults();
    for (unsigned more = 0; more < 2; more++) {
        packet *p = made(M U, sizeof(M U) - 1);
        for (unsigned i = 2; i < 256 + more; i++) {
            char name[16];
            put_text(p, name, (size_t)snprintf(name, sizeof name, "V%u", i));
            put_text(p, "", 0);
        }
        end_packet(p);
        feed f;
        feed_packet(&f, &cfg, p->bytes, p->n, 0, p->n);
        CHECK_INT(f.r->status, more ? 431 : 0);
        CHECK(more || f.r->nvariables == 256);
        feed_close(&f);
    }
    packet *p = made(M U, sizeof(M U) - 1); /* the same one again and again is looked for each time */
    for (unsigned i = 2; i < 257; i++) {
        put_text(p, "SAME", 4);
        put_text(p, "", 0);
    }
    end_packet(p);
    feed f;
    feed_packet(&f, &cfg, p->bytes, p->n, 0, p->n);
    CHECK_INT(f.r->status, 431);
    feed_close(&f);
}

static void the_parts_of_a_packet_are_where_they_are(void)
{
    static const char TEXT[] = "HTTP_X_LONG_NAME\0 a b \0" M "REQUEST_URI\0/p%20q?r=s\0PATH_INFO\0/p q\0QUERY_STRING\0t=u\0"
                               "CONTENT_LENGTH\0005\0REMOTE_ADDR\000192.0.2.1\0REMOTE_PORT\08080\0OWN\0x\0HTTPS\0on\0";
    const fw_config cfg = defaults();
    const packet *p = made(TEXT, sizeof TEXT - 1);
    feed f;
    feed_packet(&f, &cfg, p->bytes, p->n, 0, p->n);
    const fw_request *r = f.r;
    CHECK_INT(f.head, FW_PARSE_DONE);
    CHECK_BYTES(fw_request_at(r, r->method), r->method.len, "GET");
    CHECK_BYTES(fw_request_at(r, r->target), r->target.len, "/p%20q?r=s");
    CHECK_BYTES(fw_request_at(r, r->path), r->path.len, "/p%20q");
    CHECK_BYTES(fw_request_at(r, r->query), r->query.len, "t=u");
    CHECK_INT(r->nfields, 2);
    CHECK_BYTES(fw_request_at(r, r->fields[0].name), r->fields[0].name.len, "X-LONG-NAME");
    CHECK_BYTES(fw_request_at(r, r->fields[0].value), r->fields[0].value.len, "a b");
    CHECK_INT(r->fields[1].id, FW_NAME_CONTENT_LENGTH);
    CHECK_INT(r->framing, FW_FRAMING_LENGTH);
    CHECK_INT(r->length, 5);
    CHECK(!r->keep_alive && r->minor == 0 && r->uwsgi && !r->expects);
    const fw_span path = fw_uwsgi_value(r, FW_VARIABLE_PATH_INFO);
    CHECK_BYTES(fw_request_at(r, path), path.len, "/p q");
    CHECK_INT(fw_uwsgi_value(r, FW_VARIABLE_SCRIPT_NAME).len, 0);
    CHECK(fw_uwsgi_is_https(r));
    feed_close(&f);
}

static void the_scheme_is_the_first_that_is_told(void)
{
    static const struct {
        const char *text;
        size_t n;
        bool https;
    } CASES[] = {
#define C(text, https) {text, sizeof(text) - 1, https}
        C(M U, false),
        C(M U "REQUEST_SCHEME\0https\0", true),
        C(M U "REQUEST_SCHEME\0HTTP\0", false),
        C(M U "REQUEST_SCHEME\0http\0HTTPS\0on\0", true),
        C(M U "REQUEST_SCHEME\0https\0HTTPS\0off\0", false),
        C(M U "REQUEST_SCHEME\0https\0HTTPS\0\0", true),
        C(M U "HTTPS\0001\0UWSGI_SCHEME\0http\0", false),
        C(M U "HTTPS\0off\0UWSGI_SCHEME\0HTTPS\0", true),
#undef C
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(CASES); i++) {
        feed f;
        const packet *p = made(CASES[i].text, CASES[i].n);
        trying("%zu", i);
        feed_packet(&f, &cfg, p->bytes, p->n, 0, p->n);
        CHECK_INT(f.head, FW_PARSE_DONE);
        CHECK_INT(fw_uwsgi_is_https(f.r), CASES[i].https);
        feed_close(&f);
    }
}

static void the_client_is_who_the_front_says(void)
{
    static const struct {
        const char *text;
        size_t n;
        bool told;
        int family;
        const char *address;
        uint16_t port;
    } CASES[] = {
#define C(text, ...) {M U text, sizeof(M U text) - 1, __VA_ARGS__}
        C("", false, 0, "", 0),
        C("REMOTE_ADDR\0\0", false, 0, "", 0),
        C("REMOTE_ADDR\0unix:\0", true, AF_UNSPEC, "", 0),
        C("REMOTE_ADDR\000192.0.2.9\0REMOTE_PORT\00065535\0", true, AF_INET, "192.0.2.9", 65535),
        C("REMOTE_ADDR\0002001:db8::1\0REMOTE_PORT\0\0", true, AF_INET6, "2001:db8::1", 0),
        C("REMOTE_ADDR\0fe80::1%eth0\0", true, AF_INET6, "fe80::1", 0),
#undef C
    };
    const fw_config cfg = defaults();
    for (size_t i = 0; i < COUNT(CASES); i++) {
        union {
            struct sockaddr any;
            struct sockaddr_in v4;
            struct sockaddr_in6 v6;
        } to;
        char text[INET6_ADDRSTRLEN] = "";
        feed f;
        const packet *p = made(CASES[i].text, CASES[i].n);
        trying("%zu", i);
        feed_packet(&f, &cfg, p->bytes, p->n, 0, p->n);
        CHECK_INT(f.head, FW_PARSE_DONE);
        CHECK_INT(fw_uwsgi_client(f.r, &to), CASES[i].told);
        if (CASES[i].told) {
            CHECK_INT(to.any.sa_family, CASES[i].family);
            if (to.any.sa_family == AF_INET)
                inet_ntop(AF_INET, &to.v4.sin_addr, text, sizeof text);
            else if (to.any.sa_family == AF_INET6)
                inet_ntop(AF_INET6, &to.v6.sin6_addr, text, sizeof text);
            CHECK_BYTES(text, strlen(text), CASES[i].address);
            CHECK_INT(ntohs(to.v4.sin_port), CASES[i].port);
        }
        feed_close(&f);
    }
}

static void no_memory_for_more_variables_refuses_the_request(void)
{
    const fw_config cfg = defaults();
    packet *p = made(M U, sizeof(M U) - 1);
    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        put_text(p, name, (size_t)snprintf(name, sizeof name, "V%u", i));
        put_text(p, "", 0);
    }
    end_packet(p);
    fw_request *r = fw_request_open(parser(), &cfg);
    CHECK(r != NULL);
    fault_fail(FAULT_MEMORY, 0, FOR_EVER, ENOMEM);
    CHECK_INT(fw_uwsgi_parse(r, p->bytes, p->n), FW_PARSE_REFUSED);
    CHECK_INT(r->status, 503);
    faults_clear();
    fw_request_close(r);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(packets_are_accepted_however_they_arrive),
        T(hostile_packets_are_refused),
        T(a_nul_is_no_part_of_a_value_but_of_a_decoded_path),
        T(lengths_that_lie_are_seen),
        T(who_does_not_speak_it_is_told_so_at_the_first_byte),
        T(limits_are_those_of_a_head),
        T(other_variables_have_a_limit_of_their_own),
        T(the_parts_of_a_packet_are_where_they_are),
        T(the_scheme_is_the_first_that_is_told),
        T(the_client_is_who_the_front_says),
        T(no_memory_for_more_variables_refuses_the_request),
    };
    return RUN_TESTS(TESTS);
}
