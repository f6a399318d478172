/* test_poller.c - readiness, and what the system may refuse. */
#include "faults.h"
#include "harness.h"
#include "io/poller.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int listening(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)address, len) == 0 && listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)address, &len) == 0);
    return fd;
}

static void an_edge_is_reported_once(void)
{
    fw_poller p;
    fw_event e[8];
    int ends[2], mine;
    pair_open(ends, false);
    CHECK_INT(fw_poller_open(&p, 8), FW_OK);
    CHECK_INT(fw_poller_add(&p, ends[0], FW_POLL_EDGE, &mine), FW_OK);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK(e[0].data == &mine && e[0].flags == FW_EVENT_OUT);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    SAY(ends[1], "x");
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK((e[0].flags & FW_EVENT_IN) != 0 && (e[0].flags & (FW_EVENT_EOF | FW_EVENT_ERR)) == 0);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    close(ends[0]);
    close(ends[1]);
    fw_poller_close(&p);
}

static void a_level_is_reported_until_it_is_gone(void)
{
    fw_poller p;
    fw_event e[8];
    int ends[2];
    char sink[8];
    pair_open(ends, false);
    CHECK_INT(fw_poller_open(&p, 8), FW_OK);
    CHECK_INT(fw_poller_add(&p, ends[0], FW_POLL_LEVEL, &p), FW_OK);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    SAY(ends[1], "x");
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK_INT(e[0].flags, FW_EVENT_IN);
    CHECK_INT(hear(ends[0], sink, sizeof sink), 1);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    SAY(ends[1], "x");
    CHECK_INT(fw_poller_del(&p, ends[0]), FW_OK);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    CHECK_INT(fw_poller_del(&p, ends[0]), -ENOENT);
    close(ends[0]);
    close(ends[1]);
    fw_poller_close(&p);
}

static void the_end_of_the_peer_is_told(void)
{
    fw_poller p;
    fw_event e[8];
    int ends[2];
    pair_open(ends, false);
    CHECK_INT(fw_poller_open(&p, 8), FW_OK);
    CHECK_INT(fw_poller_add(&p, ends[0], FW_POLL_EDGE, &p), FW_OK);
    CHECK(shutdown(ends[1], SHUT_WR) == 0);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK((e[0].flags & (FW_EVENT_IN | FW_EVENT_EOF)) == (FW_EVENT_IN | FW_EVENT_EOF));
    close(ends[0]);
    close(ends[1]);
    fw_poller_close(&p);
}

static void a_reset_is_told_as_broken(void)
{
    fw_poller p;
    fw_event e[8];
    struct sockaddr_in address;
    const int server = listening(&address);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    int fd = accept(server, NULL, NULL);
    CHECK(fd >= 0);
    CHECK_INT(fw_poller_open(&p, 8), FW_OK);
    CHECK_INT(fw_poller_add(&p, fd, FW_POLL_EDGE, &p), FW_OK);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    struct linger now = {.l_onoff = 1};
    CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(client);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK((e[0].flags & FW_EVENT_ERR) != 0 && (e[0].flags & FW_EVENT_IN) != 0);
    close(fd);
    close(server);
    fw_poller_close(&p);
}

static void a_shared_listener_reports_connections(void)
{
    fw_poller p;
    fw_event e[8];
    struct sockaddr_in address;
    const int server = listening(&address);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(fw_poller_open(&p, 8), FW_OK);
    CHECK_INT(fw_poller_add(&p, server, FW_POLL_SHARED, &client), FW_OK);
    CHECK_INT(fw_poller_add(&p, server, FW_POLL_SHARED, &client), -EEXIST);
    CHECK_INT(fw_poller_wait(&p, e, 0), 0);
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK_INT(fw_poller_wait(&p, e, 0), 1);
    CHECK(e[0].data == &client && e[0].flags == FW_EVENT_IN);
    CHECK_INT(fw_poller_del(&p, server), FW_OK);
    close(client);
    close(server);
    fw_poller_close(&p);
}

static void a_signal_is_no_error(void)
{
    fw_poller p;
    fw_event e[4];
    CHECK_INT(fw_poller_open(&p, 4), FW_OK);
    fault_fail(FAULT_EPOLL_WAIT, 0, 1, EINTR);
    CHECK_INT(fw_poller_wait(&p, e, -1), FW_RETRY);
    fault_fail(FAULT_EPOLL_WAIT, 0, 1, EBADF);
    CHECK_INT(fw_poller_wait(&p, e, -1), -EBADF);
    fw_poller_close(&p);
}

static void a_system_that_refuses_leaves_nothing_behind(void)
{
    static const int ERRORS[] = {EMFILE, ENFILE, ENOMEM};
    fw_poller p;
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        fault_fail(FAULT_EPOLL_CREATE, 0, 1, ERRORS[i]);
        CHECK_INT(fw_poller_open(&p, 4), -ERRORS[i]);
        fw_poller_close(&p);
    }
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(fw_poller_open(&p, 4), -ENOMEM);
    fw_poller_close(&p);
}

static void a_registration_may_be_refused(void)
{
    static const int ERRORS[] = {ENOSPC, ENOMEM, EBADF, EPERM};
    fw_poller p;
    int ends[2];
    pair_open(ends, false);
    CHECK_INT(fw_poller_open(&p, 4), FW_OK);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        fault_fail(FAULT_EPOLL_CTL, 0, 2, ERRORS[i]);
        CHECK_INT(fw_poller_add(&p, ends[0], FW_POLL_EDGE, &p), -ERRORS[i]);
        CHECK_INT(fw_poller_del(&p, ends[0]), -ERRORS[i]);
    }
    close(ends[0]);
    close(ends[1]);
    fw_poller_close(&p);
}

static void no_more_events_than_there_is_room_for(void)
{
    enum { PAIRS = 5 };
    fw_poller p;
    fw_event e[2];
    int ends[PAIRS][2];
    unsigned seen = 0;
    CHECK_INT(fw_poller_open(&p, 2), FW_OK);
    for (int i = 0; i < PAIRS; i++) {
        pair_open(ends[i], false);
        CHECK_INT(fw_poller_add(&p, ends[i][0], FW_POLL_EDGE, ends[i]), FW_OK);
    }
    for (int round = 0; round < 4; round++) {
        int n = fw_poller_wait(&p, e, 0);
        CHECK(n >= 0 && n <= 2);
        seen += (unsigned)n;
    }
    CHECK_INT(seen, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
    fw_poller_close(&p);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(an_edge_is_reported_once),
        T(a_level_is_reported_until_it_is_gone),
        T(the_end_of_the_peer_is_told),
        T(a_reset_is_told_as_broken),
        T(a_shared_listener_reports_connections),
        T(a_signal_is_no_error),
        T(a_system_that_refuses_leaves_nothing_behind),
        T(a_registration_may_be_refused),
        T(no_more_events_than_there_is_room_for),
    };
    return RUN_TESTS(TESTS);
}
