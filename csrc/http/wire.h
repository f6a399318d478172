/* wire.h - what goes over the wire in a fixed spelling: date, numbers, tokens, field values, refusals. */
#ifndef FW_WIRE_H
#define FW_WIRE_H

#include "fw.h"

#include <time.h>

#define FW_DATE_LEN 37 /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* The Date line, made once a second.  Zeroed memory is valid. */
typedef struct fw_date {
    time_t second;
    char line[FW_DATE_LEN + 1];
} fw_date;

/* The Date field line of this second, FW_DATE_LEN bytes (RFC 9110 5.6.7, IMF-fixdate). */
const char *fw_date_line(fw_date *d);

/* Writes `v` and returns the number of bytes: at most 20, at most 16. */
size_t fw_wire_decimal(char *to, uint64_t v);
size_t fw_wire_hex(char *to, uint64_t v);

extern const uint8_t fw_wire_tchar[256]; /* 1: may stand in a token (RFC 9110 5.6.2) */

static inline bool fw_wire_is_token(const char *s, size_t n)
{
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!fw_wire_tchar[(uint8_t)s[i]])
            return false;
    return true;
}

/* No control character but TAB (RFC 9110 5.5; obs-text is kept). */
bool fw_wire_is_value(const char *s, size_t n);

/* Equal but for ASCII case; `lower` is lower case. */
bool fw_wire_same(const char *s, size_t n, const char *lower);

/* Fields of a response that are not simply the application's to set. */
enum fw_own {
    FW_OWN_NONE,
    FW_OWN_DATE,
    FW_OWN_SERVER,
    FW_OWN_CONTENT_LENGTH,
    FW_OWN_CONNECTION,
    FW_OWN_CHALLENGE, /* Proxy-Authenticate: a 407 must have it (RFC 9110 15.5.8); else as FW_OWN_HOP */
    FW_OWN_UPGRADE,   /* Upgrade: a 426 must have it (RFC 9110 15.5.22); else as FW_OWN_HOP */
    FW_OWN_HOP /* hop-by-hop: the server's business (RFC 9110 7.6.1, PEP 3333 "Other HTTP Features") */
};
enum fw_own fw_wire_own(const char *name, size_t n);

/* What is wrong with a field of a response. */
enum fw_field_fault { FW_FAULT_NONE, FW_FAULT_NAME, FW_FAULT_VALUE };

/* Validates and writes one field line ("name: value" CRLF) to `to`, which has nn + nv + 4 bytes of room.  A field that
 * is the server's business is told in `*own`; what was written may then be ignored. */
enum fw_field_fault fw_wire_field(char *to, const char *name, size_t nn, const char *value, size_t nv,
                                  enum fw_own *own);

/* True if the comma-separated `list` holds `lower`, in any case. */
bool fw_wire_lists(const char *list, size_t n, const char *lower);

/* Percent-decodes once, into at least `n` bytes at `to`; an invalid escape stays as it is.  Returns the length. */
size_t fw_wire_unquote(char *to, const char *from, size_t n);

/* The reason phrase of `status`; "Unknown" for one we never send. */
const char *fw_wire_reason(int status);

#define FW_REFUSAL_MOST 512 /* bytes of a refusal with a reason as we give them */

/* Writes a complete refusal: status line, Date, Content-Type, Content-Length, Connection: close, one line of text that
 * names the reason (left out for a HEAD request).  Returns its length, or 0 if `room` bytes are too few. */
size_t fw_wire_refusal(char *to, size_t room, fw_date *date, int status, const char *why, bool head, bool keep);

#endif
