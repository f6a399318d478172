/* clients.c - the clients of a threads_fixture: they ask, and wait for what is to come. */
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

int threads_fixture_client(threads_fixture *m)
{
    return loop_fixture_client(&m->loop_fixture);
}

int threads_fixture_narrow(threads_fixture *m)
{
    fw_leader_lock(m->leader);
    const int client = loop_fixture_pair(&m->loop_fixture, true, NULL);
    fw_leader_unlock(m->leader);
    return client;
}

void ask(int client, const char *target)
{
    char text[128];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    SAY(client, text);
}

/* Waits for bytes; 0 at the end, however it comes. */
static size_t receive(int client, char *to, size_t room)
{
    struct pollfd p = {.fd = client, .events = POLLIN};
    if (poll(&p, 1, GUARD_S * 1000) != 1)
        FAIL("the server does not answer");
    const ssize_t n = hear(client, to, room);
    return n > 0 ? (size_t)n : 0;
}

static void receive_all(int client, char *to, size_t n)
{
    while (n > 0) {
        const size_t some = receive(client, to, n);
        if (some == 0)
            FAIL("the connection ends too early");
        to += some;
        n -= some;
    }
}

void expect_bytes(int client, const char *bytes, size_t n)
{
    char *have = malloc(n);
    CHECK(have != NULL);
    receive_all(client, have, n);
    check_bytes(__FILE__, __LINE__, "what came", have, n, bytes, n);
    free(have);
}

int answered(int client, char *body, size_t room)
{
    char head[1024], bite[4096];
    size_t n = 0;
    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        CHECK(n < sizeof head - 1);
        receive_all(client, head + n++, 1);
    }
    head[n] = '\0';
    const char *field = strstr(head, "Content-Length: ");
    size_t left = field != NULL ? strtoul(field + 16, NULL, 10) : 0, at = 0;
    while (left > 0) {
        const size_t some = left < sizeof bite ? left : sizeof bite;
        receive_all(client, bite, some);
        for (size_t i = 0; i < some && body != NULL && at < room - 1; i++)
            body[at++] = bite[i];
        left -= some;
    }
    if (body != NULL)
        body[at] = '\0';
    return atoi(head + 9);
}

size_t ended(int client)
{
    char bite[4096];
    size_t n = 0;
    for (size_t some; (some = receive(client, bite, sizeof bite)) > 0;)
        n += some;
    return n;
}
