/* test_forwarded.c - what trusted proxies say: sets of addresses, and fields of any bytes, never read past their end.
 *
 * What fields mean is in the conformance data and beside a twin in Python; here are the edges of memory.
 */
#include "harness.h"
#include "http/forwarded.h"

#include <arpa/inet.h>

static const fw_range4 V4[] = {{0x0A000000, 0x0AFFFFFF}, {0x7F000001, 0x7F000001}, {0xFFFFFFFF, 0xFFFFFFFF}};
static const fw_range6 V6[] = {
    {{[15] = 1}, {[15] = 1}},
    {{0x20, 1, 0x0d, 0xb8}, {0x20, 1, 0x0d, 0xb8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
};
static const fw_networks SOME = {.v4 = V4, .n4 = COUNT(V4), .v6 = V6, .n6 = COUNT(V6)};

static bool held(const fw_networks *set, const char *text)
{
    fw_address a;
    trying("%s", text);
    CHECK(fw_address_read(text, strlen(text), &a));
    return fw_networks_hold(set, &a.any);
}

static void a_set_holds_what_is_in_its_ranges(void)
{
    static const char *const IN[] = {"10.0.0.0",    "10.255.255.255", "127.0.0.1",          "255.255.255.255", "::1",
                                     "2001:db8::",  "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.1.2.3",
                                     "[::1]:80",    "127.0.0.1:80"};
    static const char *const OUT[] = {"9.255.255.255", "11.0.0.0", "127.0.0.0", "127.0.0.2",  "0.0.0.0",
                                      "255.255.255.254", "::",     "::2",       "2001:db7:ffff::", "2001:db9::",
                                      "::ffff:11.0.0.0", "::10.0.0.1"};
    static const fw_networks NONE = {0}, ALL = {.all = true};
    const struct sockaddr local = {.sa_family = AF_UNIX};
    for (size_t i = 0; i < COUNT(IN); i++)
        CHECK(held(&SOME, IN[i]) && !held(&NONE, IN[i]) && held(&ALL, IN[i]));
    for (size_t i = 0; i < COUNT(OUT); i++)
        CHECK(!held(&SOME, OUT[i]) && held(&ALL, OUT[i]));
    CHECK(!fw_networks_hold(&SOME, &local) && fw_networks_hold(&ALL, &local));
}

static void an_address_is_read_whole_or_not_at_all(void)
{
    static const char *const GOOD[] = {"1.2.3.4", "255.255.255.255:65535", "::", "[::]", "[::1.2.3.4]:0", "1.2.3.4:00001"};
    static const char *const BAD[] = {"",        "1.2.3",     "1.2.3.4.",  "1.2.3.4:",  "1.2.3.4:65536", "1.2.3.4:000080",
                                      "01.2.3.4", "1.2.3.256", "1.2.3.4 ",  "[::1",      "[]",            "[::1]:",
                                      "[::1]80", "[1.2.3.4]", "::1:99999", "::1%lo",    ":",             "1.2.3.4:-1",
                                      "fe80::1%25eth0", "1..2.3", "1.2.3.4:8x", "00.0.0.0"};
    fw_address a;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        trying("%s", GOOD[i]);
        CHECK(fw_address_read(GOOD[i], strlen(GOOD[i]), &a));
    }
    for (size_t i = 0; i < COUNT(BAD); i++) {
        trying("%s", BAD[i]);
        CHECK(!fw_address_read(BAD[i], strlen(BAD[i]), &a));
    }
}

/* ---- fields of any bytes ---------------------------------------------------------------------------------------- */

static const fw_scheme_field SCHEMES[] = {
    {{"x-forwarded-proto", 17, FW_NAME_X_FORWARDED_PROTO}, "https", 5},
    {{"x-forwarded-ssl", 15, FW_NAME_X_FORWARDED_SSL}, "on", 2},
    {{"x-mine", 6, FW_NAME_UNKNOWN}, "yes", 3},
};
static const fw_lower_name NAMES[] = {{"script_name", 11, FW_NAME_UNKNOWN}};

static fw_forwarding everything(void)
{
    fw_forwarding f = {.trusted = SOME,
                       .schemes = SCHEMES,
                       .nschemes = COUNT(SCHEMES),
                       .names = NAMES,
                       .nnames = COUNT(NAMES),
                       .follow = FW_FOLLOW_SCHEME | FW_FOLLOW_ADDRESS | FW_FOLLOW_HOST | FW_FOLLOW_PORT | FW_FOLLOW_PREFIX};
    fw_forwarding_init(&f);
    return f;
}

static bool inside(const fw_request *r, fw_span s)
{
    return s.off <= r->head_len && s.len <= r->head_len - s.off;
}

/* A head in memory that ends where it ends. */
static void read_head(const fw_forwarding *f, const char *head, size_t n, unsigned *accepted)
{
    fw_config cfg = defaults();
    cfg.forwarding = f;
    cfg.forwarded = fw_forwarding_names(f);
    cfg.forwarded_always = fw_forwarding_always(f);
    char *exact = malloc(n);
    CHECK(exact != NULL);
    memcpy(exact, head, n);
    fw_request *r = fw_request_open(parser(), &cfg);
    CHECK(r != NULL);
    if (fw_request_parse(r, exact, n) == FW_PARSE_DONE) {
        const enum fw_parse p = fw_forwarded_read(f, true, r);
        CHECK((p == FW_PARSE_REFUSED) == (r->status != 0));
        *accepted += p == FW_PARSE_DONE;
        CHECK(!(r->follows & FW_FOLLOW_HOST) || inside(r, r->followed.host));
        CHECK(!(r->follows & FW_FOLLOW_PREFIX) || inside(r, r->followed.prefix));
        CHECK(!(r->follows & FW_FOLLOW_MOUNT) || inside(r, r->followed.mount));
        CHECK(!(r->follows & FW_FOLLOW_ADDRESS) || r->followed.client.any.sa_family == AF_INET ||
              r->followed.client.any.sa_family == AF_INET6);
    }
    fw_request_close(r);
    free(exact);
}

static void fields_of_any_bytes_are_no_harm(void)
{
    static const char *const FIELDS[] = {"X-Forwarded-For",  "X-Forwarded-Proto",  "X-Forwarded-Host", "X-Forwarded-Port",
                                         "X-Forwarded-Prefix", "Forwarded",        "Forwarded",        "X-Forwarded-Ssl",
                                         "X-Mine",           "SCRIPT_NAME",        "Script_Name",      "Other_Name"};
    static const char *const WORDS[] = {"1.2.3.4", "10.0.0.1", "127.0.0.1", "[::1]", "[2001:db8::1]:80", "::1", "unknown",
                                        ",",       ",",        ", ",        ";",     "for=",             "proto=https",
                                        "host=a:1", "\"",      "\\",        "=",     "https",            "on",  "/a",
                                        "/",       "//",       "%20",       "8443",  " ",                "\t",  "a.b",
                                        ":",       "yes",      "\xff",      "for=\"10.0.0.1\""};
    const fw_forwarding f = everything();
    uint32_t seed = 11;
    unsigned accepted = 0;
    for (int round = 0; round < 20000; round++) {
        char head[4096];
        size_t n = (size_t)snprintf(head, sizeof head, "GET /x HTTP/1.1\r\nHost: h\r\n");
        for (unsigned k = 1 + dice(&seed) % 3; k > 0; k--) {
            n += (size_t)snprintf(head + n, sizeof head - n, "%s:", FIELDS[dice(&seed) % COUNT(FIELDS)]);
            for (unsigned w = dice(&seed) % 7; w > 0; w--)
                n += (size_t)snprintf(head + n, sizeof head - n, "%s", WORDS[dice(&seed) % COUNT(WORDS)]);
            n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
        }
        n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
        trying("%.*s", (int)n, head);
        read_head(&f, head, n, &accepted);
    }
    CHECK(accepted > 5000 && accepted < 19000);
}

/* A list as long as a field may be takes its length in time, not its square: sanitizers and all. */
static void a_long_list_is_read_once(void)
{
    const fw_forwarding f = everything();
    static const char *const ELEMENTS[] = {"127.0.0.1,", "for=127.0.0.1;proto=http,", ",", "/a,"};
    static const char *const FIELDS[] = {"X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Prefix"};
    static char head[65536];
    unsigned accepted = 0;
    for (size_t i = 0; i < COUNT(FIELDS); i++) {
        size_t n = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (int line = 0; line < 7; line++) {
            n += (size_t)snprintf(head + n, sizeof head - n, "%s: ", FIELDS[i]);
            for (const size_t end = n + 8000; n < end;)
                n += (size_t)snprintf(head + n, sizeof head - n, "%s", ELEMENTS[i]);
            n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
        }
        n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
        for (int again = 0; again < 50; again++)
            read_head(&f, head, n, &accepted);
    }
    CHECK_INT(accepted, 200);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_set_holds_what_is_in_its_ranges),
        T(an_address_is_read_whole_or_not_at_all),
        T(fields_of_any_bytes_are_no_harm),
        T(a_long_list_is_read_once),
    };
    return RUN_TESTS(TESTS);
}
