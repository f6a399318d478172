/* events.c - listeners, and calls that fail. */
#include "events.h"
#include "faults.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef union address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in v4;
} address;

static int listen_on(int family, address *a, socklen_t len)
{
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && bind(fd, &a->any, len) == 0 && listen(fd, 16) == 0);
    return fd;
}

void events_listen(int *unix_listener, int *tcp_listener)
{
    static int local = -1, tcp = -1;
    if (local < 0) {
        address a = {.local = {.sun_family = AF_UNIX}};
        local = listen_on(AF_UNIX, &a, sizeof a.local.sun_family); /* the system names it */
        a = (address){.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
        tcp = listen_on(AF_INET, &a, sizeof a.v4);
    }
    *unix_listener = local;
    *tcp_listener = tcp;
}

void events_empty_backlog(int listener)
{
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        close(fd);
}

int events_connect(int listener, bool tcp, bool small_receive, bool small_send)
{
    address a;
    socklen_t len = sizeof a;
    const int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && getsockname(listener, &a.any, &len) == 0);
    int one = 1; /* else the system holds back what is sent in pieces, and no clock of ours moves it */
    if (tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int size = 4096; /* the system makes at least this of it */
    if (small_receive)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (small_send)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(fd, &a.any, len) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

void events_fail_call(tape *t)
{
    static const int ERRORS[] = {ENOMEM, EINTR, EAGAIN, ECONNRESET, EPIPE, ENOSPC, EMFILE, EIO};
    const enum fault what = (enum fault)(tape_byte(t) % FAULT_COUNT);
    if (what == FAULT_EPOLL_CTL)
        return; /* a listener that cannot be taken out of the poller is nothing a system does */
    const unsigned how = tape_byte(t), times = how >> 3 & 3;
    const bool moves_bytes = what == FAULT_SEND || what == FAULT_SENDMSG || what == FAULT_SENDFILE ||
                             what == FAULT_WRITE || what == FAULT_PREAD;
    int error = ERRORS[how & 7];
    if (what == FAULT_MEMORY)
        error = ENOMEM;
    else if (error == EAGAIN)
        error = EPIPE; /* an edge that has been reported and is not there is not the kernel's way */
    if (how & 0x80 && moves_bytes) /* nor is a short read of a socket that holds more */
        fault_short(what, how >> 5 & 3, FOR_EVER, 1 + tape_byte(t));
    else
        fault_fail(what, tape_byte(t), 1 + times, error);
}
