/* wire.c - date, numbers, character classes, refusals. */
#include "http/wire.h"
#include "http/names.h"

#include <stdio.h>
#include <string.h>

/* RFC 9110 5.6.2: "!#$%&'*+-.^_`|~", digits, letters. */
const uint8_t fw_wire_tchar[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0'] = 1,  ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1,
    ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['A'] = 1,  ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
    ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1,  ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1,
    ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1,  ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,
    ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,  ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
    ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1,  ['z'] = 1,
};

/* ---- date ------------------------------------------------------------------------------------------------------ */

static void two_digits(char *to, int v)
{
    to[0] = (char)('0' + v / 10 % 10);
    to[1] = (char)('0' + v % 10);
}

const char *fw_date_line(fw_date *d)
{
    static const char DAYS[] = "SunMonTueWedThuFriSat";
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    if (fw_likely(now == d->second))
        return d->line;
    struct tm t;
    gmtime_r(&now, &t);
    memcpy(d->line, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", FW_DATE_LEN + 1);
    memcpy(d->line + 6, DAYS + 3 * t.tm_wday, 3);
    two_digits(d->line + 11, t.tm_mday);
    memcpy(d->line + 14, MONTHS + 3 * t.tm_mon, 3);
    two_digits(d->line + 18, (t.tm_year + 1900) / 100);
    two_digits(d->line + 20, t.tm_year % 100);
    two_digits(d->line + 23, t.tm_hour);
    two_digits(d->line + 26, t.tm_min);
    two_digits(d->line + 29, t.tm_sec);
    d->second = now;
    return d->line;
}

/* ---- numbers and characters ------------------------------------------------------------------------------------ */

size_t fw_wire_decimal(char *to, uint64_t v)
{
    if (v < 10) {
        to[0] = (char)('0' + v);
        return 1;
    }
    if (v < 100) {
        to[0] = (char)('0' + v / 10);
        to[1] = (char)('0' + v % 10);
        return 2;
    }
    size_t n = 1;
    for (uint64_t rest = v; rest >= 10; rest /= 10)
        n++;
    for (size_t i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + v % 10);
    return n;
}

size_t fw_wire_hex(char *to, uint64_t v)
{
    size_t n = 1;
    for (uint64_t rest = v >> 4; rest != 0; rest >>= 4)
        n++;
    for (size_t i = n; i-- > 0; v >>= 4)
        to[i] = "0123456789abcdef"[v & 15];
    return n;
}

static inline bool value_char(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

bool fw_wire_is_value(const char *s, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, s + i, 8);
        uint64_t low = (w - ones * 0x20) & ~w & high; /* some byte below 0x20 */
        uint64_t del = w ^ (ones * 0x7f);
        del = (del - ones) & ~del & high; /* some byte 0x7f */
        if (fw_unlikely((low | del) != 0))
            for (size_t k = i; k < i + 8; k++)
                if (!value_char((uint8_t)s[k]))
                    return false;
    }
    for (; i < n; i++)
        if (!value_char((uint8_t)s[i]))
            return false;
    return true;
}

bool fw_wire_same(const char *s, size_t n, const char *lower)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        if (c != lower[i] || lower[i] == '\0')
            return false;
    }
    return lower[n] == '\0';
}

bool fw_wire_lists(const char *list, size_t n, const char *lower)
{
    const char *s = list, *end = list + n;
    while (s < end) {
        while (s < end && (*s == ' ' || *s == '\t' || *s == ','))
            s++;
        const char *from = s;
        while (s < end && *s != ',')
            s++;
        const char *to = s;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (fw_wire_same(from, (size_t)(to - from), lower))
            return true;
    }
    return false;
}

enum fw_own fw_wire_own(const char *name, size_t n)
{
    static const uint32_t LENGTHS = 1u << 2 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 10 | 1u << 14 | 1u << 16 |
                                    1u << 17 | 1u << 18 | 1u << 19;
    if (n > 19 || !(LENGTHS >> n & 1))
        return FW_OWN_NONE;
    switch (n) {
    case 2: return fw_name_same(name, "te", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 4: return fw_name_same(name, "date", n) ? FW_OWN_DATE : FW_OWN_NONE;
    case 6: return fw_name_same(name, "server", n) ? FW_OWN_SERVER : FW_OWN_NONE;
    case 7:
        if (fw_name_same(name, "upgrade", n))
            return FW_OWN_UPGRADE;
        return fw_name_same(name, "trailer", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 8: return fw_name_same(name, "trailers", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 10:
        if (fw_name_same(name, "connection", n))
            return FW_OWN_CONNECTION;
        return fw_name_same(name, "keep-alive", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 14: return fw_name_same(name, "content-length", n) ? FW_OWN_CONTENT_LENGTH : FW_OWN_NONE;
    case 16: return fw_name_same(name, "proxy-connection", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 17: return fw_name_same(name, "transfer-encoding", n) ? FW_OWN_HOP : FW_OWN_NONE;
    case 18: return fw_name_same(name, "proxy-authenticate", n) ? FW_OWN_CHALLENGE : FW_OWN_NONE;
    case 19: return fw_name_same(name, "proxy-authorization", n) ? FW_OWN_HOP : FW_OWN_NONE;
    default: return FW_OWN_NONE;
    }
}

enum fw_field_fault fw_wire_field(char *to, const char *name, size_t nn, const char *value, size_t nv,
                                  enum fw_own *own)
{
    if (!fw_wire_is_token(name, nn))
        return FW_FAULT_NAME;
    if (!fw_wire_is_value(value, nv))
        return FW_FAULT_VALUE;
    memcpy(to, name, nn);
    to += nn;
    memcpy(to, ": ", 2);
    memcpy(to + 2, value, nv);
    memcpy(to + 2 + nv, "\r\n", 2);
    *own = fw_wire_own(name, nn);
    return FW_FAULT_NONE;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t fw_wire_unquote(char *to, const char *from, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (from[i] == '%' && n - i > 2) {
            const int high = hex_value(from[i + 1]), low = hex_value(from[i + 2]);
            if (high >= 0 && low >= 0) {
                to[len++] = (char)(high << 4 | low);
                i += 2;
                continue;
            }
        }
        to[len++] = from[i];
    }
    return len;
}

/* ---- refusals -------------------------------------------------------------------------------------------------- */

const char *fw_wire_reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Unknown";
    }
}

size_t fw_wire_refusal(char *to, size_t room, fw_date *date, int status, const char *why, bool head, bool keep)
{
    int n = snprintf(to, room,
                     "HTTP/1.1 %d %s\r\nServer: fastwsgi\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n%s%s\r\n%s%s",
                     status, fw_wire_reason(status), fw_date_line(date), strlen(why) + 1,
                     status == 503 ? "Retry-After: 1\r\n" : "", keep ? "" : "Connection: close\r\n", head ? "" : why, head ? "" : "\n");
    return n < 0 || (size_t)n >= room ? 0 : (size_t)n;
}
