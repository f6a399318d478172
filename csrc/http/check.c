/* check.c - the judgement over a head: what llhttp accepts and docs/contract.md does not.
 *
 * It has no unit test of its own: its verdicts are seen through requests only, in test_request.c.
 */
#include "http/check.h"
#include "http/forwarded.h"
#include "http/proxy_header.h"
#include "http/wire.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>

static enum fw_parse refuse(fw_refusal *v, int status, const char *why)
{
    v->status = status;
    v->why = why;
    return FW_PARSE_REFUSED;
}

/* ---- character classes ----------------------------------------------------------------------------------------- */

/* Which bytes a target may hold: those of RFC 3986, brackets, and in a query also \ ^ ` { | }, which browsers send bare
 * there (WHATWG URL, query percent-encode set) and no parser reads in two ways. */
enum { PATH = 1, QUERY = 2, HOST = 4, DIGIT = 8, HEX = 16 };
#define BOTH (PATH | QUERY)
#define NAME (PATH | QUERY | HOST)
#define H (NAME | HEX)
#define D (NAME | HEX | DIGIT)
static const uint8_t CLASS[256] = {
    ['!'] = NAME,  ['$'] = NAME,  ['%'] = NAME,   ['&'] = NAME, ['\''] = NAME, ['('] = NAME, [')'] = NAME,
    ['*'] = NAME,  ['+'] = NAME,  [','] = NAME,  ['-'] = NAME,   ['.'] = NAME, ['/'] = BOTH,  [':'] = BOTH, [';'] = NAME,
    ['='] = NAME,  ['?'] = BOTH,  ['@'] = BOTH,  ['['] = BOTH,   [']'] = BOTH, ['\\'] = QUERY, ['^'] = QUERY, ['_'] = NAME,
    ['`'] = QUERY,  ['{'] = QUERY,  ['|'] = QUERY,  ['}'] = QUERY,   ['~'] = NAME, ['0'] = D,     ['1'] = D,    ['2'] = D,
    ['3'] = D,     ['4'] = D,     ['5'] = D,     ['6'] = D,      ['7'] = D,    ['8'] = D,     ['9'] = D,    ['a'] = H,
    ['b'] = H,     ['c'] = H,     ['d'] = H,     ['e'] = H,      ['f'] = H,    ['g'] = NAME,  ['h'] = NAME, ['i'] = NAME,
    ['j'] = NAME,  ['k'] = NAME,  ['l'] = NAME,  ['m'] = NAME,   ['n'] = NAME, ['o'] = NAME,  ['p'] = NAME, ['q'] = NAME,
    ['r'] = NAME,  ['s'] = NAME,  ['t'] = NAME,  ['u'] = NAME,   ['v'] = NAME, ['w'] = NAME,  ['x'] = NAME, ['y'] = NAME,
    ['z'] = NAME,  ['A'] = H,     ['B'] = H,     ['C'] = H,      ['D'] = H,    ['E'] = H,     ['F'] = H,    ['G'] = NAME,
    ['H'] = NAME,  ['I'] = NAME,  ['J'] = NAME,  ['K'] = NAME,   ['L'] = NAME, ['M'] = NAME,  ['N'] = NAME, ['O'] = NAME,
    ['P'] = NAME,  ['Q'] = NAME,  ['R'] = NAME,  ['S'] = NAME,   ['T'] = NAME, ['U'] = NAME,  ['V'] = NAME, ['W'] = NAME,
    ['X'] = NAME,  ['Y'] = NAME,  ['Z'] = NAME,
};
#undef H
#undef D

static inline bool is(char c, unsigned class)
{
    return (CLASS[(uint8_t)c] & class) != 0;
}

static bool all(const char *s, size_t n, unsigned class)
{
    for (size_t i = 0; i < n; i++)
        if (!is(s[i], class))
            return false;
    return true;
}

/* ---- Host ------------------------------------------------------------------------------------------------------ */

static bool valid_port(const char *s, size_t n)
{
    if (n > 5 || !all(s, n, DIGIT))
        return false;
    unsigned port = 0;
    for (size_t i = 0; i < n; i++)
        port = port * 10 + (unsigned)(s[i] - '0');
    return port <= 65535;
}

static bool valid_escapes(const char *s, size_t n)
{
    for (const char *c = s; (c = memchr(c, '%', (size_t)(s + n - c))) != NULL; c++)
        if (s + n - c < 3 || !is(c[1], HEX) || !is(c[2], HEX))
            return false;
    return true;
}

static bool valid_name(const char *s, size_t n)
{
    bool escapes = false;
    for (size_t i = 0; i < n; i++) {
        if (!is(s[i], HOST))
            return false;
        escapes |= s[i] == '%';
    }
    return n > 0 && (!escapes || valid_escapes(s, n));
}

/* What RFC 3986 3.2.2 lets stand between brackets: IPvFuture, "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ). */
static bool valid_future(const char *s, size_t n)
{
    const char *dot = memchr(s, '.', n);
    if (dot == NULL || dot == s + 1 || dot + 1 == s + n || !all(s + 1, (size_t)(dot - s) - 1, HEX))
        return false;
    for (const char *c = dot + 1; c < s + n; c++)
        if (*c != ':' && (*c == '%' || !is(*c, HOST)))
            return false;
    return true;
}

/* "[" ( IPv6address / IPvFuture ) "]" */
static bool valid_literal(const char *s, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (n > 0 && (s[0] | 0x20) == 'v')
        return valid_future(s, n);
    if (n >= sizeof text || memchr(s, '\0', n) != NULL)
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

bool fw_check_host(const char *s, size_t n)
{
    size_t host;
    if (n > 0 && s[0] == '[') {
        const char *close = memchr(s, ']', n);
        if (close == NULL || !valid_literal(s + 1, (size_t)(close - s) - 1))
            return false;
        host = (size_t)(close - s) + 1;
    } else {
        const char *colon = memchr(s, ':', n);
        host = colon != NULL ? (size_t)(colon - s) : n;
        if (!valid_name(s, host))
            return false;
    }
    return host == n || (s[host] == ':' && valid_port(s + host + 1, n - host - 1));
}

bool fw_check_path(const char *s, size_t n)
{
    return all(s, n, PATH) && memchr(s, '?', n) == NULL;
}

/* ---- target ---------------------------------------------------------------------------------------------------- */

bool fw_check_query(const char *s, size_t n)
{
    return all(s, n, QUERY);
}

/* Splits path from query and checks every byte.  `at` is the first byte of the path, within the target. */
static bool split_target(const fw_request *r, uint32_t at, fw_line *line)
{
    const char *s = r->base;
    const uint32_t end = r->target.off + r->target.len;
    uint32_t i = at;
    while (i < end && is(s[i], PATH) && s[i] != '?')
        i++;
    line->path.off = at;
    line->path.len = i - at;
    if (i == end) {
        line->query.off = end;
        line->query.len = 0;
        return true;
    }
    if (s[i] != '?')
        return false;
    line->query.off = i + 1;
    line->query.len = end - i - 1;
    return fw_check_query(s + i + 1, line->query.len);
}

/* http://authority[path][?query] (RFC 9112 3.2.2). */
static enum fw_parse check_absolute(const fw_request *r, fw_line *line)
{
    const char *s = fw_request_at(r, r->target);
    const uint32_t n = r->target.len;
    uint32_t scheme = 0;
    if (n > 7 && fw_wire_same(s, 7, "http://"))
        scheme = 7;
    else if (n > 8 && fw_wire_same(s, 8, "https://"))
        scheme = 8;
    else
        return refuse(&line->refusal, 400, "invalid request target");
    uint32_t end = scheme;
    while (end < n && s[end] != '/' && s[end] != '?')
        end++;
    if (!fw_check_host(s + scheme, end - scheme))
        return refuse(&line->refusal, 400, "invalid authority in the request target");
    line->authority.off = r->target.off + scheme;
    line->authority.len = end - scheme;
    if (!split_target(r, r->target.off + end, line))
        return refuse(&line->refusal, 400, "invalid byte in the request target");
    line->asterisk = end == n && line->method_id == FW_METHOD_OPTIONS;
    return FW_PARSE_DONE;
}

enum fw_parse fw_check_target(const fw_request *r, fw_line *line)
{
    const char *s = fw_request_at(r, r->target);
    if (fw_likely(r->target.len > 0 && s[0] == '/')) {
        if (!split_target(r, r->target.off, line))
            return refuse(&line->refusal, 400, "invalid byte in the request target");
        return FW_PARSE_DONE;
    }
    if (r->target.len == 1 && s[0] == '*') {
        if (line->method_id != FW_METHOD_OPTIONS)
            return refuse(&line->refusal, 400, "the target * belongs to OPTIONS");
        line->asterisk = true;
        return FW_PARSE_DONE;
    }
    return check_absolute(r, line);
}

/* ---- a PROXY header in the place of a request ------------------------------------------------------------------ */

const char *fw_check_proxy_header(const fw_config *cfg)
{
    return cfg->proxy_protocol == FW_PROXY_OFF ? "a PROXY header, but proxy_protocol is off"
                                               : "a PROXY header that is not at the start of its connection";
}

/* ---- a request line that llhttp refused ------------------------------------------------------------------------ */

/* What the text behind the target says: 0 a version we speak, else the status that answers it. */
static int judge_version(const char *s, size_t n)
{
    if (n != 8 || memcmp(s, "HTTP/", 5) != 0 || !is(s[5], DIGIT) || s[6] != '.' || !is(s[7], DIGIT))
        return 400;
    return s[5] == '1' && s[7] <= '1' ? 0 : 505;
}

#define TLS_HANDSHAKE 0x16 /* the first byte of a ClientHello's record (RFC 8446 5.1); no token begins with it */

#define UWSGI_REQUEST 0    /* ... of a WSGI request in the uwsgi protocol (uwsgi.h) */

static const char MALFORMED_LINE[] = "malformed request line";

enum fw_parse fw_check_bad_line(const fw_request *r, const char *base, size_t len, fw_refusal *v)
{
    const char *line = base + r->start;
    size_t n = len - r->start;
    const char *lf = memchr(line, '\n', n);
    const bool whole = lf != NULL;
    if (whole)
        n = (size_t)(lf - line);
    const bool too_long = n > (size_t)r->cfg->limit_line + 1;
    if (too_long) /* what lies beyond does not count, so that the answer is the same however the line arrives */
        n = (size_t)r->cfg->limit_line + 1;
    if (n > 0 && line[0] == TLS_HANDSHAKE)
        return refuse(v, 400, "TLS on a port that speaks plain HTTP");
    if (fw_proxy_header_begins(line, n) == FW_PARSE_DONE)
        return refuse(v, 400, fw_check_proxy_header(r->cfg));
    if (n > 0 && line[0] == UWSGI_REQUEST)
        return refuse(v, 400, "the uwsgi protocol on a port that speaks HTTP");
    size_t i = 0;
    while (i < n && fw_wire_tchar[(uint8_t)line[i]])
        i++;
    if (i < n && (line[i] != ' ' || i == 0))
        return refuse(v, 400, MALFORMED_LINE);
    const size_t target = i + 1;
    for (i = target; i < n && is(line[i], BOTH);)
        i++;
    if (i < n && line[i] != ' ' && line[i] != '\r')
        return refuse(v, 400, MALFORMED_LINE);
    if (too_long)
        return refuse(v, 414, "the request line is too long");
    if (!whole)
        return FW_PARSE_MORE;
    if (n == 0 || line[n - 1] != '\r' || i == target || target > n)
        return refuse(v, 400, MALFORMED_LINE);
    if (i == n - 1 && i - target >= 5 && memcmp(line + target, "HTTP/", 5) == 0) /* a version, but no target */
        return refuse(v, 400, MALFORMED_LINE);
    if (i == n - 1) /* no version: HTTP/0.9 */
        return refuse(v, 505, "this server speaks HTTP/1.1 and HTTP/1.0");
    int status = line[i] == ' ' ? judge_version(line + i + 1, n - i - 2) : 400;
    if (status == 505)
        return refuse(v, 505, "this server speaks HTTP/1.1 and HTTP/1.0");
    if (status != 0)
        return refuse(v, 400, MALFORMED_LINE);
    if (r->api->get_errno(&r->parser) == FW_HPE_INVALID_URL)
        return refuse(v, 400, MALFORMED_LINE);
    return refuse(v, 501, "unknown method"); /* none that llhttp knows, or one of RTSP's, or PRI */
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

typedef struct codings {
    unsigned chunked; /* how often "chunked" occurs */
    bool other;       /* some other well-formed coding occurs */
    bool last;        /* "chunked" came last */
} codings;

/* Transfer-Encoding (RFC 9112 6.1, 7).  False: malformed, or obfuscated. */
static bool read_codings(const fw_request *r, const fw_field *f, codings *c)
{
    const char *s = fw_request_at(r, f->value), *end = s + f->value.len;
    if (s == end)
        return false;
    for (;;) {
        const char *from = s;
        while (s < end && fw_wire_tchar[(uint8_t)*s])
            s++;
        if (s == from)
            return false;
        c->last = fw_wire_same(from, (size_t)(s - from), "chunked");
        c->chunked += c->last;
        c->other |= !c->last;
        while (s < end && (*s == ' ' || *s == '\t'))
            s++;
        if (s == end)
            return true;
        if (*s++ != ',')
            return false;
        while (s < end && (*s == ' ' || *s == '\t'))
            s++;
    }
}

/* 1*DIGIT below 2^63 (RFC 9110 8.6). */
static bool read_length(const fw_request *r, const fw_field *f, uint64_t *length)
{
    const char *s = fw_request_at(r, f->value);
    const uint32_t n = f->value.len;
    uint64_t v = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!is(s[i], DIGIT) || v > (uint64_t)INT64_MAX / 10)
            return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
        if (v > (uint64_t)INT64_MAX)
            return false;
    }
    *length = v;
    return n > 0;
}

/* A name with an underscore would share its environ key with the name that has a hyphen there. The default is that the
 * environ does not show it (request.c). */
static enum fw_parse judge_unknown(const fw_request *r, const fw_field *f, fw_fields *out)
{
    const char *name = fw_request_at(r, f->name);
    if (fw_likely(r->cfg->header_map == FW_MAP_DROP) || memchr(name, '_', f->name.len) == NULL)
        return FW_PARSE_DONE;
    const fw_forwarding *forwarding = r->cfg->forwarding;
    const bool forwarder = forwarding != NULL && fw_forwarding_lists(forwarding, name, f->name.len);
    if (r->cfg->header_map == FW_MAP_REFUSE && !forwarder)
        return refuse(&out->refusal, 400, "a header field name with an underscore");
    out->names |= forwarder; /* whether this peer may send it is fw_forwarded_read's to say */
    out->repeats = true; /* its key may be that of a name we know */
    return FW_PARSE_DONE;
}

/* What the fields say that others of them may change. */
typedef struct reading {
    codings te;
    bool close, keep;
    bool expects_other;
} reading;

static enum fw_parse judge_repeat(const fw_field *f, fw_fields *out)
{
    switch (f->id) {
    case FW_NAME_HOST: return refuse(&out->refusal, 400, "more than one Host field");
    case FW_NAME_CONTENT_LENGTH: return refuse(&out->refusal, 400, "more than one Content-Length field");
    case FW_NAME_CONTENT_TYPE: return refuse(&out->refusal, 400, "more than one Content-Type field");
    default: out->repeats = true; return FW_PARSE_DONE;
    }
}

static enum fw_parse judge_known(const fw_request *r, const fw_field *f, reading *v, fw_fields *out)
{
    switch (f->id) {
    case FW_NAME_HOST:
        if (!fw_check_host(fw_request_at(r, f->value), f->value.len))
            return refuse(&out->refusal, 400, "invalid Host");
        break;
    case FW_NAME_CONNECTION:
        v->close |= fw_wire_lists(fw_request_at(r, f->value), f->value.len, "close");
        v->keep |= fw_wire_lists(fw_request_at(r, f->value), f->value.len, "keep-alive");
        break;
    case FW_NAME_CONTENT_LENGTH:
        if (!read_length(r, f, &out->length))
            return refuse(&out->refusal, 400, "invalid Content-Length");
        out->has_length = true;
        break;
    case FW_NAME_TRANSFER_ENCODING:
        if (!read_codings(r, f, &v->te))
            return refuse(&out->refusal, 400, "invalid Transfer-Encoding");
        break;
    case FW_NAME_EXPECT:
        if (fw_wire_same(fw_request_at(r, f->value), f->value.len, "100-continue"))
            out->expects = true;
        else
            v->expects_other = true;
        break;
    default: break;
    }
    return FW_PARSE_DONE;
}

static enum fw_parse judge_fields(const fw_request *r, reading *v, fw_fields *out)
{
    for (uint32_t i = 0; i < r->nfields; i++) {
        const fw_field *f = &r->fields[i];
        enum fw_parse p = FW_PARSE_DONE;
        if (f->id == FW_NAME_UNKNOWN) {
            p = judge_unknown(r, f, out);
        } else {
            const uint64_t bit = UINT64_C(1) << f->id;
            if (fw_unlikely((out->names & bit) != 0))
                p = judge_repeat(f, out);
            out->names |= bit;
            if (p == FW_PARSE_DONE)
                p = judge_known(r, f, v, out);
        }
        if (fw_unlikely(p != FW_PARSE_DONE))
            return p;
    }
    return FW_PARSE_DONE;
}

static inline bool has(const fw_fields *f, enum fw_name name)
{
    return (f->names >> name & 1) != 0;
}

static enum fw_parse judge_framing(const fw_request *r, const reading *v, fw_fields *out)
{
    if (!has(out, FW_NAME_TRANSFER_ENCODING)) {
        out->framing = out->length > 0 ? FW_FRAMING_LENGTH : FW_FRAMING_NONE;
        if (r->cfg->limit_body != 0 && out->length > r->cfg->limit_body)
            return refuse(&out->refusal, 413, "the request body is too large");
        return FW_PARSE_DONE;
    }
    if (out->has_length)
        return refuse(&out->refusal, 400, "Transfer-Encoding together with Content-Length");
    if (r->minor == 0)
        return refuse(&out->refusal, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (v->te.chunked != 1 || !v->te.last)
        return refuse(&out->refusal, 400, "invalid Transfer-Encoding");
    if (v->te.other)
        return refuse(&out->refusal, 501, "a transfer coding other than chunked");
    out->framing = FW_FRAMING_CHUNKED;
    return FW_PARSE_DONE;
}

/* One space on either side of the target, and HTTP as the protocol (RFC 9112 3): llhttp lets more spaces pass, and
 * RTSP and ICE. */
static bool well_formed_line(const fw_request *r)
{
    const char *target = fw_request_at(r, r->target);
    return target[-2] != ' ' && memcmp(target + r->target.len, " HTTP/", 6) == 0;
}

enum fw_parse fw_check_line(const fw_request *r, fw_line *line)
{
    const uint8_t major = r->api->get_http_major(&r->parser);
    line->minor = r->api->get_http_minor(&r->parser);
    line->method_id = r->api->get_method(&r->parser);
    line->method.off = r->start;
    line->method.len = r->target.off - r->start - 1;
    const uint32_t len = r->target.off + r->target.len + 9 - r->start; /* " HTTP/1.1" */
    if (len > r->cfg->limit_line)
        return refuse(&line->refusal, 414, "the request line is too long");
    if (major != 1 || line->minor > 1)
        return refuse(&line->refusal, 505, "this server speaks HTTP/1.1 and HTTP/1.0");
    if (!well_formed_line(r))
        return refuse(&line->refusal, 400, MALFORMED_LINE);
    if (line->method_id == FW_METHOD_CONNECT)
        return refuse(&line->refusal, 501, "CONNECT is not implemented");
    if (r->head_len - r->start - len - 2 > r->cfg->limit_header)
        return refuse(&line->refusal, 431, "the header section is too long");
    return fw_check_target(r, line);
}

/* RFC 9110 7.8: whoever sends Upgrade names it in Connection. Seldom, so not of interest to judge_known. */
static FW_NOINLINE bool asks_for_upgrade(const fw_request *r)
{
    for (uint32_t i = 0; i < r->nfields; i++) {
        const fw_field *f = &r->fields[i];
        if (f->id == FW_NAME_CONNECTION && fw_wire_lists(fw_request_at(r, f->value), f->value.len, "upgrade"))
            return r->minor == 1;
    }
    return false;
}

enum fw_parse fw_check_fields(const fw_request *r, fw_fields *out)
{
    reading v = {0};
    const enum fw_parse p = judge_fields(r, &v, out);
    if (fw_unlikely(p != FW_PARSE_DONE))
        return p;
    if (!has(out, FW_NAME_HOST) && r->minor == 1)
        return refuse(&out->refusal, 400, "no Host field");
    out->keep_alive = !v.close && (r->minor == 1 || v.keep);
    if (fw_unlikely(has(out, FW_NAME_UPGRADE)))
        out->upgrade = asks_for_upgrade(r);
    if (r->minor == 0)
        out->expects = false;
    else if (v.expects_other)
        return refuse(&out->refusal, 417, "only 100-continue can be expected");
    return judge_framing(r, &v, out);
}
