/* globs.c - patterns of paths. */
#include "http/globs.h"
#include "http/wire.h"

/* The byte at s[*at], percent-decoded, and moves on. */
static unsigned char next(const char *s, size_t n, size_t *at)
{
    char decoded[3];
    const char *from = s + *at;
    if (*from == '%' && n - *at >= 3 && fw_wire_unquote(decoded, from, 3) == 1) {
        *at += 3;
        return (unsigned char)decoded[0];
    }
    ++*at;
    return (unsigned char)*from;
}

/* Where the set that begins with the "[" at p[at] has its "]"; 0: it has none, and is no set. */
static size_t set_end(const char *p, size_t n, size_t at)
{
    size_t i = at + 1;
    i += i < n && p[i] == '!';
    i += i < n && p[i] == ']'; /* as the first it stands for itself */
    while (i < n && p[i] != ']')
        i++;
    return i < n ? i : 0;
}

static bool in_set(const char *p, size_t at, size_t end, unsigned char c)
{
    size_t i = at + 1;
    const bool others = p[i] == '!';
    bool found = false;
    for (i += others; i < end; i++) {
        const unsigned char first = (unsigned char)p[i];
        const bool range = i + 2 < end && p[i + 1] == '-';
        const unsigned char last = range ? (unsigned char)p[i + 2] : first;
        found |= first <= c && c <= last;
        i += range ? 2 : 0;
    }
    return found != others;
}

/* One byte against what is at p[*at], which is no "*"; moves on. */
static bool one_matches(const char *p, size_t n, size_t *at, unsigned char c)
{
    const size_t from = *at;
    const size_t end = p[from] == '[' ? set_end(p, n, from) : 0;
    *at = end != 0 ? end + 1 : from + 1;
    if (end != 0)
        return in_set(p, from, end, c);
    return p[from] == '?' || (unsigned char)p[from] == c;
}

/* When something does not match, the last "*" takes one byte more: to go back to earlier ones would change nothing. */
static bool matches(const fw_glob *g, const char *s, size_t n)
{
    const char *p = g->at;
    size_t in_p = 0, in_s = 0, star = g->len, taken = 0;
    while (in_s < n) {
        if (in_p < g->len && p[in_p] == '*') {
            star = in_p++;
            taken = in_s;
            if (in_p == g->len)
                return true;
            continue;
        }
        if (in_p < g->len && one_matches(p, g->len, &in_p, next(s, n, &in_s)))
            continue;
        if (star == g->len)
            return false;
        next(s, n, &taken);
        in_p = star + 1;
        in_s = taken;
    }
    while (in_p < g->len && p[in_p] == '*')
        in_p++;
    return in_p == g->len;
}

const fw_glob *fw_globs_find(const fw_globs *g, const char *path, size_t n)
{
    for (unsigned i = 0; i < g->n; i++)
        if (n != 0 ? matches(&g->list[i], path, n) : matches(&g->list[i], "/", 1)) /* RFC 9110 4.2.3 */
            return &g->list[i];
    return NULL;
}
