/* test_proxy_header.c - PROXY headers: cut anywhere, spoilt anywhere, and never read past their end. */
#include "harness.h"
#include "http/proxy_header.h"

#include <arpa/inet.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BINARY(text) {text, sizeof(text) - 1}

static const struct {
    const char *bytes;
    size_t n;
} HEADERS[] = {
    BINARY("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"),
    BINARY("PROXY TCP6 2001:db8::7 ::1 4711 80\r\n"),
    BINARY("PROXY UNKNOWN\r\n"),
    BINARY("PROXY UNKNOWN whatever it is\r\n"),
    BINARY(SIGNATURE "\x20\0\0\0"),
    BINARY(SIGNATURE "\x20\0\0\5what?"),
    BINARY(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\7\x7f\0\0\1\x12\x67\0\x50"),
    BINARY(SIGNATURE "\x21\x11\0\x17\xc0\0\2\7\x7f\0\0\1\x12\x67\0\x50\x20\0\x08\1\0\0\0\0abc"),
    BINARY(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x12\x67\0\x50"),
};

/* Of bytes in memory that ends where they end. */
static enum fw_parse read_exactly(const char *bytes, size_t n, fw_proxy_header *h)
{
    char *exact = malloc(n > 0 ? n : 1);
    CHECK(exact != NULL);
    memcpy(exact, bytes, n);
    const enum fw_parse p = fw_proxy_header_read(exact, n, FW_PROXY_AUTO, h);
    const enum fw_parse begins = fw_proxy_header_begins(exact, n);
    CHECK(begins != FW_PARSE_REFUSED || p == FW_PARSE_REFUSED);
    free(exact);
    CHECK((p == FW_PARSE_REFUSED) == (h->status != 0) && (h->status == 0) == (h->why == NULL));
    CHECK(p != FW_PARSE_DONE || (h->len > 0 && h->len <= n));
    return p;
}

static void a_header_is_awaited_to_its_end(void)
{
    for (size_t i = 0; i < COUNT(HEADERS); i++) {
        fw_proxy_header h;
        for (size_t n = 0; n < HEADERS[i].n; n++) {
            trying("header %zu, %zu bytes", i, n);
            CHECK_INT(read_exactly(HEADERS[i].bytes, n, &h), FW_PARSE_MORE);
        }
        CHECK_INT(read_exactly(HEADERS[i].bytes, HEADERS[i].n, &h), FW_PARSE_DONE);
        CHECK_INT(h.len, HEADERS[i].n);
    }
}

static void it_names_the_client(void)
{
    fw_proxy_header h;
    char text[64];
    for (size_t i = 0; i < COUNT(HEADERS); i++) {
        trying("header %zu", i);
        read_exactly(HEADERS[i].bytes, HEADERS[i].n, &h);
        CHECK_INT(h.named, i < 2 || i > 5);
        CHECK_INT(h.tls, i == 7);
        if (!h.named)
            continue;
        const bool six = h.source.any.sa_family == AF_INET6;
        CHECK_INT(six, i == 1 || i == 8);
        CHECK_INT(ntohs(six ? h.source.v6.sin6_port : h.source.v4.sin_port), 4711);
        inet_ntop(h.source.any.sa_family, six ? (void *)&h.source.v6.sin6_addr : (void *)&h.source.v4.sin_addr, text,
                  sizeof text);
        CHECK_BYTES(text, strlen(text), six ? "2001:db8::7" : "192.0.2.7");
    }
}

/* Whatever the bytes are, the answer is one of three, and a header that cannot become one any more is not awaited. */
static void spoilt_bytes_are_no_harm(void)
{
    uint32_t seed = 5;
    char bytes[512];
    for (int round = 0; round < 40000; round++) {
        const size_t i = dice(&seed) % COUNT(HEADERS);
        size_t n = HEADERS[i].n;
        memcpy(bytes, HEADERS[i].bytes, n);
        for (unsigned k = dice(&seed) % 4; k > 0; k--)
            bytes[dice(&seed) % n] = (char)(dice(&seed) % 3 == 0 ? " \r\n\0:0129"[dice(&seed) % 9] : (char)dice(&seed));
        n -= dice(&seed) % 3 == 0 ? dice(&seed) % n : 0;
        fw_proxy_header h;
        trying("round %d", round);
        read_exactly(bytes, n, &h);
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_header_is_awaited_to_its_end),
        T(it_names_the_client),
        T(spoilt_bytes_are_no_harm),
    };
    return RUN_TESTS(TESTS);
}
