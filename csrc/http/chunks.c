/* chunks.c - a chunked body becomes plain bytes (RFC 9112 7.1), within the limits.
 *
 * Chunks that are here whole and have no extension are taken here, at a few nanoseconds each, so that a body of tiny chunks
 * costs little more than its bytes. llhttp decodes all the rest. It pauses behind each size line, so that we can read the
 * size ourselves: a chunk that announces more than may come is refused before it comes. Limits count the bytes of the wire,
 * because what a callback tells leaves out delimiters, and a client may send nothing else.
 *
 * Its unit test is in test_request.c, which feeds heads and bodies alike.
 */
#include "http/request.h"

#define EXTENSION_MAX 1024    /* bytes of extensions that one chunk may carry */
#define EXTENSION_FREE 16384  /* bytes of extensions of a whole body, beyond as many as its decoded bytes */
#define SIZE_DIGITS_MAX 16    /* hexadecimal, leading zeros included */
#define SIZE_VALUE_DIGITS 15  /* ... without them: below 2^60 */
#define SHORT_SIZE 4          /* digits of a chunk that can be here whole */
#define LINE_END 2            /* CR LF */

/* What a chunk costs, in received bytes that cost as much (fw_request.work). */
#define WORK_WHOLE 48
#define WORK_PARSED 512

enum size_state { SIZE_DIGITS, SIZE_EXTENSION, SIZE_DATA }; /* what the bytes to come belong to */

static fw_request *self(fw_llhttp *h)
{
    return (fw_request *)h; /* the parser is the first member */
}

static int refuse(fw_request *r, int status, const char *why)
{
    fw_request_refuse(r, status, why);
    return FW_HPE_USER;
}

/* ---- sizes ----------------------------------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads on in a size line; its syntax is llhttp's business. The digits among the `n` bytes, or -1: refused. */
static int read_digits(fw_request *r, const char *s, size_t n)
{
    const uint64_t limit = r->cfg->limit_body;
    size_t i = 0;
    for (; i < n && r->size_state == SIZE_DIGITS; i++) {
        const int d = digit(s[i]);
        if (d < 0) {
            r->size_state = SIZE_EXTENSION;
            break;
        }
        if (r->size_digits == SIZE_DIGITS_MAX || r->chunk_size >> (4 * (SIZE_VALUE_DIGITS - 1)) != 0) {
            refuse(r, 400, "a chunk size is out of bounds");
            return -1;
        }
        r->size_digits++;
        r->chunk_size = r->chunk_size << 4 | (unsigned)d;
    }
    if (limit != 0 && (r->chunk_size > limit || r->body.len > limit - r->chunk_size)) {
        refuse(r, 413, "the request body is too large");
        return -1;
    }
    return (int)i;
}

/* The next `n` bytes of a size line; with `over` they end with its line end. False: refused. */
static bool read_size_line(fw_request *r, const char *s, size_t n, bool over)
{
    const int digits = read_digits(r, s, n);
    if (digits < 0)
        return false;
    r->extension_bytes += (uint32_t)n - (uint32_t)digits;
    if (over)
        r->extension_bytes -= LINE_END;
    if (r->extension_bytes > EXTENSION_MAX + (over ? 0 : LINE_END))
        goto too_long;
    if (!over)
        return true;
    r->extension_total += r->extension_bytes;
    if (r->extension_total <= EXTENSION_FREE + r->body.len)
        return true;
too_long:
    refuse(r, 400, "chunk extensions are too long");
    return false;
}

/* The next `n` bytes behind the last chunk. The fields in them have been counted (count_trailer); what stands between them
 * is not without end either. False: refused. */
static bool read_trailers(fw_request *r, size_t n)
{
    const fw_config *cfg = r->cfg;
    r->trailer_wire += n;
    if (r->trailer_wire <= (uint64_t)cfg->limit_header + cfg->limit_line + 4u * (uint64_t)cfg->limit_fields)
        return true;
    refuse(r, 431, "the trailer section is too long");
    return false;
}

/* ---- callbacks ------------------------------------------------------------------------------------------------- */

static int on_body(fw_llhttp *h, const char *at, size_t n)
{
    fw_request *r = self(h);
    int rc = fw_body_append(&r->body, at, n);
    if (rc == FW_OK)
        return 0;
    fw_request_refuse_storage(r, rc);
    return FW_HPE_USER;
}

static int on_chunk_header(fw_llhttp *h)
{
    return self(h)->in_body ? FW_HPE_PAUSED : 0;
}

static int on_chunk_complete(fw_llhttp *h)
{
    return self(h)->in_body ? FW_HPE_PAUSED : 0;
}

static int count_trailer(fw_request *r, size_t n)
{
    r->trailer_bytes += (uint32_t)n;
    r->trailer_field += (uint32_t)n;
    if (r->head_len + r->trailer_bytes > r->cfg->limit_header + r->cfg->limit_line)
        return refuse(r, 431, "the trailer section is too long");
    if (r->trailer_field > r->cfg->limit_field_size)
        return refuse(r, 431, "a trailer field is too long");
    return 0;
}

static int on_trailer_bytes(fw_llhttp *h, const char *at, size_t n)
{
    (void)at;
    fw_request *r = self(h);
    return r->in_body ? count_trailer(r, n) : 0;
}

static int on_trailer_complete(fw_llhttp *h)
{
    fw_request *r = self(h);
    if (!r->in_body)
        return 0;
    if (r->nfields + r->trailers == r->cfg->limit_fields)
        return refuse(r, 431, "too many trailer fields");
    r->trailers++;
    const int rc = count_trailer(r, 2); /* ": " */
    r->trailer_field = 0;
    return rc;
}

static int on_message_complete(fw_llhttp *h)
{
    fw_request *r = self(h);
    r->whole = true;
    return FW_HPE_PAUSED;
}

static const fw_llhttp_settings SETTINGS = {
    .on_header_field = on_trailer_bytes,
    .on_header_value = on_trailer_bytes,
    .on_header_value_complete = on_trailer_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- feeding --------------------------------------------------------------------------------------------------- */

/* The head is over; a parser of its own, told only that a chunked body follows, decodes the rest. So nothing in the
 * real head (an Upgrade, say) can change how the body is read. */
static void begin(fw_request *r)
{
    static const char PRIMER[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    r->api->init(&r->parser, FW_LLHTTP_REQUEST, &SETTINGS);
    r->api->execute(&r->parser, PRIMER, sizeof PRIMER - 1);
    r->in_body = true;
}

/* llhttp has stopped at the end of a size line, or of a chunk's data; behind the last chunk no further size comes. */
static void next_part(fw_request *r)
{
    if (r->size_state != SIZE_DATA) {
        r->size_state = SIZE_DATA;
        r->extension_bytes = 0;
    } else if (r->chunk_size != 0) {
        r->size_state = SIZE_DIGITS;
        r->size_digits = 0;
        r->chunk_size = 0;
    }
    r->api->resume(&r->parser);
}

/* Where the data of a chunk begins that is here whole and within the limit; its size is in `*size`. NULL: llhttp's. */
static const char *whole_chunk(const fw_request *r, const char *at, const char *end, size_t *size)
{
    const uint64_t limit = r->cfg->limit_body;
    const char *s = at;
    size_t n = 0;
    for (int d; s < end && s - at < SHORT_SIZE && (d = digit(*s)) >= 0; s++)
        n = n << 4 | (unsigned)d;
    if (n == 0 || (size_t)(end - s) < n + 2 * LINE_END || s[0] != '\r' || s[1] != '\n')
        return NULL;
    s += LINE_END;
    if (s[n] != '\r' || s[n + 1] != '\n' || (limit != 0 && r->body.len + n > limit))
        return NULL;
    *size = n;
    return s;
}

/* Takes the chunks that are here whole. Between two chunks llhttp keeps nothing of those before, so it need not see them.
 * Returns where it has stopped; NULL: refused. */
static const char *take_whole_chunks(fw_request *r, const char *at, const char *end)
{
    size_t n;
    for (const char *data; (data = whole_chunk(r, at, end, &n)) != NULL; at = data + n + LINE_END) {
        const int rc = fw_body_append(&r->body, data, n);
        if (rc != FW_OK) {
            fw_request_refuse_storage(r, rc);
            return NULL;
        }
        r->work += WORK_WHOLE;
    }
    return at;
}

enum fw_parse fw_request_chunks(fw_request *r, const char *data, size_t n, size_t *used)
{
    if (!r->in_body)
        begin(r);
    const char *at = data, *end = data + n;
    *used = n;
    for (;;) {
        if (r->size_state == SIZE_DIGITS && r->size_digits == 0) {
            if ((at = take_whole_chunks(r, at, end)) == NULL)
                return FW_PARSE_REFUSED;
            if (at == end)
                return FW_PARSE_MORE;
        }
        r->work += WORK_PARSED;
        const int code = r->api->execute(&r->parser, at, (size_t)(end - at));
        if (code != FW_HPE_PAUSED && code != FW_HPE_OK)
            return fw_request_refuse(r, 400, "malformed chunked body");
        const char *stop = code == FW_HPE_OK ? end : r->api->get_error_pos(&r->parser);
        if (r->size_state != SIZE_DATA) {
            if (!read_size_line(r, at, (size_t)(stop - at), code == FW_HPE_PAUSED))
                return FW_PARSE_REFUSED;
        } else if (r->chunk_size == 0 && !read_trailers(r, (size_t)(stop - at))) {
            return FW_PARSE_REFUSED;
        }
        if (code == FW_HPE_OK)
            return FW_PARSE_MORE;
        if (r->whole) {
            *used = (size_t)(stop - data);
            return FW_PARSE_DONE;
        }
        next_part(r);
        at = stop;
    }
}
