/* test_conditions.c - times as HTTP spells them; what is made of conditions is tested over a socket (tests/static). */
#include "harness.h"
#include "http/http_date.h"

#include <time.h>

#define NOW INT64_C(1795973400) /* 2026 */

static void all_days_are_written_as_the_system_writes_them(void)
{
    for (int64_t s = 0; s < INT64_C(13569465600); s += 86400 * 3 + 4567) { /* 2400 */
        char ours[FW_HTTP_DATE_LEN + 1] = "", theirs[64];
        const time_t t = (time_t)s;
        struct tm tm;
        fw_http_date_write(ours, s);
        strftime(theirs, sizeof theirs, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        trying("%lld", (long long)s);
        CHECK(strcmp(ours, theirs) == 0);
        int64_t read = -1;
        CHECK(fw_http_date_read(ours, FW_HTTP_DATE_LEN, NOW, &read));
        CHECK_INT(read, s);
    }
}

static void what_is_out_of_range_is_brought_into_it(void)
{
    char text[FW_HTTP_DATE_LEN];
    fw_http_date_write(text, -5);
    CHECK_BYTES(text, sizeof text, "Thu, 01 Jan 1970 00:00:00 GMT");
    fw_http_date_write(text, INT64_MAX);
    CHECK_BYTES(text, sizeof text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

static const struct {
    const char *text;
    int64_t seconds; /* -1: it is none */
} DATES[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 06 08:49:37 1994", 784111777},
    {"Monday, 06-Nov-25 08:49:37 GMT", 1762418977},
    {"Monday, 06-Nov-76 08:49:37 GMT", 3371878177}, /* less than 50 years from now */
    {"Monday, 31-Dec-76 23:59:59 GMT", 220924799},  /* more: it has been */
    {"Monday, 06-Nov-77 08:49:37 GMT", 247654177},
    {"Wednesday, 09-Nov-94 08:49:37 GMT", 784370977},
    {"Sat, 29 Feb 2020 00:00:00 GMT", 1582934400},
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
    {"Mon, 29 Feb 2021 00:00:00 GMT", -1},
    {"Mon, 29 Feb 1900 00:00:00 GMT", -1},
    {"Sun, 31 Apr 1994 08:49:37 GMT", -1},
    {"Sun, 00 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 Nov 1994 24:49:37 GMT", -1},
    {"Sun, 06 Nov 1994 08:60:37 GMT", -1},
    {"Sun, 06 Nov 1994 08:49:61 GMT", -1},
    {"Sun, 06 nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
    {"Sun, 06 Nov 1994 08:49:37", -1},
    {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
    {"Sun, 06 Nov 1994 8:49:37 GMT", -1},
    {"Sum, 06 Nov 1994 08:49:37 GMT", -1},
    {"Sunday, 06-Nov-1994 08:49:37 GMT", -1},
    {"Sun, 06-Nov-94 08:49:37 GMT", -1},
    {"Sun Nov  6 08:49:37 199", -1},
    {"", -1},
    {"784111777", -1},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1},
    {",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", -1},
};

static void three_forms_are_read(void)
{
    for (size_t i = 0; i < COUNT(DATES); i++) {
        int64_t seconds = -1;
        const size_t n = strlen(DATES[i].text);
        char *exact = malloc(n + 1);
        CHECK(exact != NULL);
        memcpy(exact, DATES[i].text, n);
        trying("%s", DATES[i].text);
        CHECK_INT(fw_http_date_read(exact, n, NOW, &seconds), DATES[i].seconds >= 0);
        CHECK_INT(seconds, DATES[i].seconds);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(all_days_are_written_as_the_system_writes_them),
        T(what_is_out_of_range_is_brought_into_it),
        T(three_forms_are_read),
    };
    return RUN_TESTS(TESTS);
}
