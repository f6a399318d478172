/* feed.c - a request given to the parser in pieces. */
#include "feed.h"
#include "harness.h"
#include "http/uwsgi.h"

/* The first `n` bytes in a block of their own; the block before is gone. */
static void arrive(feed *f, const char *bytes, size_t n)
{
    char *exact = malloc(n > 0 ? n : 1);
    if (exact == NULL)
        FAIL("no memory for the test itself");
    memcpy(exact, bytes, n);
    free(f->bytes);
    f->bytes = exact;
}

static void feed_chunks(feed *f, const char *bytes, size_t n, size_t from, size_t step)
{
    while (f->body == FW_PARSE_MORE && from < n) {
        const size_t some = n - from < step ? n - from : step;
        size_t used = 0;
        char *exact = malloc(some);
        if (exact == NULL)
            FAIL("no memory for the test itself");
        memcpy(exact, bytes + from, some);
        f->body = fw_request_chunks(f->r, exact, some, &used);
        free(exact);
        if (used > some)
            FAIL("%zu bytes used of %zu", used, some);
        from += f->body == FW_PARSE_DONE ? used : some;
    }
    f->rest = n - from;
}

static enum fw_parse parse(feed *f, size_t n, bool packet)
{
    return packet ? fw_uwsgi_parse(f->r, f->bytes, n) : fw_request_parse(f->r, f->bytes, n);
}

/* The head in pieces; returns how many bytes have been given. */
static size_t feed_head(feed *f, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step, bool packet)
{
    *f = (feed){.r = fw_request_open(parser(), cfg), .head = FW_PARSE_MORE, .body = FW_PARSE_MORE};
    if (f->r == NULL)
        FAIL("no memory for the test itself");
    size_t have = 0;
    while (f->head == FW_PARSE_MORE && have < n) {
        const size_t some = have == 0 && first != 0 ? first : step;
        have = n - have < some ? n : have + some;
        arrive(f, bytes, have);
        f->head = parse(f, have, packet);
        if (f->head == FW_PARSE_MORE)
            f->head = parse(f, have, packet);
    }
    if (f->head == FW_PARSE_DONE && f->r->head_len > have)
        FAIL("a head of %u bytes in %zu", f->r->head_len, have);
    return have;
}

void feed_packet(feed *f, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step)
{
    feed_head(f, cfg, bytes, n, first, step, true);
    f->body = FW_PARSE_DONE;
    f->rest = f->head == FW_PARSE_DONE ? n - f->r->head_len : 0;
}

void feed_open(feed *f, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step)
{
    feed_head(f, cfg, bytes, n, first, step, false);
    if (f->head != FW_PARSE_DONE)
        return;
    if (f->r->framing == FW_FRAMING_CHUNKED) {
        feed_chunks(f, bytes, n, f->r->head_len, step);
    } else {
        f->body = FW_PARSE_DONE;
        f->rest = n - f->r->head_len;
    }
}

void feed_close(feed *f)
{
    fw_request_close(f->r);
    free(f->bytes);
}

static bool same_span(const fw_request *a, fw_span s, const fw_request *b, fw_span t)
{
    return s.off == t.off && s.len == t.len && memcmp(fw_request_at(a, s), fw_request_at(b, t), s.len) == 0;
}

static bool same_fields(const fw_request *a, const fw_request *b)
{
    if (a->nfields != b->nfields || a->nvariables != b->nvariables)
        return false;
    for (uint32_t i = 0; i < a->nfields + a->nvariables; i++) {
        const fw_field *f = &a->fields[i], *g = &b->fields[i];
        if (f->id != g->id || f->flags != g->flags || f->value.len != g->value.len ||
            !same_span(a, f->name, b, g->name) ||
            (f->value.len > 0 && !same_span(a, f->value, b, g->value)))
            return false;
    }
    return true;
}

static bool same_body(const fw_request *a, const fw_request *b)
{
    static char x[1 << 20], y[1 << 20];
    if (a->body.len != b->body.len || a->body.len > sizeof x)
        return false;
    fw_body left = a->body, right = b->body; /* read through copies: the position of the originals stays */
    return fw_body_read(&left, x, sizeof x) == fw_body_read(&right, y, sizeof y) && memcmp(x, y, a->body.len) == 0;
}

bool feed_same(const feed *f, const feed *g)
{
    const fw_request *a = f->r, *b = g->r;
    if (f->head != g->head)
        return false;
    if (f->head == FW_PARSE_REFUSED)
        return a->status == b->status;
    if (f->head != FW_PARSE_DONE)
        return true;
    if (f->body != g->body)
        return false;
    if (f->body == FW_PARSE_REFUSED)
        return a->status == b->status;
    return f->rest == g->rest && a->head_len == b->head_len && a->method_id == b->method_id && a->minor == b->minor &&
           a->framing == b->framing && a->length == b->length && a->has_length == b->has_length &&
           a->keep_alive == b->keep_alive && a->expects == b->expects && a->asterisk == b->asterisk &&
           a->names == b->names && a->repeats == b->repeats && same_span(a, a->method, b, b->method) &&
           same_span(a, a->target, b, b->target) && same_span(a, a->path, b, b->path) &&
           same_span(a, a->query, b, b->query) && same_span(a, a->authority, b, b->authority) && same_fields(a, b) &&
           same_body(a, b);
}
