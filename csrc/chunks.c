/* chunks.c - a chunked body becomes plain bytes (RFC 9112 7.1), within the limits.
 *
 * llhttp decodes. It pauses behind each size line, so that we can read the size ourselves: a chunk that announces more
 * than may come is refused before it comes.
 */
#include "request.h"

#define EXTENSION_MAX 1024    /* bytes of extensions that one chunk may carry */
#define EXTENSION_FREE 16384  /* bytes of extensions of a whole body, beyond as many as its decoded bytes */
#define SIZE_MAX_DIGITS 15    /* hexadecimal: below 2^60 */

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

/* Reads on in a size line; its syntax is llhttp's business. False: refused. */
static bool read_size(fw_request *r, const char *s, size_t n)
{
    const uint64_t limit = r->cfg->limit_body;
    for (size_t i = 0; i < n && r->size_state == SIZE_DIGITS; i++) {
        const int d = digit(s[i]);
        if (d < 0) {
            r->size_state = SIZE_EXTENSION;
        } else if (r->chunk_size >> (4 * (SIZE_MAX_DIGITS - 1)) != 0) {
            refuse(r, 400, "a chunk size is out of bounds");
            return false;
        } else {
            r->chunk_size = r->chunk_size << 4 | (unsigned)d;
        }
    }
    if (limit != 0 && (r->chunk_size > limit || r->body.len > limit - r->chunk_size)) {
        refuse(r, 413, "the request body is too large");
        return false;
    }
    return true;
}

/* ---- callbacks ------------------------------------------------------------------------------------------------- */

static int on_body(fw_llhttp *h, const char *at, size_t n)
{
    fw_request *r = self(h);
    int rc = fw_body_append(&r->body, at, n, r->cfg);
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

static int on_extension(fw_llhttp *h, const char *at, size_t n)
{
    (void)at;
    fw_request *r = self(h);
    r->extension_bytes += (uint32_t)n;
    r->extension_total += n;
    if (r->extension_bytes > EXTENSION_MAX || r->extension_total > EXTENSION_FREE + r->body.len)
        return refuse(r, 400, "chunk extensions are too long");
    return 0;
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
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
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

/* llhttp has stopped at the end of a size line, or of a chunk's data. */
static void next_part(fw_request *r)
{
    if (r->size_state == SIZE_DATA) {
        r->size_state = SIZE_DIGITS;
        r->chunk_size = 0;
    } else {
        r->size_state = SIZE_DATA;
        r->extension_bytes = 0;
    }
    r->api->resume(&r->parser);
}

enum fw_parse fw_request_chunks(fw_request *r, const char *data, size_t n, size_t *used)
{
    if (!r->in_body)
        begin(r);
    const char *at = data, *end = data + n;
    *used = n;
    for (;;) {
        const int code = r->api->execute(&r->parser, at, (size_t)(end - at));
        if (code != FW_HPE_PAUSED && code != FW_HPE_OK)
            return fw_request_refuse(r, 400, "malformed chunked body");
        const char *stop = code == FW_HPE_OK ? end : r->api->get_error_pos(&r->parser);
        if (r->size_state == SIZE_DIGITS && !r->whole && !read_size(r, at, (size_t)(stop - at)))
            return FW_PARSE_REFUSED;
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
