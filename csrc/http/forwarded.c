/* forwarded.c - what a trusted proxy says of a request. */
#include "http/forwarded.h"
#include "http/check.h"
#include "http/rfc7239.h"
#include "http/wire.h"

#include <string.h>

#define BIT(name) (UINT64_C(1) << FW_NAME_##name)

/* Fields that say where a request came from: with one of these, Forwarded has no say of its own. A prefix is nothing that
 * Forwarded could tell. */
#define OF_X_FORWARDED (BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_HOST) | BIT(X_FORWARDED_PORT))
#define LISTS (OF_X_FORWARDED | BIT(X_FORWARDED_PREFIX))

/* What has been read so far. */
typedef struct telling {
    const fw_forwarding *f;
    fw_request *r;
    unsigned place;  /* of the client in lists, from the right */
    bool placed;     /* ... is known */
    bool told;       /* the scheme is */
    bool secure;
    bool named;      /* the client's address is, in r->followed */
    const fw_field *found[FW_NAME_COUNT]; /* the last field of each name that r->names has; no other entry is set */
} telling;

static bool refuse(fw_request *r, const char *why)
{
    fw_request_refuse(r, 400, why);
    return false;
}

static inline fw_part value_of(const fw_request *r, const fw_field *f)
{
    return (fw_part){fw_request_at(r, f->value), f->value.len};
}

static inline fw_span span_of(const fw_request *r, fw_part p)
{
    return (fw_span){(uint32_t)(p.at - r->base), (uint32_t)p.len};
}

static inline bool follows(const telling *v, unsigned what)
{
    return (v->f->follow & what) != 0;
}

static inline bool has(const fw_request *r, enum fw_name name)
{
    return (r->names >> name & 1) != 0;
}

/* The last field of a name, or NULL. */
static inline const fw_field *last(const telling *v, enum fw_name name)
{
    return has(v->r, name) ? v->found[name] : NULL;
}

static fw_part trim(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (fw_part){at, (size_t)(end - at)};
}

/* ---- lists, from the right ------------------------------------------------------------------------------------- */

/* The elements of all fields of one name, which are one list (RFC 9110 5.3). */
typedef struct list {
    const fw_request *r;
    uint32_t field; /* fields before this one are still to come */
    uint8_t id;
    const char *at, *end; /* what is left of the field at hand */
} list;

static list list_of(const fw_request *r, const fw_field *f)
{
    return (list){.r = r, .field = r->nfields, .id = f->id};
}

/* A field with one element, and the only one of its name: as a rule, so it is not taken apart. */
static bool is_single(const fw_request *r, const fw_field *f)
{
    return !r->repeats && memchr(fw_request_at(r, f->value), ',', f->value.len) == NULL;
}

static const char *last_comma(const char *at, const char *end)
{
    while (end > at && end[-1] != ',')
        end--;
    return end;
}

/* The next element to the left; empty ones are none (RFC 9110 5.6.1.2). */
static bool previous(list *l, fw_part *out)
{
    for (;;) {
        if (l->at == NULL) {
            do {
                if (l->field == 0)
                    return false;
            } while (l->r->fields[--l->field].id != l->id);
            const fw_part p = value_of(l->r, &l->r->fields[l->field]);
            l->at = p.at;
            l->end = p.at + p.len;
        }
        const char *from = last_comma(l->at, l->end);
        *out = trim(from, l->end);
        if (from == l->at)
            l->at = NULL;
        else
            l->end = from - 1;
        if (out->len > 0)
            return true;
    }
}

/* Where the fields are, in one pass. */
static void find_fields(telling *v)
{
    for (const fw_field *f = v->r->fields, *end = f + v->r->nfields; f < end; f++)
        v->found[f->id] = f;
}

/* The client's place: as far to the left as X-Forwarded-For names trusted proxies. An element that is no address ends it:
 * who added it is trusted, and who the client is is not known. */
static void find_client(telling *v)
{
    const fw_field *chain = last(v, FW_NAME_X_FORWARDED_FOR);
    fw_part p;
    v->placed = true;
    if (chain == NULL)
        return;
    p = value_of(v->r, chain);
    /* One address has no comma. The last one that was read is known: a client sends several requests, as a rule. */
    if (fw_likely(!v->r->repeats) && fw_address_reread(&v->r->known, p.at, p.len, &v->r->followed.client)) {
        v->named = true;
        return;
    }
    list l = list_of(v->r, chain);
    for (unsigned place = 0; previous(&l, &p); place++) {
        fw_address a;
        v->place = place;
        if (!fw_address_read(p.at, p.len, &a))
            return;
        v->named = true;
        v->r->followed.client = a;
        if (!fw_networks_hold(&v->f->trusted, &a.any))
            return;
    }
}

/* What the proxy that the client was connected to says in the list `l`; it may be shorter than X-Forwarded-For, because
 * not every proxy adds to each. */
static bool at_client(telling *v, list l, fw_part *out)
{
    fw_part p;
    if (!previous(&l, out))
        return false;
    if (!previous(&l, &p))
        return true;
    if (!v->placed)
        find_client(v);
    for (unsigned place = 1; place <= v->place; place++) {
        *out = p;
        if (!previous(&l, &p))
            break;
    }
    return true;
}

/* The same of all fields with the name of `f`, the last one of them. */
static bool of_client(telling *v, const fw_field *f, fw_part *out)
{
    if (fw_unlikely(!is_single(v->r, f)))
        return at_client(v, list_of(v->r, f), out);
    *out = value_of(v->r, f);
    return out->len > 0;
}

/* ---- X-Forwarded-* --------------------------------------------------------------------------------------------- */

static const fw_scheme_field *scheme_field(const telling *v, const fw_field *f)
{
    for (unsigned i = 0; i < v->f->nschemes; i++) {
        const fw_lower_name *name = &v->f->schemes[i].name;
        if (name->id != f->id)
            continue;
        if (f->id != FW_NAME_UNKNOWN ||
            (f->name.len == name->len && fw_wire_same(fw_request_at(v->r, f->name), f->name.len, name->at)))
            return &v->f->schemes[i];
    }
    return NULL;
}

/* Each field that tells the scheme is to tell the same, as in gunicorn. */
static bool read_scheme(telling *v, const fw_field *f, const fw_scheme_field *s)
{
    fw_part p = value_of(v->r, f);
    bool secure = p.len == s->len && memcmp(p.at, s->value, p.len) == 0;
    if (!secure && memchr(p.at, ',', p.len) != NULL) {
        const list l = {.r = v->r, .at = p.at, .end = p.at + p.len};
        secure = at_client(v, l, &p) && p.len == s->len && memcmp(p.at, s->value, p.len) == 0;
    }
    if (v->told && secure != v->secure)
        return refuse(v->r, "contradictory scheme header fields");
    v->told = true;
    v->secure = secure;
    return true;
}

/* As a rule it is what the Host field says, which has been checked. */
static bool is_own(const telling *v, fw_part p)
{
    const fw_field *own = last(v, FW_NAME_HOST);
    return own != NULL && own->value.len == p.len && memcmp(fw_request_at(v->r, own->value), p.at, p.len) == 0;
}

static bool read_host(telling *v, const fw_field *f)
{
    fw_part p;
    if (!of_client(v, f, &p))
        return true;
    if (!is_own(v, p) && !fw_check_host(p.at, p.len))
        return refuse(v->r, "invalid X-Forwarded-Host");
    v->r->followed.host = span_of(v->r, p);
    v->r->follows |= FW_FOLLOW_HOST;
    return true;
}

static bool read_port(telling *v, const fw_field *f)
{
    fw_part p = value_of(v->r, f);
    int port = fw_likely(!v->r->repeats) ? fw_address_port(p.at, p.len) : -1; /* with a comma it is none */
    if (port < 0) {
        if (!of_client(v, f, &p))
            return true;
        port = fw_address_port(p.at, p.len);
    }
    if (port <= 0)
        return refuse(v->r, "invalid X-Forwarded-Port");
    v->r->followed.port = (uint16_t)port;
    v->r->follows |= FW_FOLLOW_PORT;
    return true;
}

/* A path to stand in front of another one: "//host" would name a host. */
static bool valid_mount(const char *s, size_t n)
{
    return n == 0 || (s[0] == '/' && (n == 1 || s[1] != '/') && fw_check_path(s, n));
}

/* Each proxy adds what it has taken from the front of the path: from the client's place on, all of it counts. */
static bool read_prefix(telling *v, const fw_field *f)
{
    list l = list_of(v->r, f);
    fw_part p, last = {NULL, 0};
    unsigned place = 0;
    uint32_t field = 0; /* that `last` is in */
    while (previous(&l, &p)) {
        if (!valid_mount(p.at, p.len))
            return refuse(v->r, "invalid X-Forwarded-Prefix");
        if (last.at == NULL) {
            last = p;
            field = l.field;
        } else if (l.field != field) {
            return refuse(v->r, "more than one X-Forwarded-Prefix field");
        }
        v->r->followed.prefix = span_of(v->r, (fw_part){p.at, (size_t)(last.at - p.at) + last.len});
        v->r->follows |= FW_FOLLOW_PREFIX;
        if (!v->placed)
            find_client(v);
        if (place++ == v->place)
            break;
    }
    return true;
}

/* ---- Forwarded ------------------------------------------------------------------------------------------------- */

static bool same_host(const fw_request *r, fw_span s, fw_part p)
{
    if (s.len != p.len)
        return false;
    const char *at = fw_request_at(r, s);
    for (size_t i = 0; i < p.len; i++)
        if (at[i] != p.at[i] && ((at[i] ^ p.at[i]) != 0x20 || (at[i] | 0x20) < 'a' || (at[i] | 0x20) > 'z'))
            return false;
    return true;
}

static bool is_secure(const fw_rfc7239 *f)
{
    return fw_wire_same(f->proto.at, f->proto.len, "https");
}

/* X-Forwarded-* has been read, and counts. */
static bool check_forwarded(const telling *v, const fw_rfc7239 *f)
{
    const fw_request *r = v->r;
    const bool scheme = v->told && f->proto.at != NULL && v->secure != is_secure(f);
    const bool address = follows(v, FW_FOLLOW_ADDRESS) && v->named && f->named &&
                         !fw_address_same(&r->followed.client, &f->address);
    const bool host = (r->follows & FW_FOLLOW_HOST) != 0 && f->host.at != NULL &&
                      !same_host(r, r->followed.host, f->host);
    return scheme || address || host ? refuse(v->r, "X-Forwarded and Forwarded fields contradict each other") : true;
}

static int port_in(fw_part host)
{
    const char *s = host.at + host.len;
    while (s > host.at && s[-1] >= '0' && s[-1] <= '9')
        s--;
    return s > host.at && s[-1] == ':' ? fw_address_port(s, (size_t)(host.at + host.len - s)) : -1;
}

static bool follow_forwarded(telling *v, const fw_rfc7239 *f)
{
    fw_request *r = v->r;
    const fw_part host = f->host;
    if (follows(v, FW_FOLLOW_SCHEME) && f->proto.at != NULL) {
        v->told = true;
        v->secure = is_secure(f);
    }
    v->named = f->named;
    r->followed.client = f->address;
    if (host.at == NULL || !follows(v, FW_FOLLOW_HOST | FW_FOLLOW_PORT))
        return true;
    if (!fw_check_host(host.at, host.len))
        return refuse(r, "invalid host in Forwarded");
    if (follows(v, FW_FOLLOW_HOST)) {
        r->followed.host = span_of(r, host);
        r->follows |= FW_FOLLOW_HOST;
    }
    const int port = port_in(host);
    if (follows(v, FW_FOLLOW_PORT) && port > 0) {
        r->followed.port = (uint16_t)port;
        r->follows |= FW_FOLLOW_PORT;
    }
    return true;
}

/* ---- names with an underscore ---------------------------------------------------------------------------------- */

bool fw_forwarding_lists(const fw_forwarding *f, const char *name, size_t n)
{
    if (f->any_name)
        return true;
    for (unsigned i = 0; i < f->nnames; i++)
        if (f->names[i].len == n && fw_wire_same(name, n, f->names[i].at))
            return true;
    return false;
}

static bool read_mount(telling *v, const fw_field *f)
{
    const fw_part p = value_of(v->r, f);
    if (v->r->follows & FW_FOLLOW_MOUNT)
        return refuse(v->r, "more than one SCRIPT_NAME field");
    if (!valid_mount(p.at, p.len))
        return refuse(v->r, "invalid SCRIPT_NAME");
    v->r->followed.mount = f->value;
    v->r->follows |= FW_FOLLOW_MOUNT;
    return true;
}

/* Of a trusted peer the environ shows it; two names may then have the same key. */
static bool show(telling *v, fw_field *f)
{
    f->flags &= (uint8_t)~FW_FIELD_HIDDEN;
    v->r->repeats = true;
    return f->name.len != 11 || !fw_wire_same(fw_request_at(v->r, f->name), 11, "script_name") || read_mount(v, f);
}

static bool read_unknown(telling *v, fw_field *f, bool trusted)
{
    const char *name = fw_request_at(v->r, f->name);
    if (memchr(name, '_', f->name.len) == NULL)
        return true;
    if (trusted && fw_forwarding_lists(v->f, name, f->name.len))
        return show(v, f);
    return v->r->cfg->header_map != FW_MAP_REFUSE ||
           refuse(v->r, "a header field name with an underscore");
}

static bool read_unknown_of_stranger(telling *v)
{
    for (uint32_t i = 0; i < v->r->nfields; i++)
        if (v->r->fields[i].id == FW_NAME_UNKNOWN && !read_unknown(v, &v->r->fields[i], false))
            return false;
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static bool read_schemes(telling *v, bool *any)
{
    const uint64_t there = v->r->names & v->f->scheme_names;
    if (fw_likely((there & (there - 1)) == 0 && (v->f->scheme_names & 1) == 0 && !v->r->repeats)) { /* there is one */
        const fw_field *f = v->found[__builtin_ctzll(there)];
        *any = true;
        return !follows(v, FW_FOLLOW_SCHEME) || read_scheme(v, f, scheme_field(v, f));
    }
    for (uint32_t i = 0; i < v->r->nfields; i++) {
        const fw_field *f = &v->r->fields[i];
        if (!(v->f->scheme_names >> f->id & 1))
            continue;
        const fw_scheme_field *s = scheme_field(v, f);
        if (s == NULL)
            continue;
        *any = true;
        if (follows(v, FW_FOLLOW_SCHEME) && !read_scheme(v, f, s))
            return false;
    }
    return true;
}

static bool read_lists(telling *v)
{
    const fw_field *f;
    if (follows(v, FW_FOLLOW_ADDRESS) && !v->placed)
        find_client(v);
    if (follows(v, FW_FOLLOW_HOST) && (f = last(v, FW_NAME_X_FORWARDED_HOST)) != NULL && !read_host(v, f))
        return false;
    if (follows(v, FW_FOLLOW_PORT) && (f = last(v, FW_NAME_X_FORWARDED_PORT)) != NULL && !read_port(v, f))
        return false;
    return !follows(v, FW_FOLLOW_PREFIX) || (f = last(v, FW_NAME_X_FORWARDED_PREFIX)) == NULL || read_prefix(v, f);
}

static bool read_names(telling *v)
{
    for (uint32_t i = 0; i < v->r->nfields; i++)
        if (v->r->fields[i].id == FW_NAME_UNKNOWN && !read_unknown(v, &v->r->fields[i], true))
            return false;
    return true;
}

static bool read_all(telling *v)
{
    bool any = (v->r->names & OF_X_FORWARDED) != 0;
    find_fields(v);
    if ((v->r->names & v->f->scheme_names) && !read_schemes(v, &any))
        return false;
    if ((v->r->names & LISTS) && (v->f->follow & ~FW_FOLLOW_SCHEME) && !read_lists(v))
        return false;
    if (fw_unlikely(has(v->r, FW_NAME_FORWARDED))) {
        fw_rfc7239 f;
        if (!fw_rfc7239_read(v->r, &v->f->trusted, &f))
            return refuse(v->r, "malformed Forwarded");
        if (f.any && !(any ? check_forwarded(v, &f) : follow_forwarded(v, &f)))
            return false;
    }
    return !(v->r->names & 1) || read_names(v);
}

enum fw_parse fw_forwarded_read(const fw_forwarding *f, bool trusted, fw_request *r)
{
    telling v;
    v.f = f;
    v.r = r;
    v.place = 0;
    v.placed = v.told = v.secure = v.named = false;
    if (!trusted)
        return !(r->names & 1) || read_unknown_of_stranger(&v) ? FW_PARSE_DONE : FW_PARSE_REFUSED;
    const bool accepted = read_all(&v);
    if (v.told) {
        r->followed.secure = v.secure;
        r->follows |= FW_FOLLOW_SCHEME;
    }
    if (v.named && follows(&v, FW_FOLLOW_ADDRESS))
        r->follows |= FW_FOLLOW_ADDRESS;
    return accepted ? FW_PARSE_DONE : FW_PARSE_REFUSED;
}

void fw_forwarding_init(fw_forwarding *f)
{
    f->scheme_names = 0;
    for (unsigned i = 0; i < f->nschemes; i++)
        f->scheme_names |= UINT64_C(1) << f->schemes[i].name.id;
}

uint64_t fw_forwarding_always(const fw_forwarding *f)
{
    return f->scheme_names & 1;
}

uint64_t fw_forwarding_names(const fw_forwarding *f)
{
    return LISTS | BIT(FORWARDED) | f->scheme_names | (f->nnames > 0 || f->any_name);
}
