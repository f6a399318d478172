/* event.h - enough of kqueue(2), declared in our own words, for `make lint` to check poller_kqueue.c on Linux. */
#ifndef FW_KQUEUE_EVENT_H
#define FW_KQUEUE_EVENT_H

#include <stdint.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_USER (-10)
#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000
#define NOTE_TRIGGER 0x01000000

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define EV_SET(event, i, f, fl, ff, d, u)                                                                              \
    do {                                                                                                               \
        (event)->ident = (uintptr_t)(i);                                                                               \
        (event)->filter = (int16_t)(f);                                                                                \
        (event)->flags = (uint16_t)(fl);                                                                               \
        (event)->fflags = (uint32_t)(ff);                                                                              \
        (event)->data = (intptr_t)(d);                                                                                 \
        (event)->udata = (u);                                                                                          \
    } while (0)

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int nchanges, struct kevent *events, int nevents,
           const struct timespec *timeout);

#endif
