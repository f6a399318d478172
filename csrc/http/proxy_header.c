/* proxy_header.c - the PROXY protocol, versions 1 and 2. */
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

static const char SIGNATURE[12] = "\r\n\r\n\0\r\nQUIT\n"; /* section 2.2 */
static const char LINE[6] = "PROXY ";                      /* section 2.1 */

#define LINE_LONGEST 107 /* with CRLF */
#define FIXED 16         /* bytes of a header of version 2 before the addresses */

/* Section 2.2: command, family and transport, and section 2.2.5: the TLV of a TLS connection. */
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { NOT_TOLD = 0x00, TCP4 = 0x11, TCP6 = 0x21, UNIX_STREAM = 0x31 };
enum { SIZE4 = 12, SIZE6 = 36, SIZE_UNIX = 216 };
enum { TLV_SSL = 0x20, CLIENT_SSL = 1, SSL_FIXED = 5 };

static enum fw_parse refuse(fw_proxy_header *h, const char *why)
{
    h->status = 400;
    h->why = why;
    return FW_PARSE_REFUSED;
}

/* As much of `mark` as there is room for: DONE if that is all of it. */
static enum fw_parse begins(const char *data, size_t n, const char *mark, size_t len)
{
    if (memcmp(data, mark, n < len ? n : len) != 0)
        return FW_PARSE_REFUSED;
    return n < len ? FW_PARSE_MORE : FW_PARSE_DONE;
}

enum fw_parse fw_proxy_header_begins(const char *data, size_t n)
{
    const enum fw_parse line = begins(data, n, LINE, sizeof LINE);
    return line != FW_PARSE_REFUSED ? line : begins(data, n, SIGNATURE, sizeof SIGNATURE);
}

/* ---- version 1 ------------------------------------------------------------------------------------------------- */

static const char MALFORMED_LINE[] = "malformed PROXY line";

/* The next word of a line, up to a space or the end; words are separated by exactly one space. */
static bool word(const char **at, const char *end, const char **from, size_t *n)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    const char *stop = space != NULL ? space : end;
    *from = *at;
    *n = (size_t)(stop - *at);
    *at = space != NULL ? space + 1 : end;
    return *n > 0 && (space == NULL || space + 1 < end);
}

static bool read_address(const char *s, size_t n, int family, fw_address *to)
{
    return fw_address_read(s, n, to) && to->any.sa_family == family && s[0] != '[' &&
           (family == AF_INET ? to->v4.sin_port == 0 && memchr(s, ':', n) == NULL : true);
}

/* No zero in front. */
static int read_port(const char *s, size_t n)
{
    return n > 1 && s[0] == '0' ? -1 : fw_address_port(s, n);
}

static enum fw_parse read_words(const char *at, const char *end, fw_proxy_header *h)
{
    const char *s[5];
    size_t n[5];
    fw_address own;
    if (!word(&at, end, &s[0], &n[0]))
        return refuse(h, MALFORMED_LINE);
    if (n[0] == 7 && memcmp(s[0], "UNKNOWN", 7) == 0)
        return FW_PARSE_DONE; /* what follows says nothing */
    if (n[0] != 4 || memcmp(s[0], "TCP", 3) != 0 || (s[0][3] != '4' && s[0][3] != '6'))
        return refuse(h, "a PROXY line for something other than TCP");
    const int family = s[0][3] == '4' ? AF_INET : AF_INET6;
    for (int i = 1; i < 5; i++)
        if (!word(&at, end, &s[i], &n[i]) || (at == end) != (i == 4))
            return refuse(h, MALFORMED_LINE);
    const int port = read_port(s[3], n[3]);
    if (!read_address(s[1], n[1], family, &h->source) || !read_address(s[2], n[2], family, &own) || port < 0 ||
        read_port(s[4], n[4]) < 0)
        return refuse(h, MALFORMED_LINE);
    if (family == AF_INET)
        h->source.v4.sin_port = htons((uint16_t)port);
    else
        h->source.v6.sin6_port = htons((uint16_t)port);
    h->named = true;
    return FW_PARSE_DONE;
}

static enum fw_parse read_line(const char *data, size_t n, fw_proxy_header *h)
{
    const size_t have = n < LINE_LONGEST ? n : LINE_LONGEST;
    const char *lf = memchr(data, '\n', have);
    if (lf == NULL)
        return have < LINE_LONGEST ? FW_PARSE_MORE : refuse(h, "a PROXY line that does not end");
    if (lf[-1] != '\r')
        return refuse(h, MALFORMED_LINE);
    h->len = (size_t)(lf - data) + 1;
    return read_words(data + sizeof LINE, lf - 1, h);
}

/* ---- version 2 ------------------------------------------------------------------------------------------------- */

static size_t length_at(const uint8_t *s)
{
    return (size_t)s[0] << 8 | s[1];
}

/* What follows the addresses: type, length, value, again and again, and no byte more. */
static enum fw_parse read_tlvs(const uint8_t *s, size_t n, fw_proxy_header *h)
{
    while (n > 0) {
        if (n < 3 || length_at(s + 1) > n - 3)
            return refuse(h, "a PROXY header with a malformed TLV");
        const size_t len = length_at(s + 1);
        if (s[0] == TLV_SSL) {
            if (len < SSL_FIXED)
                return refuse(h, "a PROXY header with a malformed TLV");
            h->tls = (s[3] & CLIENT_SSL) != 0;
        }
        s += 3 + len;
        n -= 3 + len;
    }
    return FW_PARSE_DONE;
}

static size_t read_source(uint8_t what, const uint8_t *s, fw_proxy_header *h)
{
    switch (what) {
    case TCP4:
        h->source.v4.sin_family = AF_INET;
        memcpy(&h->source.v4.sin_addr, s, 4);
        memcpy(&h->source.v4.sin_port, s + 8, 2);
        return SIZE4;
    case TCP6:
        h->source.v6.sin6_family = AF_INET6;
        memcpy(&h->source.v6.sin6_addr, s, 16);
        memcpy(&h->source.v6.sin6_port, s + 32, 2);
        return SIZE6;
    default: h->source.any.sa_family = AF_UNIX; return SIZE_UNIX;
    }
}

static enum fw_parse read_binary(const char *data, size_t n, fw_proxy_header *h)
{
    const uint8_t *s = (const uint8_t *)data;
    if (n > 12 && s[12] >> 4 != 2)
        return refuse(h, "a PROXY header of an unknown version");
    if (n > 12 && s[12] != COMMAND_LOCAL && s[12] != COMMAND_PROXY)
        return refuse(h, "a PROXY header with an unknown command");
    if (n < FIXED)
        return FW_PARSE_MORE;
    const size_t len = length_at(s + 14);
    if (len > FW_PROXY_LONGEST - FIXED)
        return refuse(h, "a PROXY header that is too long");
    const bool told = s[12] == COMMAND_PROXY && s[13] != NOT_TOLD;
    const size_t least = !told ? 0 : s[13] == TCP4 ? SIZE4 : s[13] == TCP6 ? SIZE6 : SIZE_UNIX;
    if (told && s[13] != TCP4 && s[13] != TCP6 && s[13] != UNIX_STREAM)
        return refuse(h, "a PROXY header for something other than a stream");
    if (len < least)
        return refuse(h, "a PROXY header that is too short for its addresses");
    if (n < FIXED + len)
        return FW_PARSE_MORE;
    h->len = FIXED + len;
    if (!told) /* the rest is to be skipped, whatever it is */
        return FW_PARSE_DONE;
    h->named = true;
    const size_t used = read_source(s[13], s + FIXED, h);
    return read_tlvs(s + FIXED + used, len - used, h);
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

enum fw_parse fw_proxy_header_read(const char *data, size_t n, enum fw_proxy_protocol which, fw_proxy_header *h)
{
    memset(h, 0, sizeof *h);
    const enum fw_parse line = begins(data, n, LINE, sizeof LINE);
    const enum fw_parse binary = begins(data, n, SIGNATURE, sizeof SIGNATURE);
    if (line == FW_PARSE_REFUSED && binary == FW_PARSE_REFUSED)
        return refuse(h, "no PROXY header, which proxy_protocol requires from this address");
    if (line == FW_PARSE_MORE || binary == FW_PARSE_MORE)
        return FW_PARSE_MORE;
    if (line == FW_PARSE_DONE)
        return which != FW_PROXY_V2 ? read_line(data, n, h)
                                    : refuse(h, "a PROXY line, but proxy_protocol is v2");
    return which != FW_PROXY_V1 ? read_binary(data, n, h)
                                : refuse(h, "a PROXY header of version 2, but proxy_protocol is v1");
}
