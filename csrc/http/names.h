/* names.h - the field names we know, each with a number, so that nothing after the parser compares strings.
 *
 * The numbers index the table of environ keys in environ.pxi and select the checks in request.c.
 */
#ifndef FW_NAMES_H
#define FW_NAMES_H

#include "fw.h"

#include <string.h>

/* X(A, identifier, "lower-case name"), sorted by length; A is whatever the user of the list wants to hand through. */
#define FW_NAMES(X, A)                                                                                                 \
    X(A, TE, "te")                                                                                                     \
    X(A, DNT, "dnt")                                                                                                   \
    X(A, VIA, "via")                                                                                                   \
    X(A, HOST, "host")                                                                                                 \
    X(A, DATE, "date")                                                                                                 \
    X(A, FROM, "from")                                                                                                 \
    X(A, ALLOW, "allow")                                                                                               \
    X(A, PROXY, "proxy")                                                                                               \
    X(A, RANGE, "range")                                                                                               \
    X(A, ACCEPT, "accept")                                                                                             \
    X(A, COOKIE, "cookie")                                                                                             \
    X(A, EXPECT, "expect")                                                                                             \
    X(A, ORIGIN, "origin")                                                                                             \
    X(A, PRAGMA, "pragma")                                                                                             \
    X(A, REFERER, "referer")                                                                                           \
    X(A, TRAILER, "trailer")                                                                                           \
    X(A, UPGRADE, "upgrade")                                                                                           \
    X(A, SEC_GPC, "sec-gpc")                                                                                           \
    X(A, IF_MATCH, "if-match")                                                                                         \
    X(A, IF_RANGE, "if-range")                                                                                         \
    X(A, PRIORITY, "priority")                                                                                         \
    X(A, FORWARDED, "forwarded")                                                                                       \
    X(A, SAVE_DATA, "save-data")                                                                                       \
    X(A, SEC_CH_UA, "sec-ch-ua")                                                                                       \
    X(A, X_REAL_IP, "x-real-ip")                                                                                       \
    X(A, CONNECTION, "connection")                                                                                     \
    X(A, KEEP_ALIVE, "keep-alive")                                                                                     \
    X(A, TRACESTATE, "tracestate")                                                                                     \
    X(A, USER_AGENT, "user-agent")                                                                                     \
    X(A, CONTENT_MD5, "content-md5")                                                                                   \
    X(A, TRACEPARENT, "traceparent")                                                                                   \
    X(A, CONTENT_TYPE, "content-type")                                                                                 \
    X(A, MAX_FORWARDS, "max-forwards")                                                                                 \
    X(A, X_CSRF_TOKEN, "x-csrf-token")                                                                                 \
    X(A, X_REQUEST_ID, "x-request-id")                                                                                 \
    X(A, AUTHORIZATION, "authorization")                                                                               \
    X(A, CACHE_CONTROL, "cache-control")                                                                               \
    X(A, IF_NONE_MATCH, "if-none-match")                                                                               \
    X(A, ACCEPT_CHARSET, "accept-charset")                                                                             \
    X(A, CONTENT_LENGTH, "content-length")                                                                             \
    X(A, SEC_FETCH_DEST, "sec-fetch-dest")                                                                             \
    X(A, SEC_FETCH_MODE, "sec-fetch-mode")                                                                             \
    X(A, SEC_FETCH_SITE, "sec-fetch-site")                                                                             \
    X(A, SEC_FETCH_USER, "sec-fetch-user")                                                                             \
    X(A, ACCEPT_ENCODING, "accept-encoding")                                                                           \
    X(A, ACCEPT_LANGUAGE, "accept-language")                                                                           \
    X(A, X_FORWARDED_FOR, "x-forwarded-for")                                                                           \
    X(A, X_FORWARDED_SSL, "x-forwarded-ssl")                                                                           \
    X(A, CONTENT_ENCODING, "content-encoding")                                                                         \
    X(A, SEC_CH_UA_MOBILE, "sec-ch-ua-mobile")                                                                         \
    X(A, X_CORRELATION_ID, "x-correlation-id")                                                                         \
    X(A, X_FORWARDED_HOST, "x-forwarded-host")                                                                         \
    X(A, X_FORWARDED_PORT, "x-forwarded-port")                                                                         \
    X(A, X_REQUESTED_WITH, "x-requested-with")                                                                         \
    X(A, IF_MODIFIED_SINCE, "if-modified-since")                                                                       \
    X(A, TRANSFER_ENCODING, "transfer-encoding")                                                                       \
    X(A, X_FORWARDED_PROTO, "x-forwarded-proto")                                                                       \
    X(A, SEC_CH_UA_PLATFORM, "sec-ch-ua-platform")                                                                     \
    X(A, X_FORWARDED_PREFIX, "x-forwarded-prefix")                                                                     \
    X(A, IF_UNMODIFIED_SINCE, "if-unmodified-since")                                                                   \
    X(A, PROXY_AUTHORIZATION, "proxy-authorization")                                                                   \
    X(A, X_FORWARDED_PROTOCOL, "x-forwarded-protocol")                                                                 \
    X(A, UPGRADE_INSECURE_REQUESTS, "upgrade-insecure-requests")

enum fw_name {
    FW_NAME_UNKNOWN,
#define FW_NAME_ENUM(unused, id, text) FW_NAME_##id,
    FW_NAMES(FW_NAME_ENUM, 0)
#undef FW_NAME_ENUM
    FW_NAME_COUNT
};

_Static_assert(FW_NAME_COUNT <= 64, "a set of names is one 64-bit word");

/* True if the token `s` is `lower`, a lower-case name of letters, digits and hyphens of the same length: setting bit 5
 * makes only letters of either case equal, because no token holds a control character. */
static inline bool fw_name_same(const char *s, const char *lower, size_t n)
{
    const uint64_t bits = UINT64_C(0x2020202020202020);
    uint64_t a, b;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&a, s + i, 8);
        memcpy(&b, lower + i, 8);
        if ((a | bits) != (b | bits))
            return false;
    }
    if (i == n)
        return true;
    if (n >= 8) { /* the last word overlaps */
        memcpy(&a, s + n - 8, 8);
        memcpy(&b, lower + n - 8, 8);
        return (a | bits) == (b | bits);
    }
    for (; i < n; i++)
        if ((s[i] | 0x20) != (lower[i] | 0x20))
            return false;
    return true;
}

/* The number of the name spelled at `s` in any case (`s` is a token of n > 0 bytes), or FW_NAME_UNKNOWN. */
enum fw_name fw_name_find(const char *s, size_t n);

/* The lower-case spelling of a known name; its length in `*n`. */
const char *fw_name_text(enum fw_name name, size_t *n);

#endif
