/* networks.c - addresses as text, and sets of addresses. */
#include "http/networks.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- sets ------------------------------------------------------------------------------------------------------ */

static bool holds4(const fw_networks *set, uint32_t a)
{
    unsigned from = 0, to = set->n4;
    while (from < to) {
        const unsigned at = (from + to) / 2;
        if (a < set->v4[at].first)
            to = at;
        else if (a > set->v4[at].last)
            from = at + 1;
        else
            return true;
    }
    return false;
}

static bool holds6(const fw_networks *set, const uint8_t *a)
{
    unsigned from = 0, to = set->n6;
    while (from < to) {
        const unsigned at = (from + to) / 2;
        if (memcmp(a, set->v6[at].first, 16) < 0)
            to = at;
        else if (memcmp(a, set->v6[at].last, 16) > 0)
            from = at + 1;
        else
            return true;
    }
    return false;
}

bool fw_networks_hold(const fw_networks *set, const struct sockaddr *a)
{
    if (set->all)
        return true;
    if (a->sa_family == AF_INET)
        return holds4(set, ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
    if (a->sa_family != AF_INET6)
        return false;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(v6))
        return holds6(set, v6->s6_addr);
    uint32_t v4;
    memcpy(&v4, v6->s6_addr + 12, sizeof v4);
    return holds4(set, ntohl(v4));
}

bool fw_address_same(const fw_address *a, const fw_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

int fw_address_port(const char *s, size_t n)
{
    int port = 0;
    if (n == 0 || n > 5)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        port = port * 10 + (s[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

/* Four numbers, none with a zero in front, which some programs take for octal. Returns the bytes read, 0 for none. */
static size_t read4(const char *s, size_t n, uint32_t *to)
{
    uint32_t address = 0;
    size_t i = 0;
    for (int part = 0; part < 4; part++) {
        if (part > 0 && (i == n || s[i++] != '.'))
            return 0;
        uint32_t v, digit;
        if (i == n || (v = (uint32_t)(s[i++] - '0')) > 9)
            return 0;
        for (; i < n && (digit = (uint32_t)(s[i] - '0')) <= 9; i++) {
            if (v == 0 || (v = v * 10 + digit) > 255)
                return 0;
        }
        address = address << 8 | v;
    }
    *to = address;
    return i;
}

static bool read6(const char *s, size_t n, fw_address *to)
{
    char text[INET6_ADDRSTRLEN];
    if (n >= sizeof text)
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    to->v6.sin6_family = AF_INET6;
    return memchr(s, '\0', n) == NULL && inet_pton(AF_INET6, text, &to->v6.sin6_addr) == 1;
}

/* What follows an address: nothing, or a colon and a port. */
static bool read_port(const char *s, size_t n, in_port_t *to)
{
    if (n == 0)
        return true;
    const int port = s[0] == ':' ? fw_address_port(s + 1, n - 1) : -1;
    *to = htons((uint16_t)port);
    return port >= 0;
}

bool fw_address_read(const char *s, size_t n, fw_address *to)
{
    uint32_t v4;
    memset(to, 0, sizeof *to);
    if (n == 0)
        return false;
    if (s[0] == '[') {
        const char *close = memchr(s, ']', n);
        return close != NULL && read6(s + 1, (size_t)(close - s) - 1, to) &&
               read_port(close + 1, n - (size_t)(close - s) - 1, &to->v6.sin6_port);
    }
    const size_t used = read4(s, n, &v4);
    if (used == 0)
        return read6(s, n, to);
    to->v4.sin_family = AF_INET;
    to->v4.sin_addr.s_addr = htonl(v4);
    return read_port(s + used, n - used, &to->v4.sin_port);
}

bool fw_address_reread(fw_known_address *known, const char *s, size_t n, fw_address *to)
{
    if (n != 0 && n == known->len && memcmp(s, known->text, n) == 0) {
        *to = known->address;
        return true;
    }
    if (!fw_address_read(s, n, to))
        return false;
    known->len = 0;
    if (n <= sizeof known->text) {
        memcpy(known->text, s, n);
        known->len = (uint8_t)n;
        known->address = *to;
    }
    return true;
}
