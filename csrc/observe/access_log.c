/* access_log.c - the lines of the access log.
 *
 * It has more than 500 lines because a line is made of many small pieces, and each is a function of its own.
 */
#include "observe/access_log.h"
#include "observe/escape.h"
#include "http/memo.h"
#include "http/uwsgi.h"
#include "http/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONGEST 8192 /* bytes of one text that are told; the rest is left out */
#define LAST_MS 200  /* that the reader has for the last lines */
#define NUMBER 24    /* room for a number and what is around it */

/* A line while it is being made: `to` is NULL once the room was too small. */
typedef struct line {
    char *to, *end;
    bool json;
} line;

static inline bool has_room(line *n, size_t need)
{
    if (fw_likely((size_t)(n->end - n->to) >= need))
        return true;
    n->to = NULL;
    return false;
}

static inline void put(line *n, const char *s, size_t len)
{
    memcpy(n->to, s, len);
    n->to += len;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

static inline void put_nothing(line *n)
{
    if (!has_room(n, 4))
        return;
    if (n->json)
        put(n, "null", 4);
    else
        *n->to++ = '-';
}

/* A `bare` text customarily stands without quotes. */
static inline enum fw_escapes how(const line *n, bool bare)
{
    return n->json ? FW_ESCAPE_JSON : bare ? FW_ESCAPE_WORD : FW_ESCAPE_QUOTED;
}

/* The text, or what stands for a missing one. */
static void put_text(line *n, fw_text t, bool bare)
{
    if (t.at == NULL) {
        put_nothing(n);
        return;
    }
    const size_t len = t.len < LONGEST ? t.len : LONGEST;
    if (!has_room(n, len * FW_ESCAPED + NUMBER))
        return;
    if (n->json)
        *n->to++ = '"';
    n->to = fw_escape(n->to, t.at, len, how(n, bare));
    if (n->json)
        *n->to++ = '"';
}

/* A text of our own making: nothing in it is to be escaped. */
static inline void put_own(line *n, const char *s, size_t len)
{
    if (!has_room(n, len + 2))
        return;
    if (n->json)
        *n->to++ = '"';
    put(n, s, len);
    if (n->json)
        *n->to++ = '"';
}

static inline fw_text at(const fw_request *r, fw_span s)
{
    return (fw_text){fw_request_at(r, s), s.len};
}

static const fw_text NOTHING = {NULL, 0};

/* ---- the request line ------------------------------------------------------------------------------------------- */

/* Word number `i` of a line that was refused. */
static fw_text word_of(fw_text t, unsigned i)
{
    const char *s = t.at, *end = t.at + t.len;
    for (; s != NULL && i > 0; i--)
        s = (s = memchr(s, ' ', (size_t)(end - s))) != NULL ? s + 1 : NULL;
    if (s == NULL || s == end)
        return NOTHING;
    const char *stop = memchr(s, ' ', (size_t)(end - s));
    return (fw_text){s, (size_t)((stop != NULL ? stop : end) - s)};
}

static fw_text method_of(const fw_entry *e)
{
    return e->line.at != NULL ? word_of(e->line, 0) : e->req != NULL ? at(e->req, e->req->method) : NOTHING;
}

/* Of the client, which may speak another one to the front that has sent a packet. */
static fw_text protocol(const fw_request *r)
{
    if (fw_likely(r->minor == 1))
        return (fw_text){"HTTP/1.1", 8};
    const fw_span said = r->uwsgi ? fw_uwsgi_value(r, FW_VARIABLE_SERVER_PROTOCOL) : (fw_span){0, 0};
    return said.len != 0 ? at(r, said) : (fw_text){"HTTP/1.0", 8};
}

static fw_text protocol_of(const fw_entry *e)
{
    if (e->line.at != NULL)
        return word_of(e->line, 2);
    return e->req != NULL ? protocol(e->req) : NOTHING;
}

static fw_text path_of(const fw_entry *e)
{
    if (e->line.at != NULL) {
        fw_text t = word_of(e->line, 1);
        const char *mark = t.at != NULL ? memchr(t.at, '?', t.len) : NULL;
        return mark != NULL ? (fw_text){t.at, (size_t)(mark - t.at)} : t;
    }
    if (e->req == NULL)
        return NOTHING;
    if (e->req->path.len == 0)
        return (fw_text){e->req->asterisk ? "*" : "/", 1};
    return at(e->req, e->req->path);
}

/* Without a query it is empty, or nothing at all for those who can tell the difference. */
static fw_text query_of(const fw_entry *e, bool json)
{
    fw_text t = {"", 0};
    if (e->line.at != NULL) {
        const fw_text target = word_of(e->line, 1);
        const char *mark = target.at != NULL ? memchr(target.at, '?', target.len) : NULL;
        if (mark != NULL)
            t = (fw_text){mark + 1, (size_t)(target.at + target.len - mark - 1)};
    } else if (e->req != NULL) {
        t = at(e->req, e->req->query);
    }
    return t.len != 0 || !json ? t : NOTHING;
}

static void put_line(line *n, const fw_entry *e)
{
    if (e->line.at != NULL || e->req == NULL) {
        put_text(n, e->line, false);
        return;
    }
    const fw_text method = at(e->req, e->req->method), target = at(e->req, e->req->target);
    const size_t len = target.len < LONGEST ? target.len : LONGEST;
    if (!has_room(n, (method.len + len) * FW_ESCAPED + NUMBER))
        return;
    if (n->json)
        *n->to++ = '"';
    put(n, method.at, method.len); /* one that llhttp knows */
    *n->to++ = ' ';
    n->to = fw_escape(n->to, target.at, len, how(n, false));
    if (fw_likely(e->req->minor == 1)) {
        put(n, " HTTP/1.1", 9);
    } else {
        const fw_text last = protocol(e->req);
        const size_t most = last.len < LONGEST ? last.len : LONGEST;
        if (!has_room(n, most * FW_ESCAPED + 2))
            return;
        *n->to++ = ' ';
        n->to = fw_escape(n->to, last.at, most, how(n, false));
    }
    if (n->json)
        *n->to++ = '"';
}

/* The path, decoded in `room` if that is needed. */
static fw_text decoded(fw_text t, char *room)
{
    if (t.at == NULL || memchr(t.at, '%', t.len) == NULL)
        return t;
    return (fw_text){room, fw_wire_unquote(room, t.at, t.len < LONGEST ? t.len : LONGEST)};
}

/* What proxies have taken away from the front of the path: a list, each without a slash at its end. */
static size_t prefix_of(const fw_request *r, char *to)
{
    const fw_text all = at(r, r->followed.prefix);
    const char *s = all.at, *end = all.at + (all.len < LONGEST ? all.len : LONGEST);
    char *begin = to;
    while (s < end) {
        const char *comma = memchr(s, ',', (size_t)(end - s)), *stop = comma != NULL ? comma : end;
        const char *next = stop < end ? stop + 1 : end;
        while (s < stop && (*s == ' ' || *s == '\t'))
            s++;
        while (stop > s && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        while (stop > s && stop[-1] == '/')
            stop--;
        to += fw_wire_unquote(to, s, (size_t)(stop - s));
        s = next;
    }
    return (size_t)(to - begin);
}

static void put_full_path(line *n, const fw_entry *e)
{
    char room[2 * LONGEST];
    if (fw_likely(e->line.at != NULL || e->req == NULL || !(e->req->follows & FW_FOLLOW_PREFIX))) {
        put_text(n, decoded(path_of(e), room), true);
        return;
    }
    const size_t len = prefix_of(e->req, room);
    const fw_text path = decoded(path_of(e), room + len);
    const size_t rest = path.len < LONGEST ? path.len : LONGEST;
    if (path.at != room + len)
        memcpy(room + len, path.at, rest);
    put_text(n, (fw_text){room, len + rest}, true);
}

static void put_path(line *n, const fw_access_log *a, const fw_entry *e)
{
    char room[LONGEST];
    fw_text t = decoded(path_of(e), room);
    const fw_text s = a->script_name;
    if (t.at != NULL && s.len != 0 && t.len >= s.len && memcmp(t.at, s.at, s.len) == 0 &&
        (t.len == s.len || t.at[s.len] == '/')) {
        t.at += s.len;
        t.len -= s.len;
    }
    put_text(n, t, true);
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

/* Of a head that was refused: its fields may not have got their numbers. */
static fw_text refused_field(const fw_request *r, const char *name, size_t len)
{
    for (uint32_t i = r->nfields; i-- > 0;) {
        const fw_field *f = &r->fields[i];
        if (f->name.len == len && fw_wire_same(r->base + f->name.off, len, name))
            return at(r, f->value);
    }
    return NOTHING;
}

/* The last field of that name. A head that was recalled has its fields in the memo. */
static fw_text field_of(const fw_request *r, unsigned id, const char *name, size_t len)
{
    if (r == NULL || r->base == NULL)
        return NOTHING;
    if (fw_unlikely(r->status != 0))
        return refused_field(r, name, len);
    if (r->head_len == 0 || (id != FW_NAME_UNKNOWN && !(r->names >> id & 1)))
        return NOTHING;
    const bool recalled = r->memo_use == FW_MEMO_FULL || r->memo_use == FW_MEMO_BLOCK;
    const fw_field *fields = recalled ? r->memo->fields : r->fields;
    const char *base = recalled ? r->memo->bytes : r->base;
    for (uint32_t i = recalled ? r->memo->nfields : r->nfields; i-- > 0;) {
        const fw_field *f = &fields[i];
        if (f->id == id && !(f->flags & FW_FIELD_HIDDEN) &&
            (id != FW_NAME_UNKNOWN || (f->name.len == len && fw_wire_same(base + f->name.off, len, name))))
            return (fw_text){base + f->value.off, f->value.len};
    }
    return NOTHING;
}

/* What the client has asked: a trusted proxy's word, the target's, or the field's. */
static fw_text host_of(const fw_request *r)
{
    if (r == NULL || r->base == NULL)
        return NOTHING;
    if (fw_unlikely((r->follows & FW_FOLLOW_HOST) != 0 && r->status == 0))
        return at(r, r->followed.host);
    if (fw_unlikely(r->authority.len != 0 && r->status == 0))
        return at(r, r->authority);
    return field_of(r, FW_NAME_HOST, "host", 4);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The user of "Basic BASE64(user:password)", decoded to `room`; nothing if it is not that. */
static fw_text user_of(const fw_request *r, char *room, size_t most)
{
    fw_text t = field_of(r, FW_NAME_AUTHORIZATION, "authorization", 13);
    if (t.at == NULL || t.len < 6 || !fw_wire_same(t.at, 6, "basic "))
        return NOTHING;
    size_t len = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 6; i < t.len && len < most; i++) {
        const int v = base64_value(t.at[i]);
        if (v < 0 && t.at[i] == ' ' && len == 0 && have == 0)
            continue;
        if (v < 0 && t.at[i] == '=')
            break;
        if (v < 0)
            return NOTHING;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        const char c = (char)(bits >> have & 0xff);
        if (c == ':')
            break;
        room[len++] = c;
    }
    return len != 0 ? (fw_text){room, len} : NOTHING;
}

static void put_user(line *n, const fw_entry *e)
{
    char room[256];
    if (fw_likely(e->req == NULL || (e->req->status == 0 && !(e->req->names >> FW_NAME_AUTHORIZATION & 1))))
        put_nothing(n);
    else
        put_text(n, user_of(e->req, room, sizeof room), true);
}

/* ---- who, when, how long --------------------------------------------------------------------------------------- */

/* Writes v, which is below 1000. */
static inline char *small(char *to, unsigned v)
{
    if (v >= 100)
        *to++ = (char)('0' + v / 100);
    if (v >= 10)
        *to++ = (char)('0' + v / 10 % 10);
    *to++ = (char)('0' + v % 10);
    return to;
}

static size_t write_address(char *to, size_t room, const struct sockaddr *client)
{
    if (client->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)client;
        const uint8_t *byte = (const uint8_t *)&v4->sin_addr;
        char *s = to;
        for (int i = 0; i < 4; i++) {
            s = small(s, byte[i]);
            *s++ = '.';
        }
        return (size_t)(s - to) - 1;
    }
    if (client->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)client;
        if (inet_ntop(AF_INET6, &v6->sin6_addr, to, (socklen_t)room) != NULL)
            return strlen(to);
    }
    return 0;
}

static void put_client(line *n, const struct sockaddr *client)
{
    char text[64];
    const size_t len = client != NULL ? write_address(text, sizeof text, client) : 0;
    if (len != 0)
        put_own(n, text, len);
    else
        put_nothing(n);
}

static void digits(char *to, unsigned v, unsigned n)
{
    for (; n-- > 0; v /= 10)
        to[n] = (char)('0' + v % 10);
}

/* The texts of this second, local time. */
static void tell_time(fw_access_log *a)
{
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const time_t now = time(NULL);
    struct tm t;
    if (fw_likely(now == a->second))
        return;
    localtime_r(&now, &t);
    const unsigned year = (unsigned)t.tm_year + 1900, month = (unsigned)t.tm_mon, day = (unsigned)t.tm_mday;
    const unsigned zone = (unsigned)(t.tm_gmtoff < 0 ? -t.tm_gmtoff : t.tm_gmtoff) / 60;
    const char sign = t.tm_gmtoff < 0 ? '-' : '+';
    char *s = a->local;
    memcpy(s, "[06/Nov/1994:08:49:37 +0000]", 29);
    digits(s + 1, day, 2);
    memcpy(s + 4, MONTHS + 3 * month, 3);
    digits(s + 8, year, 4);
    digits(s + 13, (unsigned)t.tm_hour, 2);
    digits(s + 16, (unsigned)t.tm_min, 2);
    digits(s + 19, (unsigned)t.tm_sec, 2);
    s[22] = sign;
    digits(s + 23, zone / 60 * 100 + zone % 60, 4);
    memcpy(a->iso, "1994-11-06T08:49:37+00:00", 26);
    digits(a->iso, year, 4);
    digits(a->iso + 5, month + 1, 2);
    digits(a->iso + 8, day, 2);
    memcpy(a->iso + 11, s + 13, 8);
    a->iso[19] = sign;
    memcpy(a->iso + 20, s + 23, 2);
    memcpy(a->iso + 23, s + 25, 2);
    a->second = now;
}

static void put_number(line *n, uint64_t v)
{
    if (!has_room(n, NUMBER))
        return;
    if (v < 1000)
        n->to = small(n->to, (unsigned)v);
    else
        n->to += fw_wire_decimal(n->to, v);
}

static void put_decimal_seconds(line *n, uint64_t us)
{
    if (!has_room(n, 2 * NUMBER))
        return;
    n->to += fw_wire_decimal(n->to, us / 1000000);
    *n->to++ = '.';
    digits(n->to, (unsigned)(us % 1000000), 6);
    n->to += 6;
}

static void put_part(line *n, uint64_t us)
{
    if (us == FW_NO_TIME)
        put_nothing(n);
    else
        put_decimal_seconds(n, us);
}

/* ---- the line -------------------------------------------------------------------------------------------------- */

static void put_piece(line *n, fw_access_log *a, const fw_log_piece *p, const fw_entry *e, const fw_text **given)
{
    switch ((enum fw_atom)p->atom) {
    case FW_ATOM_TEXT:
        if (!has_room(n, p->len + sizeof p->head))
            return;
        if (fw_likely(p->len <= sizeof p->head)) {
            memcpy(n->to, p->head, sizeof p->head);
            n->to += p->len;
        } else {
            put(n, p->text, p->len);
        }
        return;
    case FW_ATOM_CLIENT: put_client(n, e->client); return;
    case FW_ATOM_USER: put_user(n, e); return;
    case FW_ATOM_TIME: put_own(n, a->local, 28); return;
    case FW_ATOM_ISO_TIME: put_own(n, a->iso, 25); return;
    case FW_ATOM_LINE: put_line(n, e); return;
    case FW_ATOM_METHOD: put_text(n, method_of(e), true); return;
    case FW_ATOM_PATH: put_path(n, a, e); return;
    case FW_ATOM_QUERY: put_text(n, query_of(e, n->json), true); return;
    case FW_ATOM_PROTOCOL: put_text(n, protocol_of(e), true); return;
    case FW_ATOM_STATUS:
        if (e->status != 0)
            put_number(n, (uint64_t)e->status);
        else
            put_nothing(n);
        return;
    case FW_ATOM_REASON: put_text(n, e->reason, false); return;
    case FW_ATOM_BYTES_OR_DASH:
        if (e->status == 0) {
            put_nothing(n);
            return;
        }
        put_number(n, e->bytes);
        return;
    case FW_ATOM_BYTES: put_number(n, e->bytes); return;
    case FW_ATOM_SECONDS: put_number(n, e->us / 1000000); return;
    case FW_ATOM_MILLISECONDS: put_number(n, e->us / 1000); return;
    case FW_ATOM_MICROSECONDS: put_number(n, e->us); return;
    case FW_ATOM_DECIMAL_SECONDS: put_decimal_seconds(n, e->us); return;
    case FW_ATOM_PROCESS: put_own(n, a->process, a->process_len); return;
    case FW_ATOM_PROCESS_NUMBER:
        if (has_room(n, NUMBER))
            put(n, a->process + 1, a->process_len - 2u);
        return;
    case FW_ATOM_QUEUE: put_part(n, e->queue_us); return;
    case FW_ATOM_APPLICATION: put_part(n, e->application_us); return;
    case FW_ATOM_CPU: put_part(n, e->cpu_us); return;
    case FW_ATOM_OFF_CPU: put_part(n, e->cpu_us == FW_NO_TIME ? FW_NO_TIME : e->application_us - e->cpu_us); return;
    case FW_ATOM_LOCK_WAIT: put_part(n, e->lock_us); return;
    case FW_ATOM_SEND: put_part(n, e->send_us); return;
    case FW_ATOM_THREAD:
        if (e->thread >= 0)
            put_number(n, (uint64_t)e->thread);
        else
            put_nothing(n);
        return;
    case FW_ATOM_FULL_PATH: put_full_path(n, e); return;
    case FW_ATOM_HOST: put_text(n, host_of(e->req), true); return;
    case FW_ATOM_ID: put_text(n, e->id, true); return;
    case FW_ATOM_FIELD: put_text(n, field_of(e->req, p->id, p->text, p->len), false); return;
    case FW_ATOM_GIVEN: put_text(n, e->given != NULL ? *(*given)++ : NOTHING, false); return;
    }
}

void fw_access_log_put(fw_access_log *a, const fw_entry *e)
{
    line n = {.json = a->json};
    const fw_text *given = e->given;
    n.to = fw_batch_begin(&a->batch, &n.end);
    tell_time(a);
    for (unsigned i = 0; i < a->npieces && n.to != NULL; i++)
        put_piece(&n, a, &a->pieces[i], e, &given);
    fw_batch_end(&a->batch, n.to);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

int fw_access_log_open(fw_access_log **out, int fd, const fw_log_piece *pieces, unsigned npieces, bool json,
                       fw_text script_name)
{
    fw_access_log *a = calloc(1, sizeof *a);
    if (a == NULL)
        return -ENOMEM;
    const int rc = fw_batch_init(&a->batch, fd);
    if (rc != FW_OK) {
        free(a);
        return rc;
    }
    a->pieces = pieces;
    a->npieces = npieces;
    a->json = json;
    a->script_name = script_name;
    a->process[0] = '<';
    a->process_len = (uint8_t)(1 + fw_wire_decimal(a->process + 1, (uint64_t)getpid()));
    a->process[a->process_len++] = '>';
    *out = a;
    return FW_OK;
}

void fw_access_log_close(fw_access_log *a)
{
    if (a == NULL)
        return;
    fw_batch_clear(&a->batch);
    free(a);
}

void fw_access_log_finish(fw_access_log *a)
{
    fw_batch_finish(&a->batch, LAST_MS);
}

unsigned long long fw_access_log_lost(fw_access_log *a, int *error)
{
    *error = atomic_load(&a->batch.error);
    return atomic_exchange(&a->batch.lost, 0);
}
