/* fuzz_chunks.c - fw_request_chunks against a decoder written from RFC 9112 section 7.1, which knows no limits.
 *
 * Rule: what the core takes, the reference takes too, to the same bytes and the same end; what the reference takes and
 * the core does not is refused by a limit that the input passes, or by a rule of docs/contract.md.  The body may move
 * to a file behind any piece in which its bytes come.
 */
#include "http/body.h"
#include "faults.h"
#include "fuzz.h"
#include "http/request.h"
#include "spill.h"

#include <strings.h>

#define LONGEST 8192
#define HEADER 4 /* bytes of an input in front of the body */

static const char HEAD[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/* ---- the reference --------------------------------------------------------------------------------------------- */

enum verdict { SHORT, TAKEN, WRONG };

typedef struct reference {
    const char *at, *end;
    char body[LONGEST];
    size_t len;
    uint64_t promised;  /* the most that sizes seen so far have announced in all */
    bool huge;          /* a size of more digits than the contract takes, or too large */
    bool odd;           /* some extension is not quite one: taken or refused, the size is the same */
    size_t longest_ext; /* bytes of the longest */
    unsigned trailers;
    size_t trailer_bytes;
    bool framing; /* a trailer field that speaks of framing: the parser may refuse it */
} reference;

static bool hex(char c, unsigned *value)
{
    static const char DIGITS[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c != '\0' ? strchr(DIGITS, c) : NULL;
    if (at == NULL)
        return false;
    *value = (unsigned)((at - DIGITS) % 16);
    return true;
}

static bool tchar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* VCHAR, SP, HTAB or obs-text. */
static bool text(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static enum verdict crlf(reference *r)
{
    if (r->at == r->end)
        return SHORT;
    if (*r->at != '\r')
        return WRONG;
    if (r->end - r->at < 2)
        return SHORT;
    if (r->at[1] != '\n')
        return WRONG;
    r->at += 2;
    return TAKEN;
}

static enum verdict token(reference *r)
{
    const char *start = r->at;
    while (r->at < r->end && tchar(*r->at))
        r->at++;
    if (r->at == r->end)
        return SHORT;
    return r->at > start ? TAKEN : WRONG;
}

static enum verdict quoted(reference *r)
{
    for (r->at++; r->at < r->end; r->at++) {
        if (*r->at == '"') {
            r->at++;
            return TAKEN;
        }
        if (*r->at == '\\' && ++r->at == r->end)
            return SHORT;
        if (!text(*r->at))
            return WRONG;
    }
    return SHORT;
}

static enum verdict token_or_nothing(reference *r)
{
    const enum verdict v = token(r);
    r->odd |= v == WRONG;
    return v == WRONG ? TAKEN : v;
}

/* chunk-ext without the bad white space that the grammar lets in: the contract refuses it. */
static enum verdict extensions(reference *r)
{
    while (r->at < r->end && *r->at == ';') {
        r->at++;
        enum verdict v = token_or_nothing(r);
        if (v == TAKEN && *r->at == '=') {
            if (++r->at == r->end)
                return SHORT;
            if (*r->at != '"')
                v = token_or_nothing(r);
            if (v == TAKEN && *r->at == '"') {
                r->odd |= r->at[-1] != '=';
                v = quoted(r);
            }
        }
        if (v != TAKEN)
            return v;
    }
    return r->at == r->end ? SHORT : TAKEN;
}

static bool speaks_of_framing(const char *name, size_t n)
{
    static const char *const NAMES[] = {"content-length", "transfer-encoding", "connection", "upgrade",
                                        "proxy-connection"};
    for (size_t i = 0; i < COUNT(NAMES); i++)
        if (n == strlen(NAMES[i]) && strncasecmp(name, NAMES[i], n) == 0)
            return true;
    return false;
}

static enum verdict trailer_field(reference *r)
{
    const char *name = r->at;
    const enum verdict v = token(r);
    r->trailer_bytes += (size_t)(r->at - name);
    if (v != TAKEN)
        return v;
    if (*r->at != ':')
        return WRONG;
    r->framing |= speaks_of_framing(name, (size_t)(r->at - name));
    const char *value = r->at++;
    while (r->at < r->end && text(*r->at))
        r->at++;
    r->trailers++;
    r->trailer_bytes += (size_t)(r->at - value);
    return crlf(r);
}

static enum verdict size_line(reference *r, uint64_t *size)
{
    unsigned digit, digits = 0;
    *size = 0;
    for (; r->at < r->end && hex(*r->at, &digit); r->at++) {
        r->huge |= ++digits > 16 || *size >> 56 != 0;
        *size = *size << 4 | digit;
        if (r->huge)
            return WRONG;
    }
    if (r->len + *size > r->promised)
        r->promised = r->len + *size;
    if (r->at == r->end)
        return SHORT;
    const char *start = r->at;
    const enum verdict v = extensions(r);
    if ((size_t)(r->at - start) > r->longest_ext)
        r->longest_ext = (size_t)(r->at - start);
    return v == TAKEN ? crlf(r) : v;
}

static enum verdict refer(reference *r)
{
    for (;;) {
        const char *start = r->at;
        uint64_t size;
        unsigned digit;
        if (start < r->end && !hex(*start, &digit))
            return WRONG;
        enum verdict v = size_line(r, &size);
        if (v != TAKEN)
            return v;
        if (size == 0)
            break;
        if ((uint64_t)(r->end - r->at) < size) {
            memcpy(r->body + r->len, r->at, (size_t)(r->end - r->at));
            r->len += (size_t)(r->end - r->at);
            return SHORT;
        }
        memcpy(r->body + r->len, r->at, (size_t)size);
        r->len += (size_t)size;
        r->at += size;
        if ((v = crlf(r)) != TAKEN)
            return v;
    }
    for (;;) {
        if (r->at == r->end)
            return SHORT;
        if (*r->at == '\r')
            return crlf(r);
        enum verdict v = trailer_field(r);
        if (v != TAKEN)
            return v;
    }
}

/* ---- the comparison -------------------------------------------------------------------------------------------- */

static fw_config limits(const uint8_t *data)
{
    static const size_t MEMORY[] = {1 << 20, 0, 1, 7, 64, 500, 4096, 4097};
    static const uint64_t BODY[] = {0, 0, 0, 1, 9, 100, 1000, 4096};
    fw_config cfg = defaults();
    cfg.body_memory = MEMORY[data[0] & 7];
    cfg.limit_body = BODY[data[0] >> 3 & 7];
    if (data[0] & 0x40) {
        cfg.limit_fields = 4;
        cfg.limit_field_size = 30;
        cfg.limit_line = 60;
        cfg.limit_header = 100;
    }
    return cfg;
}

/* Reads all of the body in uneven bites, some of them lines. */
static void check_body(fw_body *b, const reference *ref, unsigned bite)
{
    char *got = malloc(ref->len + 1);
    MUST(got != NULL);
    size_t have = 0;
    for (;;) {
        size_t want = 1 + bite;
        if (bite & 1) {
            const ssize_t line = fw_body_line(b, want);
            MUST(line >= 0 && (size_t)line <= want);
            const char *lf = memchr(ref->body + have, '\n', ref->len - have);
            const size_t to_lf = lf != NULL ? (size_t)(lf - ref->body) + 1 - have : ref->len - have;
            MUST((size_t)line == (to_lf < want ? to_lf : want));
            want = (size_t)line;
        }
        if (want > ref->len + 1 - have)
            want = ref->len + 1 - have;
        const ssize_t n = fw_body_read(b, got + have, want);
        MUST(n >= 0);
        if (n == 0)
            break;
        have += (size_t)n;
        bite = (bite * 7 + 3) & 0x3ff;
    }
    MUST(have == ref->len && memcmp(got, ref->body, have) == 0 && fw_body_left(b) == 0);
    free(got);
}

static bool limit_met(const reference *ref, const fw_config *cfg, const fw_request *r)
{
    switch (r->status) {
    case 413: return cfg->limit_body != 0 && ref->promised > cfg->limit_body;
    case 431:
        return ref->trailers + r->nfields > cfg->limit_fields ||
               ref->trailer_bytes + 2 * ref->trailers > cfg->limit_field_size || /* the core counts ": " */
               r->head_len + ref->trailer_bytes + 2 * ref->trailers > cfg->limit_header + cfg->limit_line;
    case 400: return ref->longest_ext > 1024 || ref->huge || ref->framing || ref->odd;
    default: return false;
    }
}

static void compare(const fw_request *r, enum fw_parse p, size_t used, const reference *ref, enum verdict v, size_t n)
{
    bool same;
    switch (p) {
    case FW_PARSE_DONE: same = v == TAKEN && used == n - (size_t)(ref->end - ref->at); break;
    case FW_PARSE_MORE: same = v == SHORT; break;
    default: same = v == WRONG || limit_met(ref, r->cfg, r);
    }
    if (!same) {
        fprintf(stderr, "core: %d, %zu bytes used, %llu decoded, status %d (%s)\nreference: %d, %zu used, %zu decoded\n",
                p, used, (unsigned long long)r->body.len, r->status, r->why, v, n - (size_t)(ref->end - ref->at),
                ref->len);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static reference ref;
    if (size <= HEADER || size > LONGEST)
        return 0;
    const long blocks = blocks_in_use();
    const fw_config cfg = limits(data);
    const char *bytes = (const char *)data + HEADER;
    const size_t n = size - HEADER;
    ref = (reference){.at = bytes, .end = bytes + n};
    const enum verdict v = refer(&ref);

    fw_request *r = fw_request_open(parser(), &cfg);
    MUST(r != NULL && fw_request_parse(r, HEAD, sizeof HEAD - 1) == FW_PARSE_DONE);
    MUST(r->framing == FW_FRAMING_CHUNKED && r->head_len == sizeof HEAD - 1);
    uint32_t seed = data[1] | (uint32_t)data[2] << 8 | 1;
    const uint32_t most = 1 + (data[3] & 0x7f) * (data[3] & 0x80 ? 64u : 1u);
    enum fw_parse p = FW_PARSE_MORE;
    size_t at = 0;
    while (p == FW_PARSE_MORE && at < n) {
        size_t some = 1 + dice(&seed) % most, used = 0;
        some = some < n - at ? some : n - at;
        char *exact = malloc(some); /* reading past it is seen */
        MUST(exact != NULL);
        memcpy(exact, bytes + at, some);
        p = fw_request_chunks(r, exact, some, &used);
        free(exact);
        MUST(used <= some && (p == FW_PARSE_DONE || used == some));
        at += used;
        if (p != FW_PARSE_REFUSED)
            MUST(spill(&r->body, p == FW_PARSE_DONE, &cfg) == FW_OK);
        MUST(cfg.limit_body == 0 || r->body.len <= cfg.limit_body);
        MUST(p == FW_PARSE_REFUSED || (r->body.fd >= 0) == (r->body.len > cfg.body_memory));
    }
    compare(r, p, at, &ref, v, n);
    if (p != FW_PARSE_REFUSED) {
        MUST(r->body.len == ref.len && spill(&r->body, true, &cfg) == FW_OK);
        check_body(&r->body, &ref, data[2]);
    }
    fw_request_close(r);
    MUST(blocks_in_use() == blocks);
    return 0;
}
