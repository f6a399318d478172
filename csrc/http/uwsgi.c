/* uwsgi.c - a packet of variables becomes a request.
 *
 * It is gone through twice: the fields of a request lie side by side, and what is said of the client's is known before
 * anything else is judged. Both times cost a little per byte; only for the front's own variables, of which there may be
 * MOST_VARIABLES, each is compared with those before it.
 */
#include "http/uwsgi.h"
#include "http/check.h"
#include "http/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define PREFIX 4            /* modifier1, size, modifier2 */
#define MOST_VARIABLES 256  /* that are no fields, repeated ones too; nginx sends 15, Apache with mod_ssl's about 80 */
#define LONGEST_PROTOCOL 32 /* bytes of SERVER_PROTOCOL */
#define TLS_HANDSHAKE 0x16  /* as in check.c */

static enum fw_parse refuse(fw_request *r, int status, const char *why)
{
    return fw_request_refuse(r, status, why);
}

/* ---- the packet ------------------------------------------------------------------------------------------------ */

static uint32_t number(const char *s)
{
    return (uint32_t)(uint8_t)s[0] | (uint32_t)(uint8_t)s[1] << 8;
}

/* The text at `*at`, with its length before it. False: it would pass the end of the packet. */
static bool read_text(const fw_request *r, uint32_t *at, fw_span *text)
{
    if (r->head_len - *at < 2)
        return false;
    text->len = number(r->base + *at);
    text->off = *at + 2;
    if (r->head_len - text->off < text->len)
        return false;
    *at = text->off + text->len;
    return true;
}

static bool read_variable(const fw_request *r, uint32_t *at, fw_span *name, fw_span *value)
{
    return read_text(r, at, name) && read_text(r, at, value);
}

static bool is(const fw_request *r, fw_span s, const char *text)
{
    return s.len == strlen(text) && memcmp(fw_request_at(r, s), text, s.len) == 0;
}

/* The first byte of a client that does not speak the protocol. */
static enum fw_parse refuse_stranger(fw_request *r, char first)
{
    if (first == TLS_HANDSHAKE)
        return refuse(r, 400, "TLS on an address that speaks the uwsgi protocol");
    if (fw_wire_tchar[(uint8_t)first])
        return refuse(r, 400, "HTTP on an address that speaks the uwsgi protocol");
    return refuse(r, 400, "no WSGI request of the uwsgi protocol: modifier1 is not 0");
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

static fw_field *add(fw_request *r, fw_span name, fw_span value)
{
    const uint32_t n = r->nfields + r->nvariables;
    if (n == r->room && !fw_request_more_fields(r)) {
        refuse(r, 503, "no memory for the header section");
        return NULL;
    }
    fw_field *f = &r->fields[n];
    *f = (fw_field){.name = name, .value = value};
    return f;
}

/* What may follow HTTP_: a token as CGI spells it. A lower-case letter or a hyphen would make a second spelling of a key. */
static bool is_field_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] == '-' || (s[i] >= 'a' && s[i] <= 'z'))
            return false;
    return fw_wire_is_token(s, n);
}

static fw_span trimmed(const fw_request *r, fw_span s)
{
    const char *at = r->base;
    while (s.len > 0 && (at[s.off] == ' ' || at[s.off] == '\t')) {
        s.off++;
        s.len--;
    }
    while (s.len > 0 && (at[s.off + s.len - 1] == ' ' || at[s.off + s.len - 1] == '\t'))
        s.len--;
    return s;
}

static enum fw_parse take_field(fw_request *r, char *base, fw_span name, fw_span value)
{
    if (r->nfields == r->cfg->limit_fields)
        return refuse(r, 431, "too many header fields");
    if ((uint64_t)name.len + value.len + 2 > r->cfg->limit_field_size)
        return refuse(r, 431, "a header field is too long");
    if (!is_field_name(base + name.off, name.len))
        return refuse(r, 400, "invalid name of an HTTP_ variable");
    if (!fw_wire_is_value(base + value.off, value.len))
        return refuse(r, 400, "invalid byte in a variable of the request");
    for (uint32_t i = name.off; i < name.off + name.len; i++)
        if (base[i] == '_')
            base[i] = '-';
    fw_field *f = add(r, name, trimmed(r, value));
    if (f == NULL)
        return FW_PARSE_REFUSED;
    f->id = (uint8_t)fw_name_find(base + name.off, name.len);
    r->nfields++;
    return FW_PARSE_DONE;
}

/* Of the client's own hop to the front: CONTENT_LENGTH and CONTENT_TYPE say what holds for ours, the body comes without a
 * transfer coding, and Proxy is dangerous (httpoxy). */
static bool is_dropped(const fw_request *r, fw_span name)
{
    return is(r, name, "CONTENT_LENGTH") || is(r, name, "CONTENT_TYPE") || is(r, name, "TRANSFER_ENCODING") ||
           is(r, name, "PROXY");
}

/* True if the variable stands for a field, whose name is then `*field`. */
static bool is_field(const fw_request *r, fw_span name, fw_span *field)
{
    *field = name;
    if (name.len >= 5 && memcmp(fw_request_at(r, name), "HTTP_", 5) == 0) {
        field->off += 5;
        field->len -= 5;
        return true;
    }
    return is(r, name, "CONTENT_LENGTH") || is(r, name, "CONTENT_TYPE");
}

static enum fw_parse take_fields(fw_request *r, char *base)
{
    fw_span name, value, field;
    for (uint32_t at = PREFIX; at < r->head_len;) {
        if (!read_variable(r, &at, &name, &value))
            return refuse(r, 400, "a variable passes the end of its packet");
        if (!is_field(r, name, &field))
            continue;
        const bool of_client = field.off != name.off;
        if (of_client ? is_dropped(r, field) : value.len == 0) /* nginx sends CONTENT_LENGTH always, and leaves it empty */
            continue;
        if (!of_client && is(r, field, "CONTENT_LENGTH") && trimmed(r, value).len != value.len) /* digits only */
            return refuse(r, 400, "invalid Content-Length");
        if (take_field(r, base, field, value) != FW_PARSE_DONE)
            return FW_PARSE_REFUSED;
    }
    return FW_PARSE_DONE;
}

/* ---- variables ------------------------------------------------------------------------------------------------- */

typedef struct known_variable {
    const char *name;
    size_t len;
    enum fw_variable id;
    enum fw_variable_rule rule;
} known_variable;

static const known_variable KNOWN[] = {
#define ROW(unused, name, rule) {#name, sizeof(#name) - 1, FW_VARIABLE_##name, FW_RULE_##rule},
    FW_VARIABLES(ROW, 0)
#undef ROW
};

static const known_variable OTHER = {"", 0, FW_VARIABLE_OTHER, FW_RULE_FRONT};

static const known_variable *find(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (KNOWN[i].len == n && memcmp(KNOWN[i].name, s, n) == 0)
            return &KNOWN[i];
    return &OTHER;
}

/* One that an environ may have beside our keys, all of which have a dot. Apache passes notes to itself, such as
 * "downgrade-1.0": they are left out. */
static bool is_variable_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] == '.' || !fw_wire_tchar[(uint8_t)s[i]])
            return false;
    return n > 0;
}

static bool keeps(const char *s, size_t n, enum fw_variable_rule rule)
{
    if (rule == FW_RULE_PATH)
        return true;
    if (rule == FW_RULE_FIELD)
        return fw_wire_is_value(s, n);
    const char *end = s + n, *lf;
    for (; (lf = memchr(s, '\n', (size_t)(end - s))) != NULL; s = lf + 1)
        if (!fw_wire_is_value(s, (size_t)(lf - s)))
            return false;
    return fw_wire_is_value(s, (size_t)(end - s));
}

static bool same(const fw_request *r, fw_span a, fw_span b)
{
    return a.len == b.len && memcmp(fw_request_at(r, a), fw_request_at(r, b), a.len) == 0;
}

static const fw_field *earlier(const fw_request *r, fw_span name)
{
    uint32_t n;
    const fw_field *f = fw_uwsgi_variables(r, &n);
    for (uint32_t i = 0; i < n; i++)
        if (same(r, f[i].name, name))
            return &f[i];
    return NULL;
}

static enum fw_parse take_variable(fw_request *r, fw_span name, fw_span value)
{
    const char *text = fw_request_at(r, name);
    if (!is_variable_name(text, name.len))
        return FW_PARSE_DONE;
    const known_variable *k = find(text, name.len);
    if (!keeps(fw_request_at(r, value), value.len, k->rule))
        return refuse(r, 400, "invalid byte in a variable of the request");
    const fw_field *before = earlier(r, name);
    if (before != NULL)
        return same(r, before->value, value) ? FW_PARSE_DONE
                                             : refuse(r, 400, "a variable is repeated with another value");
    fw_field *f = add(r, name, value);
    if (f == NULL)
        return FW_PARSE_REFUSED;
    f->id = (uint8_t)k->id;
    r->nvariables++;
    return FW_PARSE_DONE;
}

static enum fw_parse take_variables(fw_request *r)
{
    fw_span name, value, field;
    uint32_t n = 0;
    for (uint32_t at = PREFIX; at < r->head_len && read_variable(r, &at, &name, &value);) {
        if (is_field(r, name, &field))
            continue;
        if (n++ == MOST_VARIABLES)
            return refuse(r, 431, "too many variables beside the header fields");
        if (take_variable(r, name, value) != FW_PARSE_DONE)
            return FW_PARSE_REFUSED;
    }
    return FW_PARSE_DONE;
}

static const fw_field *find_variable(const fw_request *r, enum fw_variable id)
{
    uint32_t n;
    const fw_field *f = fw_uwsgi_variables(r, &n);
    for (uint32_t i = 0; i < n; i++)
        if (f[i].id == id)
            return &f[i];
    return NULL;
}

fw_span fw_uwsgi_value(const fw_request *r, enum fw_variable id)
{
    const fw_field *f = find_variable(r, id);
    return f != NULL ? f->value : (fw_span){0, 0};
}

/* ---- judgement ------------------------------------------------------------------------------------------------- */

static int pause(fw_llhttp *h)
{
    (void)h;
    return FW_HPE_PAUSED;
}

/* llhttp knows the methods: it reads this one in a line of our own. */
static bool read_method(const fw_request *r, fw_span method, uint8_t *id)
{
    static const fw_llhttp_settings SETTINGS = {.on_headers_complete = pause};
    fw_llhttp parser;
    r->api->init(&parser, FW_LLHTTP_REQUEST, &SETTINGS);
    if (r->api->execute(&parser, fw_request_at(r, method), method.len) != FW_HPE_OK ||
        r->api->execute(&parser, " / HTTP/1.0\r\n\r\n", 15) != FW_HPE_PAUSED)
        return false;
    *id = r->api->get_method(&parser);
    return true;
}

static enum fw_parse judge_method(fw_request *r)
{
    const fw_span method = fw_uwsgi_value(r, FW_VARIABLE_REQUEST_METHOD);
    if (!fw_wire_is_token(fw_request_at(r, method), method.len))
        return refuse(r, 400, method.len == 0 ? "no REQUEST_METHOD in the packet" : "invalid REQUEST_METHOD");
    r->method = method;
    if (!read_method(r, method, &r->method_id))
        return refuse(r, 501, "unknown method");
    if (r->method_id == FW_METHOD_CONNECT)
        return refuse(r, 501, "CONNECT is not implemented");
    return FW_PARSE_DONE;
}

/* REQUEST_URI is the target as the client has sent it, judged as one; QUERY_STRING is what the front has made of it. */
static enum fw_parse judge_target(fw_request *r)
{
    r->target = fw_uwsgi_value(r, FW_VARIABLE_REQUEST_URI);
    if (r->target.len == 0)
        return refuse(r, 400, "no REQUEST_URI in the packet");
    if (r->method.len + r->target.len + 10 > r->cfg->limit_line) /* " " before it, " HTTP/1.1" behind it */
        return refuse(r, 414, "the request line is too long");
    fw_line v = {.method_id = r->method_id};
    const enum fw_parse p = fw_check_target(r, &v);
    r->path = v.path;
    r->query = v.query;
    r->authority = v.authority;
    r->asterisk = v.asterisk;
    if (p != FW_PARSE_DONE)
        return refuse(r, v.refusal.status, v.refusal.why);
    const fw_field *query = find_variable(r, FW_VARIABLE_QUERY_STRING);
    if (query == NULL)
        return FW_PARSE_DONE;
    if (!fw_check_query(fw_request_at(r, query->value), query->value.len))
        return refuse(r, 400, "invalid byte in QUERY_STRING");
    r->query = query->value;
    return FW_PARSE_DONE;
}

/* Empty, or it begins with a slash. */
static bool is_path(const fw_request *r, fw_span s)
{
    return s.len == 0 || *fw_request_at(r, s) == '/';
}

static bool is_protocol(const fw_request *r, fw_span s)
{
    if (s.len > LONGEST_PROTOCOL)
        return false;
    for (uint32_t i = 0; i < s.len; i++) {
        const char c = r->base[s.off + i];
        if (c != '/' && !fw_wire_tchar[(uint8_t)c])
            return false;
    }
    return true;
}

static bool read_port(const fw_request *r, fw_span s, uint16_t *port)
{
    uint32_t v = 0;
    if (s.len > 5)
        return false;
    for (uint32_t i = 0; i < s.len; i++) {
        const char c = r->base[s.off + i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (uint32_t)(c - '0');
    }
    *port = (uint16_t)v;
    return v <= 65535;
}

static bool is_scheme(const fw_request *r, fw_span s)
{
    const char *at = fw_request_at(r, s);
    return s.len == 0 || fw_wire_same(at, s.len, "http") || fw_wire_same(at, s.len, "https");
}

/* An address, or nothing: nginx says "unix:" of a client of a unix socket. False: neither. */
static bool read_address(const fw_request *r, fw_span s, void *to)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char text[INET6_ADDRSTRLEN];
    const char *zone = memchr(fw_request_at(r, s), '%', s.len); /* of a link-local address: Apache tells it */
    const size_t n = zone != NULL ? (size_t)(zone - fw_request_at(r, s)) : s.len;
    v6.sin6_family = AF_UNSPEC;
    memcpy(to, &v6, sizeof v6);
    if (n == 0 || is(r, s, "unix:"))
        return true;
    if (n >= sizeof text)
        return false;
    memcpy(text, fw_request_at(r, s), n);
    text[n] = '\0';
    v6.sin6_family = AF_INET6;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(to, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(to, &v6, sizeof v6);
    else
        return false;
    return true;
}

static enum fw_parse judge_rest(fw_request *r)
{
    struct sockaddr_in6 address;
    uint16_t port;
    const fw_span path = fw_uwsgi_value(r, FW_VARIABLE_PATH_INFO);
    if (!is_path(r, path) && !(r->asterisk && is(r, path, "*")))
        return refuse(r, 400, "PATH_INFO does not begin with a slash");
    if (!is_path(r, fw_uwsgi_value(r, FW_VARIABLE_SCRIPT_NAME)))
        return refuse(r, 400, "SCRIPT_NAME does not begin with a slash");
    if (!is_protocol(r, fw_uwsgi_value(r, FW_VARIABLE_SERVER_PROTOCOL)))
        return refuse(r, 400, "invalid SERVER_PROTOCOL");
    if (!read_port(r, fw_uwsgi_value(r, FW_VARIABLE_SERVER_PORT), &port))
        return refuse(r, 400, "invalid SERVER_PORT");
    if (!read_port(r, fw_uwsgi_value(r, FW_VARIABLE_REMOTE_PORT), &port))
        return refuse(r, 400, "invalid REMOTE_PORT");
    if (!read_address(r, fw_uwsgi_value(r, FW_VARIABLE_REMOTE_ADDR), &address))
        return refuse(r, 400, "REMOTE_ADDR is not an address");
    if (!is_scheme(r, fw_uwsgi_value(r, FW_VARIABLE_UWSGI_SCHEME)) ||
        !is_scheme(r, fw_uwsgi_value(r, FW_VARIABLE_REQUEST_SCHEME)))
        return refuse(r, 400, "a scheme that is neither http nor https");
    return FW_PARSE_DONE;
}

/* As an HTTP/1.0 request, which they amount to: no Host is needed, nothing is expected, and the response has no chunks. */
static enum fw_parse judge_fields(fw_request *r)
{
    fw_fields v = {0};
    const enum fw_parse p = fw_check_fields(r, &v);
    r->length = v.length;
    r->names = v.names;
    r->framing = v.framing;
    r->has_length = v.has_length;
    r->repeats = v.repeats;
    return p == FW_PARSE_REFUSED ? refuse(r, v.refusal.status, v.refusal.why) : p;
}

static enum fw_parse read_packet(fw_request *r, char *base)
{
    if (take_fields(r, base) != FW_PARSE_DONE || take_variables(r) != FW_PARSE_DONE)
        return FW_PARSE_REFUSED;
    if (judge_method(r) != FW_PARSE_DONE || judge_target(r) != FW_PARSE_DONE || judge_rest(r) != FW_PARSE_DONE)
        return FW_PARSE_REFUSED;
    return judge_fields(r);
}

enum fw_parse fw_uwsgi_parse(fw_request *r, char *base, size_t len)
{
    r->base = base;
    r->uwsgi = true;
    if (len == 0)
        return FW_PARSE_MORE;
    if (base[0] != 0)
        return refuse_stranger(r, base[0]);
    if (len < PREFIX)
        return FW_PARSE_MORE;
    if (base[3] != 0)
        return refuse(r, 400, "no WSGI request of the uwsgi protocol: modifier2 is not 0");
    const uint32_t size = number(base + 1);
    if (size > r->cfg->limit_header)
        return refuse(r, 431, "the packet of variables is too long");
    if (len < PREFIX + size)
        return FW_PARSE_MORE;
    r->head_len = r->fed = PREFIX + size;
    return read_packet(r, base);
}

/* ---- what it says ---------------------------------------------------------------------------------------------- */

bool fw_uwsgi_is_https(const fw_request *r)
{
    const fw_span own = fw_uwsgi_value(r, FW_VARIABLE_UWSGI_SCHEME), https = fw_uwsgi_value(r, FW_VARIABLE_HTTPS),
                  scheme = fw_uwsgi_value(r, FW_VARIABLE_REQUEST_SCHEME);
    if (own.len != 0)
        return own.len == 5;
    if (https.len != 0) {
        const char *s = fw_request_at(r, https);
        return fw_wire_same(s, https.len, "on") || fw_wire_same(s, https.len, "1") || fw_wire_same(s, https.len, "true");
    }
    return scheme.len == 5;
}

bool fw_uwsgi_client(const fw_request *r, void *to)
{
    const fw_span text = fw_uwsgi_value(r, FW_VARIABLE_REMOTE_ADDR);
    uint16_t port = 0;
    if (text.len == 0 || !read_address(r, text, to) || !read_port(r, fw_uwsgi_value(r, FW_VARIABLE_REMOTE_PORT), &port))
        return false;
    _Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "one port for both");
    port = htons(port);
    memcpy((char *)to + offsetof(struct sockaddr_in, sin_port), &port, sizeof port);
    return true;
}
