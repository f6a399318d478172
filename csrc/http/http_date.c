/* http_date.c - times as HTTP spells them. */
#include "http/http_date.h"

#include <string.h>

#define DAY 86400
#define LAST (INT64_C(253402300799)) /* of the year 9999 */

static const char DAYS[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const uint16_t BEFORE[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970 to the first of January of that year. */
static int64_t days_before(int year)
{
    const int64_t y = year - 1;
    return 365 * (int64_t)(year - 1970) + (y / 4 - 492) - (y / 100 - 19) + (y / 400 - 4);
}

static int month_days_before(int month, int year)
{
    return BEFORE[month] + (month > 1 && is_leap(year));
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void digits(char *to, int n, int value)
{
    for (; n-- > 0; value /= 10)
        to[n] = (char)('0' + value % 10);
}

void fw_http_date_write(char *to, int64_t seconds)
{
    const int64_t s = seconds < 0 ? 0 : seconds > LAST ? LAST : seconds, days = s / DAY;
    const int rest = (int)(s % DAY);
    int year = 1970 + (int)(days / 366), month = 0;
    while (days_before(year + 1) <= days)
        year++;
    const int day = (int)(days - days_before(year));
    while (month_days_before(month + 1, year) <= day)
        month++;
    memcpy(to, "Sun, 06 Nov 1994 08:49:37 GMT", FW_HTTP_DATE_LEN);
    memcpy(to, DAYS + 3 * (days % 7), 3);
    digits(to + 5, 2, day - month_days_before(month, year) + 1);
    memcpy(to + 8, MONTHS + 3 * (size_t)month, 3);
    digits(to + 12, 4, year);
    digits(to + 17, 2, rest / 3600);
    digits(to + 20, 2, rest / 60 % 60);
    digits(to + 23, 2, rest % 60);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct moment {
    int year, month, day, hour, minute, second;
} moment;

static bool read_digits(const char *s, int n, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *value = *value * 10 + (s[i] - '0');
    }
    return true;
}

static bool read_month(const char *s, int *month)
{
    for (*month = 0; *month < 12; ++*month)
        if (memcmp(s, MONTHS + 3 * *month, 3) == 0)
            return true;
    return false;
}

static bool is_day(const char *s)
{
    for (int i = 0; i < 7; i++)
        if (memcmp(s, DAYS + 3 * i, 3) == 0)
            return true;
    return false;
}

static bool read_clock(const char *s, moment *m)
{
    return s[2] == ':' && s[5] == ':' && read_digits(s, 2, &m->hour) && read_digits(s + 3, 2, &m->minute) &&
           read_digits(s + 6, 2, &m->second);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool read_fixed(const char *s, size_t n, moment *m)
{
    return n == 29 && is_day(s) && memcmp(s + 3, ", ", 2) == 0 && s[7] == ' ' && s[11] == ' ' && s[16] == ' ' &&
           memcmp(s + 25, " GMT", 4) == 0 && read_digits(s + 5, 2, &m->day) && read_month(s + 8, &m->month) &&
           read_digits(s + 12, 4, &m->year) && read_clock(s + 17, m);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool read_rfc850(const char *s, size_t n, moment *m)
{
    const char *comma = memchr(s, ',', n);
    if (n < 30 || comma == NULL || !is_day(s) || comma - s < 6 || s + n - comma != 24)
        return false;
    const char *d = comma + 2;
    return comma[1] == ' ' && d[2] == '-' && d[6] == '-' && d[9] == ' ' && memcmp(d + 18, " GMT", 4) == 0 &&
           read_digits(d, 2, &m->day) && read_month(d + 3, &m->month) && read_digits(d + 7, 2, &m->year) &&
           read_clock(d + 10, m);
}

/* "Sun Nov  6 08:49:37 1994" */
static bool read_asctime(const char *s, size_t n, moment *m)
{
    if (n != 24 || !is_day(s) || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ')
        return false;
    const bool one = s[8] == ' ';
    return read_month(s + 4, &m->month) && read_digits(s + 8 + one, one ? 1 : 2, &m->day) && read_clock(s + 11, m) &&
           read_digits(s + 20, 4, &m->year);
}

static bool exists(const moment *m)
{
    if (m->year < 1 || m->day < 1 || m->hour > 23 || m->minute > 59 || m->second > 60)
        return false;
    const int days = BEFORE[m->month + 1] - BEFORE[m->month] + (m->month == 1 && is_leap(m->year));
    return m->day <= days;
}

static int64_t seconds_of(const moment *m)
{
    const int64_t days = days_before(m->year) + month_days_before(m->month, m->year) + m->day - 1;
    return days * DAY + m->hour * 3600 + m->minute * 60 + m->second;
}

bool fw_http_date_read(const char *s, size_t n, int64_t now, int64_t *seconds)
{
    moment m;
    bool short_year = false;
    if (n < 24)
        return false;
    if (!read_fixed(s, n, &m) && !read_asctime(s, n, &m)) {
        if (!read_rfc850(s, n, &m))
            return false;
        short_year = true;
        m.year += 1900;
        while (days_before(m.year + 50) * DAY <= now)
            m.year += 100;
    }
    if (!exists(&m))
        return false;
    *seconds = seconds_of(&m);
    if (short_year && *seconds > now + INT64_C(50) * 365 * DAY)
        *seconds = (m.year -= 100, seconds_of(&m));
    return true;
}
