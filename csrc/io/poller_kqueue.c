/* poller_kqueue.c - readiness on macOS and the BSDs. The unit test of all pollers is test_poller.c.
 *
 * kqueue reports the two directions of one descriptor as two events; the loop treats each on its own, so nothing here
 * joins them. The unit test of all pollers is test_poller.c.
 */
#include "io/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int fw_poller_open(fw_poller *p, int capacity)
{
    p->capacity = capacity;
    p->native = calloc((size_t)capacity, sizeof(struct kevent));
    if (p->native == NULL)
        return -ENOMEM;
    p->fd = kqueue();
    if (p->fd < 0) {
        int e = errno;
        free(p->native);
        p->native = NULL;
        return -e;
    }
    fcntl(p->fd, F_SETFD, FD_CLOEXEC);
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
    struct kevent change[2];
    int n = 1;
    unsigned short flags = EV_ADD | (mode == FW_POLL_EDGE ? EV_CLEAR : 0);
    EV_SET(&change[0], (uintptr_t)fd, EVFILT_READ, flags, 0, 0, data);
    if (mode == FW_POLL_EDGE) {
        EV_SET(&change[1], (uintptr_t)fd, EVFILT_WRITE, flags, 0, 0, data);
        n = 2;
    }
    return kevent(p->fd, change, n, NULL, 0, NULL) < 0 ? -errno : FW_OK;
}

int fw_poller_del(fw_poller *p, int fd)
{
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    return kevent(p->fd, &change, 1, NULL, 0, NULL) < 0 ? -errno : FW_OK;
}

static unsigned translate(const struct kevent *e)
{
    unsigned flags = e->filter == EVFILT_WRITE ? FW_EVENT_OUT : FW_EVENT_IN;
    if (e->flags & EV_EOF) {
        flags |= e->filter == EVFILT_READ ? FW_EVENT_EOF : FW_EVENT_ERR;
        if (e->fflags != 0)
            flags |= FW_EVENT_ERR;
    }
    if (e->flags & EV_ERROR)
        flags |= FW_EVENT_ERR;
    return flags;
}

int fw_poller_wait(fw_poller *p, fw_event *events, int timeout_ms)
{
    struct timespec limit = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000L};
    const struct kevent *native = p->native;
    int n = kevent(p->fd, NULL, 0, p->native, p->capacity, timeout_ms < 0 ? NULL : &limit);
    if (n < 0)
        return errno == EINTR ? FW_RETRY : -errno;
    for (int i = 0; i < n; i++) {
        events[i].data = native[i].udata;
        events[i].flags = translate(&native[i]);
    }
    return n;
}
