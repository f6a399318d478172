/* test_wire.c - the fixed spellings: date, numbers, tokens, values, refusals. */
#include "faults.h"
#include "harness.h"
#include "http/wire.h"

#include <ctype.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- date ------------------------------------------------------------------------------------------------------ */

static void the_date_line_agrees_with_strftime(void)
{
    uint32_t seed = 3;
    fw_date d = {0};
    for (int i = 0; i < 3000; i++) {
        const int64_t second = 1 + (int64_t)dice(&seed) * 2; /* to the year 2242 */
        char expected[64];
        struct tm t;
        time_t when = (time_t)second;
        clock_day(second);
        gmtime_r(&when, &t);
        strftime(expected, sizeof expected, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &t);
        CHECK_INT(strlen(expected), FW_DATE_LEN);
        CHECK_BYTES(fw_date_line(&d), FW_DATE_LEN, expected);
    }
}

static void the_date_line_is_made_once_a_second(void)
{
    fw_date d = {0};
    clock_day(784111777);
    CHECK_BYTES(fw_date_line(&d), FW_DATE_LEN, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    d.line[6] = '!';
    CHECK(fw_date_line(&d)[6] == '!');
    clock_day(784111778);
    CHECK_BYTES(fw_date_line(&d), FW_DATE_LEN, "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static void check_number(uint64_t v)
{
    char expected[32], found[32];
    snprintf(expected, sizeof expected, "%" PRIu64, v);
    CHECK_BYTES(found, fw_wire_decimal(found, v), expected);
    snprintf(expected, sizeof expected, "%" PRIx64, v);
    CHECK_BYTES(found, fw_wire_hex(found, v), expected);
}

static void numbers_agree_with_printf(void)
{
    uint32_t seed = 5;
    for (uint64_t v = 1; v != 0; v <<= 1) {
        check_number(v - 1);
        check_number(v);
        check_number(v + 1);
    }
    for (uint64_t v = 1, i = 0; i < 19; v *= 10, i++) {
        check_number(v - 1);
        check_number(v);
    }
    check_number(UINT64_MAX);
    for (int i = 0; i < 2000; i++)
        check_number((uint64_t)dice(&seed) << 32 >> dice(&seed) % 60 | dice(&seed) % 7);
}

/* ---- characters ------------------------------------------------------------------------------------------------ */

static void tokens_are_what_rfc_9110_lists(void)
{
    for (int c = 0; c < 256; c++) {
        const bool wanted = (c < 128 && isalnum(c)) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        CHECK_INT(fw_wire_tchar[c], wanted);
        const char s[3] = {'a', (char)c, 'z'};
        CHECK_INT(fw_wire_is_token(s, 3), wanted);
    }
    CHECK(!fw_wire_is_token("", 0));
}

static void a_value_holds_no_control_character_anywhere(void)
{
    char exact[40];
    for (size_t n = 0; n <= sizeof exact; n++) {
        char *s = malloc(n + 1);
        CHECK(s != NULL);
        memset(s, 'v', n);
        CHECK(fw_wire_is_value(s, n));
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                s[at] = (char)c;
                CHECK_INT(fw_wire_is_value(s, n), c == '\t' || (c >= 32 && c != 127));
            }
            s[at] = at % 2 == 0 ? '\xff' : '\x80'; /* neighbours that could disturb a word-wise test */
        }
        free(s);
    }
}

static void names_compare_without_case(void)
{
    CHECK(fw_wire_same("Keep-Alive", 10, "keep-alive"));
    CHECK(!fw_wire_same("Keep-Aliv", 9, "keep-alive"));
    CHECK(!fw_wire_same("Keep-Alive2", 11, "keep-alive"));
    CHECK(!fw_wire_same("keep\0alive", 10, "keep"));
    CHECK(!fw_wire_same("keep", 4, "Keep"));
    CHECK(!fw_wire_same("[", 1, "{"));
    CHECK(fw_wire_same("", 0, ""));
}

static void lists_are_searched_item_by_item(void)
{
    static const struct {
        const char *list;
        bool found;
    } CASES[] = {
        {"close", true},          {"Close", true},        {" close ", true},      {"keep-alive, close", true},
        {"keep-alive,close", true}, {",, close\t,", true}, {"x, CLOSE, y", true}, {"", false},
        {",", false},             {"closed", false},      {"clos e", false},      {"x-close", false},
        {"close;x", false},       {"\"close\"", false},   {"keep-alive", false},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        trying("%s", CASES[i].list);
        CHECK_INT(fw_wire_lists(CASES[i].list, strlen(CASES[i].list), "close"), CASES[i].found);
    }
}

static void the_servers_own_fields_are_known_in_any_case(void)
{
    static const struct {
        const char *name;
        enum fw_own own;
    } OWN[] = {
        {"te", FW_OWN_HOP},
        {"date", FW_OWN_DATE},
        {"server", FW_OWN_SERVER},
        {"trailer", FW_OWN_HOP},
        {"trailers", FW_OWN_HOP},
        {"upgrade", FW_OWN_UPGRADE},
        {"connection", FW_OWN_CONNECTION},
        {"keep-alive", FW_OWN_HOP},
        {"content-length", FW_OWN_CONTENT_LENGTH},
        {"proxy-connection", FW_OWN_HOP},
        {"transfer-encoding", FW_OWN_HOP},
        {"proxy-authenticate", FW_OWN_CHALLENGE},
        {"proxy-authorization", FW_OWN_HOP},
        {"content-type", FW_OWN_NONE},
        {"x", FW_OWN_NONE},
        {"", FW_OWN_NONE},
    };
    for (size_t i = 0; i < COUNT(OWN); i++) {
        const size_t n = strlen(OWN[i].name);
        char upper[32];
        for (size_t k = 0; k < n; k++)
            upper[k] = (char)toupper((unsigned char)OWN[i].name[k]);
        trying("%s", OWN[i].name);
        CHECK_INT(fw_wire_own(OWN[i].name, n), OWN[i].own);
        CHECK_INT(fw_wire_own(upper, n), OWN[i].own);
        if (n > 1) {
            upper[n - 1] ^= 1;
            CHECK_INT(fw_wire_own(upper, n), FW_OWN_NONE);
        }
    }
    char stranger[300];
    memset(stranger, 's', sizeof stranger);
    for (size_t n = 0; n < sizeof stranger; n++)
        CHECK_INT(fw_wire_own(stranger, n), FW_OWN_NONE);
}

static void percent_escapes_are_decoded_once(void)
{
    static const struct {
        const char *from, *to;
    } CASES[] = {
        {"", ""},         {"/a", "/a"},         {"%2F", "/"},       {"%2f%2F", "//"},   {"%41%62c", "Abc"},
        {"%", "%"},       {"%4", "%4"},         {"%4g", "%4g"},     {"%g4", "%g4"},     {"%%41", "%A"},
        {"%2541", "%41"}, {"a+b", "a+b"},       {"%c3%a9", "\xc3\xa9"}, {"%zz%41", "%zzA"}, {"%4%41", "%4A"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        const size_t n = strlen(CASES[i].from);
        char *from = malloc(n + 1), *to = malloc(n + 1); /* of the exact size plus one for malloc(0) */
        CHECK(from != NULL && to != NULL);
        memcpy(from, CASES[i].from, n);
        trying("%s", CASES[i].from);
        CHECK_BYTES(to, fw_wire_unquote(to, from, n), CASES[i].to);
        free(from);
        free(to);
    }
    char nul[1];
    CHECK_INT(fw_wire_unquote(nul, "%00", 3), 1);
    CHECK_INT(nul[0], 0);
}

static void every_pair_of_hex_digits_is_its_byte(void)
{
    for (int byte = 0; byte < 256; byte++) {
        for (int style = 0; style < 2; style++) {
            char escape[8], found[8];
            snprintf(escape, sizeof escape, style ? "%%%02x" : "%%%02X", (unsigned)byte);
            CHECK_INT(fw_wire_unquote(found, escape, 3), 1);
            CHECK_INT((unsigned char)found[0], byte);
        }
    }
}

/* ---- refusals -------------------------------------------------------------------------------------------------- */

static size_t refusal(int status, const char *why, bool head, char *to, size_t room)
{
    fw_date date = {0};
    return fw_wire_refusal(to, room, &date, status, why, head, false);
}

static void a_refusal_is_a_complete_response(void)
{
    char got[1024];
    clock_day(784111777);
    CHECK_BYTES(got, refusal(400, "no Host field", false, got, sizeof got),
                "HTTP/1.1 400 Bad Request\r\nServer: fastwsgi\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\nConnection: close\r\n\r\n"
                "no Host field\n");
    CHECK_BYTES(got, refusal(503, "full", true, got, sizeof got),
                "HTTP/1.1 503 Service Unavailable\r\nServer: fastwsgi\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\nRetry-After: 1\r\n"
                "Connection: close\r\n\r\n");
}

static void every_status_that_we_send_has_its_reason(void)
{
    static const int STATUS[] = {400, 403, 408, 413, 414, 417, 431, 500, 501, 503, 505, 507};
    for (size_t i = 0; i < COUNT(STATUS); i++)
        CHECK(strcmp(fw_wire_reason(STATUS[i]), "Unknown") != 0);
    CHECK(strcmp(fw_wire_reason(299), "Unknown") == 0);
}

static void a_refusal_fits_whole_or_not_at_all(void)
{
    char got[FW_REFUSAL_MOST], endless[600];
    const size_t n = refusal(400, "why", false, got, sizeof got);
    CHECK_INT(refusal(400, "why", false, got, n), 0); /* no room for the zero behind it */
    CHECK_INT(refusal(400, "why", false, got, n + 1), n);
    memset(endless, 'w', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    CHECK_INT(refusal(400, endless, false, got, sizeof got), 0);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(the_date_line_agrees_with_strftime),
        T(the_date_line_is_made_once_a_second),
        T(numbers_agree_with_printf),
        T(tokens_are_what_rfc_9110_lists),
        T(a_value_holds_no_control_character_anywhere),
        T(names_compare_without_case),
        T(lists_are_searched_item_by_item),
        T(the_servers_own_fields_are_known_in_any_case),
        T(percent_escapes_are_decoded_once),
        T(every_pair_of_hex_digits_is_its_byte),
        T(a_refusal_is_a_complete_response),
        T(every_status_that_we_send_has_its_reason),
        T(a_refusal_fits_whole_or_not_at_all),
    };
    return RUN_TESTS(TESTS);
}
