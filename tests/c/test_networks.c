/* test_networks.c - whether an address lies in one of some networks. */
#include "harness.h"
#include "system/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static void write_network(uint8_t *to, const char *address, unsigned bits)
{
    CHECK_INT(inet_pton(AF_INET6, address, to), 1);
    to[16] = (uint8_t)bits;
}

static bool has(const uint8_t *networks, size_t n, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return fw_networks_have(networks, n, (struct sockaddr *)&v4);
    CHECK_INT(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return fw_networks_have(networks, n, (struct sockaddr *)&v6);
}

static void an_address_is_in_a_network_by_its_leading_bits(void)
{
    uint8_t networks[5][FW_NETWORK];
    write_network(networks[0], "::ffff:127.0.0.1", 128);
    write_network(networks[1], "::ffff:10.0.0.0", 104);
    write_network(networks[2], "::ffff:192.168.64.0", 114);
    write_network(networks[3], "::1", 128);
    write_network(networks[4], "2001:db8::", 33);
    static const struct {
        const char *address;
        bool in;
    } CASES[] = {
        {"127.0.0.1", true},        {"127.0.0.2", false},     {"10.0.0.0", true},     {"10.255.255.255", true},
        {"11.0.0.0", false},        {"192.168.64.1", true},   {"192.168.127.9", true}, {"192.168.128.1", false},
        {"192.168.63.255", false},  {"::1", true},            {"::2", false},         {"::ffff:127.0.0.1", true},
        {"::ffff:10.1.2.3", true},  {"::127.0.0.1", false},   {"2001:db8:7fff::1", true},
        {"2001:db8:8000::1", false}, {"0.0.0.0", false},      {"::", false},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        trying("%s", CASES[i].address);
        CHECK_INT(has(networks[0], 5, CASES[i].address), CASES[i].in);
        CHECK(!has(networks[0], 0, CASES[i].address));
    }
}

static void no_bits_are_every_address_but_of_a_unix_socket(void)
{
    const uint8_t all[FW_NETWORK] = {0};
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK(has(all, 1, "255.255.255.255"));
    CHECK(has(all, 1, "0.0.0.0"));
    CHECK(has(all, 1, "ffff::ffff"));
    CHECK(!fw_networks_have(all, 1, (const struct sockaddr *)&local));
    CHECK(!fw_networks_have(all, 1, &none));
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(an_address_is_in_a_network_by_its_leading_bits),
        T(no_bits_are_every_address_but_of_a_unix_socket),
    };
    return RUN_TESTS(TESTS);
}
