/* budget.c - how long a request is worth answering. */
#include "http/budget.h"
#include "http/rfc7239.h"
#include "http/wire.h"

#include <string.h>

#define LONGEST_US UINT64_C(3600000000) /* before us: who says more has another clock than we */
#define MOST_MS UINT32_MAX

/* A number with digits behind a point, of which six count. */
typedef struct number {
    uint64_t whole;
    uint32_t millionths;
} number;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the number at the front of `p` and moves behind it. False: there is none, or one of more than 19 digits. */
static bool read_number(fw_part *p, number *to)
{
    size_t i = 0;
    *to = (number){0};
    while (i < p->len && is_digit(p->at[i]) && i < 20)
        to->whole = to->whole * 10 + (uint64_t)(p->at[i++] - '0');
    if (i == 0 || i == 20)
        return false;
    if (i + 1 < p->len && p->at[i] == '.' && is_digit(p->at[i + 1])) {
        i++;
        for (uint32_t unit = 100000; i < p->len && is_digit(p->at[i]); unit /= 10)
            to->millionths += unit * (uint32_t)(p->at[i++] - '0');
    }
    p->at += i;
    p->len -= i;
    return true;
}

/* us since 1970; 0: it is no time. The size tells the unit: in seconds it is one of the years 1970 to 5138. */
static uint64_t read_start(fw_part p)
{
    number n;
    if (p.len > 2 && memcmp(p.at, "t=", 2) == 0) {
        p.at += 2;
        p.len -= 2;
    }
    if (!read_number(&p, &n) || p.len != 0)
        return 0;
    if (n.whole < UINT64_C(100000000000))
        return n.whole * 1000000 + n.millionths;
    if (n.whole < UINT64_C(100000000000000))
        return n.whole * 1000 + n.millionths / 1000;
    return n.whole < UINT64_C(100000000000000000) ? n.whole : n.whole / 1000;
}

/* Seconds, or what stands behind the number: "s", "ms". A field whose name ends in "-ms" has milliseconds. 0 says nothing:
 * for most proxies it is no limit. */
static bool read_budget(const fw_budgets *b, fw_part p, uint32_t *ms)
{
    number n;
    const fw_lower_name *f = &b->field;
    bool milli = f->len > 3 && memcmp(f->at + f->len - 3, "-ms", 3) == 0;
    if (!read_number(&p, &n))
        return false;
    if (p.len == 2 && memcmp(p.at, "ms", 2) == 0)
        milli = true;
    else if (p.len == 1 && p.at[0] == 's')
        milli = false;
    else if (p.len != 0)
        return false;
    if (n.whole >= MOST_MS / 1000)
        *ms = milli && n.whole < MOST_MS ? (uint32_t)n.whole : MOST_MS;
    else
        *ms = milli ? (uint32_t)n.whole : (uint32_t)n.whole * 1000 + n.millionths / 1000;
    return *ms != 0;
}

static bool is_named(const fw_request *r, const fw_field *f, const char *name, size_t n)
{
    return f->name.len == n && fw_wire_same(fw_request_at(r, f->name), n, name);
}

static bool tells_start(const fw_request *r, const fw_field *f)
{
    return is_named(r, f, "x-request-start", 15) || is_named(r, f, "x-queue-start", 13);
}

static void take_budget(fw_request *r, uint32_t ms)
{
    if ((r->follows & FW_FOLLOW_BUDGET) && r->followed.budget <= ms)
        return;
    r->followed.budget = ms;
    r->follows |= FW_FOLLOW_BUDGET;
}

static void take_start(fw_request *r, uint64_t start)
{
    if (start == 0 || ((r->follows & FW_FOLLOW_START) && r->followed.start <= start))
        return;
    r->followed.start = start;
    r->follows |= FW_FOLLOW_START;
}

/* A list of starts is what several fields of one name are joined to by a proxy. */
static void take_starts(fw_request *r, fw_part p)
{
    while (p.len != 0) {
        const char *comma = memchr(p.at, ',', p.len);
        const size_t n = comma != NULL ? (size_t)(comma - p.at) : p.len;
        fw_part one = {p.at, n};
        while (one.len != 0 && (one.at[0] == ' ' || one.at[0] == '\t')) {
            one.at++;
            one.len--;
        }
        while (one.len != 0 && (one.at[one.len - 1] == ' ' || one.at[one.len - 1] == '\t'))
            one.len--;
        take_start(r, read_start(one));
        p.at += comma != NULL ? n + 1 : n;
        p.len -= comma != NULL ? n + 1 : n;
    }
}

void fw_budget_read(const fw_budgets *b, fw_request *r)
{
    for (uint32_t i = 0; i < r->nfields; i++) {
        const fw_field *f = &r->fields[i];
        const fw_part value = {fw_request_at(r, f->value), f->value.len};
        uint32_t ms;
        if (f->id == FW_NAME_UNKNOWN && tells_start(r, f))
            take_starts(r, value);
        else if (b->field.len != 0 && f->id == b->field.id &&
                 (f->id != FW_NAME_UNKNOWN || is_named(r, f, b->field.at, b->field.len)) &&
                 read_budget(b, value, &ms))
            take_budget(r, ms);
    }
}

bool fw_budget_left(const fw_budgets *b, const fw_request *r, uint64_t wall, uint32_t *ms)
{
    const bool said = (r->follows & FW_FOLLOW_BUDGET) != 0;
    const uint32_t budget = said ? r->followed.budget : b->ms;
    if (!said && budget == 0)
        return false;
    uint64_t before = 0;
    if ((r->follows & FW_FOLLOW_START) && r->followed.start < wall && wall - r->followed.start <= LONGEST_US)
        before = (wall - r->followed.start) / 1000;
    *ms = before < budget ? budget - (uint32_t)before : 0;
    return true;
}
