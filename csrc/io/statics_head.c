/* statics_head.c - what a request for a file is answered: status, fields, and which parts of the file follow. */
#include "http/conditions.h"
#include "http/http_date.h"
#include "io/statics.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

#define FIELDS_MOST 1024 /* bytes of a head without the location of a redirection */
#define ETAG_MOST 64
#define IMMUTABLE "Cache-Control: public, max-age=31536000, immutable\r\n"

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static char *put(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, uint64_t value)
{
    return to + fw_wire_decimal(to, value);
}

static char *put_range(char *to, const fw_range *part, uint64_t size)
{
    to = PUT(to, "Content-Range: bytes ");
    to = put_number(to, part->first);
    to = PUT(to, "-");
    to = put_number(to, part->first + part->n - 1);
    to = PUT(to, "/");
    to = put_number(to, size);
    return PUT(to, "\r\n");
}

static const char *type_name(const fw_sending *s)
{
    return s->type != NULL ? s->type->type : "application/octet-stream";
}

/* ---- what is sent ------------------------------------------------------------------------------------------------ */

static size_t write_etag(char *to, const fw_sending *s)
{
    char *at = PUT(to, "\"");
    at += fw_wire_hex(at, (uint64_t)s->look.modified);
    at = PUT(at, ".");
    at += fw_wire_hex(at, s->look.ns);
    at = PUT(at, "-");
    at += fw_wire_hex(at, s->look.size);
    if (s->coding != FW_CODING_IDENTITY) {
        at = PUT(at, "-");
        at = put_text(at, fw_coding_name((enum fw_coding)s->coding));
    }
    at = PUT(at, "\"");
    return (size_t)(at - to);
}

/* A time of ours is never later than the message that tells it (RFC 9110 8.8.2.1). */
static int64_t modified(const fw_sending *s, int64_t now)
{
    return s->look.modified > now ? now : s->look.modified;
}

static void choose_parts(fw_sending *s, const fw_request *r, const fw_validators *v)
{
    fw_slice value;
    const bool asked = !fw_request_is_head(r) && fw_field_only(r, FW_NAME_RANGE, &value) && fw_conditions_range(r, v);
    switch (asked ? fw_ranges_read(&s->parts, value, s->look.size) : FW_RANGES_NONE) {
    case FW_RANGES_SOME: s->status = 206; return;
    case FW_RANGES_UNSATISFIABLE: s->status = 416; return;
    default: break;
    }
    s->parts.list[0] = (fw_range){0, s->look.size};
    s->parts.n = s->look.size != 0;
}

/* The file is open: which status, and which parts. */
static void decide(fw_sending *s, const fw_request *r, const fw_validators *v)
{
    switch (fw_conditions(r, v)) {
    case FW_CONDITION_NOT_MODIFIED: s->status = 304; return;
    case FW_CONDITION_FAILS: s->status = 412; return;
    default: choose_parts(s, r, v);
    }
}

/* ---- several parts (RFC 9110 14.6) ------------------------------------------------------------------------------- */

static void choose_boundary(fw_sending *s)
{
    uint64_t random = 0;
    if (getentropy(&random, sizeof random) != 0)
        random = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)s;
    char *at = PUT(s->boundary, "part-");
    at += fw_wire_hex(at, random);
    *at = '\0';
}

/* What stands before part `i`, or behind the last. */
static size_t write_delimiter(char *to, const fw_sending *s, unsigned i)
{
    char *at = PUT(to, "\r\n--");
    at = put_text(at, s->boundary);
    if (i == s->parts.n) {
        at = PUT(at, "--\r\n");
        return (size_t)(at - to);
    }
    at = PUT(at, "\r\nContent-Type: ");
    at = put_text(at, type_name(s));
    at = PUT(at, "\r\n");
    at = put_range(at, &s->parts.list[i], s->look.size);
    at = PUT(at, "\r\n");
    return (size_t)(at - to);
}

int fw_sending_delimit(fw_sending *s, fw_outq *q, fw_chunk_cache *cache, unsigned i)
{
    char text[FIELDS_MOST];
    return fw_outq_copy(q, cache, text, write_delimiter(text, s, i));
}

static uint64_t length_of(fw_sending *s)
{
    char text[FIELDS_MOST];
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->parts.n; i++)
        sum += s->parts.list[i].n;
    if (s->parts.n <= 1)
        return sum;
    choose_boundary(s);
    for (unsigned i = 0; i <= s->parts.n; i++)
        sum += write_delimiter(text, s, i);
    return sum;
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static char *put_first(char *to, int status, fw_date *date)
{
    to = PUT(to, "HTTP/1.1 ");
    to = put_number(to, (uint64_t)status);
    to = PUT(to, " ");
    to = put_text(to, fw_wire_reason(status));
    to = PUT(to, "\r\nServer: fastwsgi\r\n");
    return put(to, fw_date_line(date), FW_DATE_LEN);
}

/* What a cache is to know of the file, whether it comes or not. */
static char *put_validators(char *to, const fw_sending *s, const fw_request *r, const fw_validators *v)
{
    to = PUT(to, "Last-Modified: ");
    fw_http_date_write(to, v->modified);
    to = PUT(to + FW_HTTP_DATE_LEN, "\r\nETag: ");
    to = put(to, v->etag.at, v->etag.len);
    to = PUT(to, "\r\n");
    if (s->varies)
        to = PUT(to, "Vary: Accept-Encoding\r\n");
    if (s->statics->immutable != NULL &&
        fw_globs_find(s->statics->immutable, fw_request_at(r, r->path), r->path.len) != NULL)
        to = PUT(to, IMMUTABLE);
    return to;
}

static char *put_type(char *to, const fw_sending *s)
{
    const bool several = s->parts.n > 1;
    to = PUT(to, "Content-Type: ");
    to = several ? PUT(to, "multipart/byteranges; boundary=") : to;
    to = put_text(to, several ? s->boundary : type_name(s));
    return PUT(to, "\r\n");
}

/* `typed`: its type has been told. */
static char *put_content(char *to, const fw_sending *s, bool typed)
{
    if (!typed)
        to = put_type(to, s);
    to = PUT(to, "Content-Length: ");
    to = put_number(to, s->length);
    to = PUT(to, "\r\nAccept-Ranges: bytes\r\n");
    if (s->coding != FW_CODING_IDENTITY) {
        to = PUT(to, "Content-Encoding: ");
        to = put_text(to, fw_coding_name((enum fw_coding)s->coding));
        to = PUT(to, "\r\n");
    }
    return s->status == 206 && s->parts.n == 1 ? put_range(to, &s->parts.list[0], s->look.size) : to;
}

/* What a proxy has taken off the path. */
static fw_slice prefix_of(const fw_request *r)
{
    if (!(r->follows & FW_FOLLOW_PREFIX))
        return (fw_slice){"", 0};
    return (fw_slice){fw_request_at(r, r->followed.prefix), r->followed.prefix.len};
}

static char *put_location(char *to, const fw_request *r)
{
    const fw_slice prefix = prefix_of(r);
    to = PUT(to, "Location: ");
    to = put(to, prefix.at, prefix.len);
    to = put(to, fw_request_at(r, r->path), r->path.len);
    to = PUT(to, "/");
    if (r->query.len != 0) {
        to = PUT(to, "?");
        to = put(to, fw_request_at(r, r->query), r->query.len);
    }
    return PUT(to, "\r\n");
}

static const char *text_of(int status)
{
    switch (status) {
    case 301: return "this is a folder\n";
    case 404: return "not found\n";
    case 405: return "files can be read only\n";
    case 412: return "the file is another one\n";
    case 416: return "the file has no such part\n";
    case 503: return "not enough memory or descriptors\n";
    default: return "the file cannot be read\n";
    }
}

/* In place of the file. */
static char *put_failure(char *to, const fw_sending *s, const fw_request *r)
{
    to = PUT(to, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    to = put_number(to, s->length);
    to = PUT(to, "\r\n");
    switch (s->status) {
    case 301: return put_location(to, r);
    case 405: return PUT(to, "Allow: GET, HEAD\r\n");
    case 416:
        to = PUT(to, "Content-Range: bytes */");
        to = put_number(to, s->look.size);
        return PUT(to, "\r\n");
    case 503: return PUT(to, "Retry-After: 1\r\n");
    default: return to;
    }
}

static char *put_end(char *to, const fw_request *r, bool keep)
{
    if (!keep)
        to = PUT(to, "Connection: close\r\n");
    else if (r->minor == 0)
        to = PUT(to, "Connection: keep-alive\r\n");
    return PUT(to, "\r\n");
}

/* What is sent is a text of ours. An application may send a file with any status. */
bool fw_sending_is_failure(const fw_sending *s)
{
    return s->fd < 0 || s->status == 412 || s->status == 416;
}

static fw_validators validators_of(const fw_sending *s, char etag[ETAG_MOST])
{
    const int64_t now = (int64_t)time(NULL);
    return (fw_validators){{etag, write_etag(etag, s)}, modified(s, now), now};
}

/* What stands between the first lines and the last. */
static char *put_middle(char *to, const fw_sending *s, const fw_request *r, const fw_validators *v)
{
    if (fw_sending_is_failure(s))
        return put_failure(to, s, r);
    if (s->status != 304)
        to = put_content(to, s, false);
    return put_validators(to, s, r, v);
}

void fw_sending_decide(fw_sending *s, const fw_request *r, bool conditional)
{
    char etag[ETAG_MOST];
    const fw_validators v = validators_of(s, etag);
    if (s->fd >= 0 && conditional) {
        decide(s, r, &v);
    } else if (s->fd >= 0) {
        s->parts.list[0] = (fw_range){0, s->look.size};
        s->parts.n = s->look.size != 0;
    }
    s->length = fw_sending_is_failure(s) ? strlen(text_of(s->status)) : length_of(s);
    s->sent = fw_request_is_head(r) || s->status == 304 ? 0 : s->length;
}

/* The head is queued. */
static void end_head(fw_sending *s, const fw_request *r)
{
    if (fw_request_is_head(r))
        s->parts.n = 0;
    if (s->parts.n == 0)
        fw_sending_close(s);
}

/* The status line depends on what is decided below it: it is written last. */
int fw_sending_head(fw_sending *s, const fw_request *r, fw_outq *q, fw_chunk_cache *cache, fw_date *date, bool keep)
{
    char etag[ETAG_MOST];
    if (!s->named)
        fw_sending_decide(s, r, true);
    const bool failed = fw_sending_is_failure(s);
    const fw_validators v = validators_of(s, etag);
    const size_t location = s->status == 301 ? (size_t)r->path.len + r->query.len + prefix_of(r).len : 0;
    char *head = fw_outq_reserve(q, cache, FIELDS_MOST + location);
    if (head == NULL)
        return -ENOMEM;
    char *to = put_end(put_middle(put_first(head, s->status, date), s, r, &v), r, keep);
    if (failed && !fw_request_is_head(r))
        to = put_text(to, text_of(s->status));
    fw_outq_commit(q, (size_t)(to - head));
    end_head(s, r);
    return FW_OK;
}

/* Of a named file: the application's fields are queued, with its Content-Type if `typed`. */
int fw_sending_fields(fw_sending *s, const fw_request *r, fw_outq *q, fw_chunk_cache *cache, bool keep, bool typed)
{
    char etag[ETAG_MOST];
    const fw_validators v = validators_of(s, etag);
    char *head = fw_outq_reserve(q, cache, FIELDS_MOST);
    if (head == NULL)
        return -ENOMEM;
    char *to = s->status == 304 ? head : put_content(head, s, typed && s->parts.n <= 1);
    to = put_end(put_validators(to, s, r, &v), r, keep);
    fw_outq_commit(q, (size_t)(to - head));
    end_head(s, r);
    return FW_OK;
}
