/* rfc7239.c - the field Forwarded (RFC 7239). */
#include "http/rfc7239.h"
#include "http/wire.h"

#include <string.h>

/* One element: what one proxy says. */
typedef struct element {
    fw_part node, host, proto; /* `at` is NULL if it does not say that; without quotes */
} element;

/* Addresses with a port should be quoted, and often are not. */
static bool may_stand_bare(char c)
{
    return fw_wire_tchar[(uint8_t)c] || c == ':' || c == '[' || c == ']';
}

/* token / quoted-string. One with a backslash is kept as it is: it is no value that we know. */
static bool read_value(const char **at, const char *end, fw_part *out)
{
    const char *s = *at;
    if (s < end && *s == '"') {
        const char *from = ++s;
        for (; s < end && *s != '"'; s++)
            if (*s == '\\' && ++s == end)
                return false;
        if (s == end)
            return false;
        *out = (fw_part){from, (size_t)(s - from)};
        *at = s + 1;
        return true;
    }
    while (s < end && may_stand_bare(*s))
        s++;
    *out = (fw_part){*at, (size_t)(s - *at)};
    *at = s;
    return out->len > 0;
}

static fw_part *parameter(element *e, const char *name, size_t n)
{
    switch (n) {
    case 3: return fw_wire_same(name, n, "for") ? &e->node : NULL;
    case 4: return fw_wire_same(name, n, "host") ? &e->host : NULL;
    case 5: return fw_wire_same(name, n, "proto") ? &e->proto : NULL;
    default: return NULL;
    }
}

static const char *skip_space(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    return s;
}

/* [ pair ] *( ";" [ pair ] ), up to a comma or the end. */
static bool read_element(const char **at, const char *end, element *e)
{
    const char *s = *at;
    *e = (element){0};
    for (;;) {
        const char *name = s = skip_space(s, end);
        while (s < end && fw_wire_tchar[(uint8_t)*s])
            s++;
        if (s > name) {
            fw_part *to = parameter(e, name, (size_t)(s - name)), value;
            if (s == end || *s++ != '=' || !read_value(&s, end, &value) || (to != NULL && to->at != NULL))
                return false;
            if (to != NULL)
                *to = value;
            s = skip_space(s, end);
        }
        if (s == end || *s == ',')
            break;
        if (*s++ != ';')
            return false;
    }
    *at = s;
    return true;
}

/* From the left, because only there quotes can be told apart: the client's is the last element that does not name a trusted
 * proxy, or the first of all. Where it names no address, the element behind it tells who was last known. */
static void take_element(const fw_networks *trusted, const element *e, fw_rfc7239 *to)
{
    fw_address a;
    const bool known = e->node.at != NULL && fw_address_read(e->node.at, e->node.len, &a);
    const bool proxy = known && fw_networks_hold(trusted, &a.any);
    if (!to->any || !proxy) {
        to->host = e->host;
        to->proto = e->proto;
        to->named = known;
        if (known)
            to->address = a;
    } else if (!to->named) {
        to->named = true;
        to->address = a;
    }
    to->any = true;
}

/* An open quote of the client's would hide what the proxies have added behind it: so a malformed field is an error. */
static bool read_field(const char *at, const char *end, const fw_networks *trusted, fw_rfc7239 *to)
{
    while (at < end) {
        element e;
        if (!read_element(&at, end, &e))
            return false;
        if (e.node.at != NULL || e.host.at != NULL || e.proto.at != NULL)
            take_element(trusted, &e, to);
        if (at < end) /* a comma */
            at++;
    }
    return true;
}

bool fw_rfc7239_read(const fw_request *r, const fw_networks *trusted, fw_rfc7239 *to)
{
    memset(to, 0, sizeof *to);
    for (uint32_t i = 0; i < r->nfields; i++) {
        const fw_field *f = &r->fields[i];
        const char *at = fw_request_at(r, f->value);
        if (f->id == FW_NAME_FORWARDED && !read_field(at, at + f->value.len, trusted, to))
            return false;
    }
    return true;
}
