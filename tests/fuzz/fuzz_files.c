/* fuzz_files.c - what a client says of files, of random bytes: paths, ranges, codings, dates.
 *
 * The first byte of an input is the size of a file, the rest is each of them in turn. Whatever comes out keeps the rule of its header: a name leads nowhere
 * but down, a range lies in its file, a time can be written and read again. Nothing reads past the end of the input.
 */
#include "fuzz.h"
#include "http/codings.h"
#include "http/file_path.h"
#include "http/http_date.h"
#include "http/ranges.h"

#define LONGEST 8192

static void check_name(const char *name, size_t n)
{
    MUST(n < FW_FILE_PATH_MOST - 1 && name[n] == '\0' && strlen(name) == n);
    MUST(name[0] != '/' && strstr(name, "//") == NULL && strchr(name, '\\') == NULL);
    for (const char *at = name; *at != '\0'; at++)
        MUST(*at != '.' || (at != name && at[-1] != '/'));
}

static void try_path(const char *bytes, size_t n)
{
    static const char *const PREFIXES[] = {"", "/s", "/static/a"};
    char name[FW_FILE_PATH_MOST];
    for (size_t i = 0; i < COUNT(PREFIXES); i++) {
        const ssize_t taken = fw_file_path_below(bytes, n, PREFIXES[i], strlen(PREFIXES[i]));
        MUST(taken >= -1 && taken <= (ssize_t)n);
        if (taken < 0)
            continue;
        const ssize_t len = fw_file_path_read(name, bytes + taken, n - (size_t)taken);
        MUST(len >= -1);
        if (len >= 0)
            check_name(name, (size_t)len);
    }
}

static void try_ranges(uint64_t size, const char *bytes, size_t n)
{
    fw_ranges r;
    uint64_t sum = 0;
    const enum fw_ranges_verdict v = fw_ranges_read(&r, (fw_slice){bytes, n}, size);
    MUST(v != FW_RANGES_SOME || (r.n >= 1 && r.n <= FW_RANGES_MOST));
    MUST(v != FW_RANGES_UNSATISFIABLE || r.n == 0);
    for (unsigned i = 0; v == FW_RANGES_SOME && i < r.n; i++) {
        MUST(r.list[i].n > 0 && r.list[i].first < size && r.list[i].n <= size - r.list[i].first);
        sum += r.list[i].n;
    }
    MUST(sum <= size);
}

static void try_date(const char *bytes, size_t n)
{
    const int64_t now = INT64_C(1795973400);
    int64_t seconds, again;
    char text[FW_HTTP_DATE_LEN];
    if (!fw_http_date_read(bytes, n, now, &seconds) || seconds < 0)
        return;
    fw_http_date_write(text, seconds);
    MUST(fw_http_date_read(text, sizeof text, now, &again));
    MUST(again == seconds || seconds > INT64_C(253402300799)); /* a leap second at the end of all time */
}

static void try_codings(const char *bytes, size_t n)
{
    fw_config cfg = defaults();
    fw_coding_order order;
    unsigned seen = 0;
    fw_request *r = fw_request_open(parser(), &cfg);
    MUST(r != NULL);
    if (fw_request_parse(r, bytes, n) == FW_PARSE_DONE) {
        fw_codings_read(r, &order);
        MUST(order.n < FW_CODINGS);
        for (unsigned i = 0; i < order.n; i++) {
            MUST(order.list[i] < FW_CODING_IDENTITY && !(seen >> order.list[i] & 1));
            seen |= 1u << order.list[i];
        }
    }
    fw_request_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char HEAD[] = "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: ";
    char head[sizeof HEAD + LONGEST + 4];
    if (size < 1 || size > LONGEST)
        return 0;
    const char *bytes = (const char *)data + 1;
    const size_t n = size - 1;
    try_path(bytes, n);
    try_ranges((uint64_t)data[0] * data[0] * data[0], bytes, n);
    try_date(bytes, n);
    memcpy(head, HEAD, sizeof HEAD - 1);
    memcpy(head + sizeof HEAD - 1, bytes, n);
    memcpy(head + sizeof HEAD - 1 + n, "\r\n\r\n", 4);
    try_codings(head, sizeof HEAD - 1 + n + 4);
    return 0;
}
