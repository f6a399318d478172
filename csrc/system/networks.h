/* networks.h - whether an address lies in one of some networks: whom a setting trusts.
 *
 * A network is 17 bytes: an IPv6 address and the number of its leading bits that count. IPv4 is written as IPv4-mapped
 * IPv6 (RFC 4291 2.5.5.2), so that a client is the same whichever kind of socket it comes to. fastwsgi/config/units.py
 * makes these bytes.
 */
#ifndef FW_NETWORKS_H
#define FW_NETWORKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define FW_NETWORK 17 /* bytes of one */

/* Whether one of the `n` networks has the address. False for one that is neither IPv4 nor IPv6. */
bool fw_networks_have(const uint8_t *networks, size_t n, const struct sockaddr *a);

#endif
