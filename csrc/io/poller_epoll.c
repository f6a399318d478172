/* poller_epoll.c - readiness on Linux. The unit test of all pollers is test_poller.c. */
#include "io/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE 0
#endif

int fw_poller_open(fw_poller *p, int capacity)
{
    p->capacity = capacity;
    p->native = calloc((size_t)capacity, sizeof(struct epoll_event));
    if (p->native == NULL)
        return -ENOMEM;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) {
        int e = errno;
        free(p->native);
        p->native = NULL;
        return -e;
    }
    return FW_OK;
}

void fw_poller_close(fw_poller *p)
{
    if (p->native == NULL)
        return;
    close(p->fd);
    free(p->native);
    p->native = NULL;
}

int fw_poller_add(fw_poller *p, int fd, enum fw_poll_mode mode, void *data)
{
    static const uint32_t INTEREST[] = {
        [FW_POLL_EDGE] = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        [FW_POLL_LEVEL] = EPOLLIN,
        [FW_POLL_SHARED] = EPOLLIN | EPOLLEXCLUSIVE,
    };
    struct epoll_event ev = {.events = INTEREST[mode], .data = {.ptr = data}};
    return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : FW_OK;
}

int fw_poller_del(fw_poller *p, int fd)
{
    struct epoll_event unused = {0};
    return epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, &unused) < 0 ? -errno : FW_OK;
}

static unsigned translate(uint32_t e)
{
    unsigned flags = 0;
    if (e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        flags |= FW_EVENT_IN;
    if (e & EPOLLOUT)
        flags |= FW_EVENT_OUT;
    if (e & (EPOLLRDHUP | EPOLLHUP))
        flags |= FW_EVENT_EOF;
    if (e & EPOLLHUP)
        flags |= FW_EVENT_HUP;
    if (e & EPOLLERR)
        flags |= FW_EVENT_ERR;
    return flags;
}

int fw_poller_wait(fw_poller *p, fw_event *events, int timeout_ms)
{
    const struct epoll_event *native = p->native;
    int n = epoll_wait(p->fd, p->native, p->capacity, timeout_ms);
    if (n < 0)
        return errno == EINTR ? FW_RETRY : -errno;
    for (int i = 0; i < n; i++) {
        events[i].data = native[i].data.ptr;
        events[i].flags = translate(native[i].events);
    }
    return n;
}
