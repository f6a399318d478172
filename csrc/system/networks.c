/* networks.c - whether an address lies in one of some networks. */
#include "system/networks.h"

#include <netinet/in.h>
#include <string.h>

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    const unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool fw_networks_have(const uint8_t *networks, size_t n, const struct sockaddr *a)
{
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
    if (a->sa_family == AF_INET)
        memcpy(address + 12, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
    else if (a->sa_family == AF_INET6)
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
    else
        return false;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *network = networks + i * FW_NETWORK;
        if (same_bits(network, address, network[FW_NETWORK - 1]))
            return true;
    }
    return false;
}
