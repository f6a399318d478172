/* networks.h - addresses as text, and sets of addresses: which peers a setting names.
 *
 * A set is two sorted lists of ranges that do not touch each other, so that a look-up takes as many steps as its length
 * has binary digits. IPv4 addresses that IPv6 sockets show (::ffff:192.0.2.1) count as IPv4.
 */
#ifndef FW_NETWORKS_H
#define FW_NETWORKS_H

#include "fw.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef union fw_address {
    struct sockaddr any; /* family 0 or AF_UNIX: there is none */
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} fw_address;

/* An address that has been read, to be known again. Zeroed memory knows none. */
typedef struct fw_known_address {
    fw_address address;
    uint8_t len;
    char text[39];
} fw_known_address;

typedef struct fw_range4 {
    uint32_t first, last; /* in the byte order of this machine */
} fw_range4;

typedef struct fw_range6 {
    uint8_t first[16], last[16];
} fw_range6;

/* The lists are borrowed. Zeroed memory is the empty set. */
typedef struct fw_networks {
    const fw_range4 *v4;
    const fw_range6 *v6;
    unsigned n4, n6;
    bool all; /* every peer, whatever its family */
} fw_networks;

bool fw_networks_hold(const fw_networks *set, const struct sockaddr *a);

/* Reads an address as X-Forwarded-For and Forwarded have it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1],
 * [2001:db8::1]:80. The port is 0 if there is none. False: it is something else. */
bool fw_address_read(const char *s, size_t n, fw_address *to);

/* The same, where it is the text that was read last, as a rule. */
bool fw_address_reread(fw_known_address *known, const char *s, size_t n, fw_address *to);

/* Reads 1 to 5 digits that make a number up to 65535; -1: they do not. */
int fw_address_port(const char *s, size_t n);

/* The same address, whatever the ports. */
bool fw_address_same(const fw_address *a, const fw_address *b);

#endif
