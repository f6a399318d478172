/* fuzz_request.c - random bytes for the parser: nothing may break, and how the bytes were cut may not matter.
 *
 * The first byte of an input chooses the limits, the next two how the bytes are cut; the rest is the request.  It is
 * given whole, in pieces of one size behind a first piece, and byte by byte: verdict, spans, framing and body must be
 * the same each time.
 */
#include "feed.h"
#include "fuzz.h"

#define LONGEST 8192
#define HEADER 3 /* bytes of an input in front of the request */

static void check_span(const fw_request *r, fw_span s)
{
    MUST((size_t)s.off + s.len <= r->head_len);
}

static void check_request(const fw_request *r, size_t n)
{
    MUST(r->head_len <= n);
    MUST(r->framing != FW_FRAMING_LENGTH || r->has_length);
    MUST(r->framing != FW_FRAMING_CHUNKED || !r->has_length);
    MUST(r->nfields <= r->cfg->limit_fields);
    MUST(r->method.len > 0 && r->target.len > 0);
    check_span(r, r->method);
    check_span(r, r->target);
    check_span(r, r->path);
    check_span(r, r->query);
    check_span(r, r->authority);
    MUST(memcmp(r->base + r->head_len - 4, "\r\n\r\n", 4) == 0);
    for (uint32_t i = 0; i < r->nfields; i++) {
        const fw_field *field = &r->fields[i];
        MUST(field->name.len > 0);
        MUST((size_t)field->name.off + field->name.len < field->value.off + (size_t)(field->value.len == 0) * n + 1);
        check_span(r, field->name);
        check_span(r, field->value);
        for (uint32_t at = 0; at < field->value.len; at++) {
            const char c = r->base[field->value.off + at];
            MUST(c != '\r' && c != '\n' && c != '\0');
        }
    }
}

static fw_config limits(unsigned choice)
{
    fw_config cfg = defaults();
    cfg.header_map = (enum fw_header_map)(choice % 3);
    if (choice & 0x10) {
        cfg.limit_line = 60;
        cfg.limit_fields = 6;
        cfg.limit_field_size = 40;
        cfg.limit_header = 200;
    }
    if (choice & 0x20)
        cfg.limit_body = 20;
    if (choice & 0x40)
        cfg.body_memory = 8;
    return cfg;
}

static void compare(const feed *whole, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step)
{
    feed cut;
    feed_open(&cut, cfg, bytes, n, first, step);
    /* Which of two faults is seen first, and so the status, may depend on the cut; that it is a fault may not. */
    const bool refused = whole->r->status != 0 && cut.r->status != 0;
    if (!refused && !feed_same(whole, &cut)) {
        fprintf(stderr, "whole: %d, %d, status %d (%s)\n", whole->head, whole->body, whole->r->status, whole->r->why);
        fprintf(stderr, "cut:   %d, %d, status %d (%s)\n", cut.head, cut.body, cut.r->status, cut.r->why);
        abort();
    }
    feed_close(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= HEADER || size > LONGEST)
        return 0;
    const fw_config cfg = limits(data[0]);
    const char *bytes = (const char *)data + HEADER;
    const size_t n = size - HEADER;
    feed whole;
    feed_open(&whole, &cfg, bytes, n, 0, n);
    MUST((whole.head == FW_PARSE_REFUSED || whole.body == FW_PARSE_REFUSED) == (whole.r->status != 0));
    MUST(whole.r->status == 0 || (whole.r->status >= 400 && whole.r->status < 600 && whole.r->why != NULL));
    if (whole.head == FW_PARSE_DONE)
        check_request(whole.r, n);
    compare(&whole, &cfg, bytes, n, 1 + (data[1] * (size_t)31 + data[2]) % n, 1 + (size_t)(data[2] & 31));
    if (n <= 512) /* a head is copied whenever it grows */
        compare(&whole, &cfg, bytes, n, 1, 1);
    feed_close(&whole);
    return 0;
}
