/* test_access_log.c - the texts of a line against what the library would write, and lines that have no room. */
#include "observe/access_log.h"
#include "faults.h"
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE(kind) {.atom = FW_ATOM_##kind}
#define FEED {.atom = FW_ATOM_TEXT, .len = 1, .text = "\n", .head = "\n"}

static char got[1 << 20];

/* What the line of `e` is, without its end. */
static const char *line_of(fw_access_log *a, const fw_entry *e)
{
    fw_access_log_put(a, e);
    const size_t n = fw_batch_len(&a->batch);
    CHECK(n > 0 && n < sizeof got);
    memcpy(got, a->batch.filling, n);
    CHECK(got[n - 1] == '\n');
    got[n - 1] = '\0';
    atomic_store(&a->batch.len, 0);
    return got;
}

static void check_line(fw_access_log *a, const fw_entry *e, const char *expected)
{
    const char *found = line_of(a, e);
    CHECK_BYTES(found, strlen(found), expected);
}

static fw_access_log *access_of(const fw_log_piece *pieces, unsigned n, bool json)
{
    fw_access_log *a;
    faults_clear();
    CHECK_INT(fw_access_log_open(&a, 1, pieces, n, json, (fw_text){NULL, 0}), FW_OK);
    return a;
}

static void times_agree_with_strftime_in_every_zone(void)
{
    static const fw_log_piece PIECES[] = {PIECE(TIME), PIECE(ISO_TIME), FEED};
    static const char *const ZONES[] = {"UTC0", "EST5EDT,M3.2.0,M11.1.0", "IST-5:30", "NST3:30NDT,M3.2.0,M11.1.0"};
    uint32_t seed = 11;
    for (size_t zone = 0; zone < COUNT(ZONES); zone++) {
        setenv("TZ", ZONES[zone], 1);
        tzset();
        fw_access_log *a = access_of(PIECES, COUNT(PIECES), false);
        for (int i = 0; i < 1000; i++) {
            char expected[96], iso[40];
            const time_t when = 1 + (time_t)dice(&seed) * 2;
            struct tm t;
            clock_day(when);
            localtime_r(&when, &t);
            size_t n = strftime(expected, sizeof expected, "[%d/%b/%Y:%H:%M:%S %z]", &t);
            strftime(iso, sizeof iso, "%Y-%m-%dT%H:%M:%S%z", &t);
            snprintf(expected + n, sizeof expected - n, "%.22s:%s", iso, iso + 22);
            const fw_entry e = {0};
            trying("%s", expected);
            check_line(a, &e, expected);
        }
        fw_access_log_close(a);
    }
    clock_reset();
    unsetenv("TZ");
    tzset();
}

static void numbers_and_durations_agree_with_printf(void)
{
    static const fw_log_piece PIECES[] = {PIECE(BYTES), {.atom = FW_ATOM_TEXT, .len = 1, .text = " ", .head = " "},
                                      PIECE(DECIMAL_SECONDS), FEED};
    fw_access_log *a = access_of(PIECES, COUNT(PIECES), false);
    for (uint64_t v = 1; v < UINT64_MAX / 4; v = v * 3 + 1) {
        char expected[96];
        const fw_entry e = {.bytes = v, .us = v};
        snprintf(expected, sizeof expected, "%llu %llu.%06llu", (unsigned long long)v,
                 (unsigned long long)(v / 1000000), (unsigned long long)(v % 1000000));
        check_line(a, &e, expected);
    }
    for (uint64_t v = 0; v < 2000; v++) {
        char expected[96];
        const fw_entry e = {.bytes = v, .us = 0};
        snprintf(expected, sizeof expected, "%u 0.000000", (unsigned)v);
        check_line(a, &e, expected);
    }
    fw_access_log_close(a);
}

static void addresses_agree_with_inet_ntop(void)
{
    static const fw_log_piece PIECES[] = {PIECE(CLIENT), FEED};
    fw_access_log *a = access_of(PIECES, COUNT(PIECES), false);
    uint32_t seed = 7;
    for (int i = 0; i < 3000; i++) {
        char expected[64];
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = dice(&seed) << 1 ^ dice(&seed)};
        const fw_entry e = {.client = (const struct sockaddr *)(const void *)&v4};
        inet_ntop(AF_INET, &v4.sin_addr, expected, sizeof expected);
        check_line(a, &e, expected);
    }
    fw_access_log_close(a);
}

/* What the text should be, byte by byte. */
static void escape(char *to, const uint8_t *s, size_t n, bool json)
{
    for (size_t i = 0; i < n; i++) {
        if (json && (s[i] == '"' || s[i] == '\\'))
            to += sprintf(to, "\\%c", s[i]);
        else if (s[i] < 32 || s[i] > 126 || s[i] == '"' || s[i] == '\\')
            to += sprintf(to, json ? "\\u00%02X" : "\\x%02X", s[i]);
        else
            *to++ = (char)s[i];
    }
    *to = '\0';
}

static void every_byte_is_escaped_wherever_it_stands(void)
{
    static const fw_log_piece PIECES[] = {PIECE(GIVEN), FEED};
    for (int json = 0; json < 2; json++) {
        fw_access_log *a = access_of(PIECES, COUNT(PIECES), json);
        for (size_t length = 1; length < 40; length++)
            for (unsigned c = 0; c < 256; c++)
                for (size_t at = 0; at < length; at += length > 20 ? 3 : 1) {
                    uint8_t text[40];
                    char plain[256], expected[260];
                    memset(text, 'a' + (int)(c & 7), length);
                    text[at] = (uint8_t)c;
                    escape(plain, text, length, json);
                    snprintf(expected, sizeof expected, json ? "\"%s\"" : "%s", plain);
                    const fw_text given = {(const char *)text, length};
                    const fw_entry e = {.given = &given};
                    check_line(a, &e, expected);
                }
        fw_access_log_close(a);
    }
}

static void a_line_without_room_is_lost_whole(void)
{
    static const fw_log_piece PIECES[] = {PIECE(GIVEN), PIECE(GIVEN), PIECE(STATUS), FEED};
    static char text[8192];
    memset(text, 1, sizeof text);
    const fw_text given[] = {{text, sizeof text}, {text, sizeof text}};
    const fw_entry e = {.given = given, .status = 200};
    fw_access_log *a = access_of(PIECES, COUNT(PIECES), false);
    const size_t one = 2 * 4 * sizeof text + 4;
    size_t lines = 0;
    for (int i = 0; i < 10; i++) {
        const size_t before = fw_batch_len(&a->batch);
        fw_access_log_put(a, &e);
        lines += fw_batch_len(&a->batch) != before;
        CHECK_INT(fw_batch_len(&a->batch), lines * one);
    }
    int error;
    CHECK(lines >= 2);
    CHECK_INT(fw_access_log_lost(a, &error), 10 - lines);
    CHECK_INT(error, ENOBUFS);
    CHECK_INT(fw_access_log_lost(a, &error), 0);
    fw_access_log_close(a);
}

static void without_memory_there_is_none(void)
{
    for (unsigned i = 0; i < 3; i++) {
        fw_access_log *a = NULL;
        faults_clear();
        fault_fail(FAULT_MEMORY, i, 1, ENOMEM);
        CHECK_INT(fw_access_log_open(&a, 1, NULL, 0, false, (fw_text){NULL, 0}), -ENOMEM);
        CHECK(a == NULL);
    }
    faults_clear();
    fw_access_log_close(NULL);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(times_agree_with_strftime_in_every_zone),
        T(numbers_and_durations_agree_with_printf),
        T(addresses_agree_with_inet_ntop),
        T(every_byte_is_escaped_wherever_it_stands),
        T(a_line_without_room_is_lost_whole),
        T(without_memory_there_is_none),
    };
    return RUN_TESTS(TESTS);
}
