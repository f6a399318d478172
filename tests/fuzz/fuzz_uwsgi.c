/* fuzz_uwsgi.c - random packets of the uwsgi protocol: nothing may break, and how the bytes were cut may not matter.
 *
 * The first byte of an input chooses the limits and whether the rest is the bytes of the connection as they are, or lines
 * NAME=value that are made a packet here, which reach further. The next two say how the bytes are cut. A packet is given
 * whole, in pieces of one size behind a first piece, and byte by byte: all must come to the same.
 */
#include "feed.h"
#include "fuzz.h"
#include "http/uwsgi.h"

#include <netinet/in.h>

#define LONGEST 8192
#define HEADER 3 /* bytes of an input in front of the packet */

static void check_span(const fw_request *r, fw_span s)
{
    MUST((size_t)s.off + s.len <= r->head_len);
}

static bool holds(const fw_request *r, fw_span s, char c)
{
    return s.len > 0 && memchr(fw_request_at(r, s), c, s.len) != NULL;
}

static void check_field(const fw_request *r, const fw_field *f)
{
    check_span(r, f->name);
    check_span(r, f->value);
    MUST(f->name.len > 0 && !holds(r, f->name, '_'));
    MUST(!holds(r, f->value, '\r') && !holds(r, f->value, '\n') && !holds(r, f->value, '\0'));
    MUST(f->id != FW_NAME_PROXY && f->id != FW_NAME_TRANSFER_ENCODING);
}

static void check_variable(const fw_request *r, const fw_field *f)
{
    check_span(r, f->name);
    check_span(r, f->value);
    MUST(f->name.len > 0 && !holds(r, f->name, '.') && !holds(r, f->name, '\0'));
    MUST(f->name.len < 5 || memcmp(fw_request_at(r, f->name), "HTTP_", 5) != 0);
    if (f->id < FW_VARIABLE_PATH_INFO)
        MUST(!holds(r, f->value, '\r') && !holds(r, f->value, '\0'));
}

static void check_request(const fw_request *r, size_t n)
{
    uint32_t variables;
    struct sockaddr_in6 client;
    MUST(r->head_len >= 4 && r->head_len <= n);
    MUST(r->framing == FW_FRAMING_NONE || (r->framing == FW_FRAMING_LENGTH && r->has_length && r->length > 0));
    MUST(r->nfields <= r->cfg->limit_fields);
    MUST(r->method.len > 0 && r->target.len > 0 && r->uwsgi && !r->keep_alive && !r->expects && r->minor == 0);
    check_span(r, r->method);
    check_span(r, r->target);
    check_span(r, r->path);
    check_span(r, r->query);
    check_span(r, r->authority);
    for (uint32_t i = 0; i < r->nfields; i++)
        check_field(r, &r->fields[i]);
    const fw_field *f = fw_uwsgi_variables(r, &variables);
    MUST(variables >= 2 && variables <= 256);
    for (uint32_t i = 0; i < variables; i++)
        check_variable(r, &f[i]);
    const fw_span path = fw_uwsgi_value(r, FW_VARIABLE_PATH_INFO);
    MUST(path.len == 0 || *fw_request_at(r, path) == '/' || r->asterisk);
    fw_uwsgi_is_https(r);
    if (fw_uwsgi_client(r, &client))
        MUST(client.sin6_family == AF_UNSPEC || client.sin6_family == AF_INET || client.sin6_family == AF_INET6);
}

static fw_config limits(unsigned choice)
{
    fw_config cfg = defaults();
    cfg.header_map = (enum fw_header_map)(choice % 3);
    if (choice & 0x10) {
        cfg.limit_line = 60;
        cfg.limit_fields = 6;
        cfg.limit_field_size = 40;
        cfg.limit_header = 400;
    }
    if (choice & 0x20)
        cfg.limit_body = 20;
    return cfg;
}

static void compare(const feed *whole, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step)
{
    feed cut;
    feed_packet(&cut, cfg, bytes, n, first, step);
    MUST(feed_same(whole, &cut));
    feed_close(&cut);
}

/* The lines of the input as a packet; returns its length. */
static size_t write_packet(char *to, const char *from, size_t n)
{
    size_t at = 4;
    for (const char *end = from + n; from < end;) {
        const char *lf = memchr(from, '\n', (size_t)(end - from)), *stop = lf != NULL ? lf : end;
        const char *mark = memchr(from, '=', (size_t)(stop - from));
        const char *parts[2] = {from, mark != NULL ? mark + 1 : stop};
        const size_t lengths[2] = {(size_t)((mark != NULL ? mark : stop) - from), (size_t)(stop - parts[1])};
        for (int i = 0; i < 2; i++) {
            to[at++] = (char)(lengths[i] & 0xff);
            to[at++] = (char)(lengths[i] >> 8);
            memcpy(to + at, parts[i], lengths[i]);
            at += lengths[i];
        }
        from = lf != NULL ? lf + 1 : end;
    }
    to[0] = to[3] = 0;
    to[1] = (char)((at - 4) & 0xff);
    to[2] = (char)((at - 4) >> 8);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char made[4 + 5 * LONGEST];
    if (size <= HEADER || size > LONGEST)
        return 0;
    const fw_config cfg = limits(data[0]);
    const char *bytes = (const char *)data + HEADER;
    size_t n = size - HEADER;
    if (data[0] & 0x80) {
        n = write_packet(made, bytes, n);
        bytes = made;
    }
    feed whole;
    feed_packet(&whole, &cfg, bytes, n, 0, n);
    MUST((whole.head == FW_PARSE_REFUSED) == (whole.r->status != 0));
    MUST(whole.r->status == 0 || (whole.r->status >= 400 && whole.r->status < 600 && whole.r->why != NULL));
    if (whole.head == FW_PARSE_DONE)
        check_request(whole.r, n);
    compare(&whole, &cfg, bytes, n, 1 + (data[1] * (size_t)31 + data[2]) % n, 1 + (size_t)(data[2] & 31));
    if (n <= 512)
        compare(&whole, &cfg, bytes, n, 1, 1);
    feed_close(&whole);
    return 0;
}
