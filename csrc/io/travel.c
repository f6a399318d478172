/* travel.c - messages that hold a connection. The rules are in travel.h. */
#include "io/travel.h"
#include "http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define VERSION 0xFA570003u /* of the message; another one for any change of fw_note */
#define DESCRIPTORS 2       /* the connection, and the file of its body */

typedef union control {
    struct cmsghdr head; /* aligns it */
    char room[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
} control;

/* What goes into one message. */
typedef struct load {
    fw_note note;
    struct iovec parts[4];
    int fds[DESCRIPTORS];
    unsigned nfds;
    int own_file; /* a file in memory that was made for it, or -1 */
} load;

uint64_t fw_travel_cookie(int fd)
{
    uint64_t cookie = 0;
#if defined(SO_COOKIE)
    socklen_t len = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) != 0)
        cookie = 0;
#else
    (void)fd;
#endif
    return cookie;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static struct iovec part(const void *at, size_t n)
{
    return (struct iovec){.iov_base = (void *)at, .iov_len = n};
}

/* A file in memory with these bytes, or -1. */
static int file_with(const char *data, size_t n)
{
#if defined(__linux__)
    const int fd = memfd_create("fastwsgi-body", MFD_CLOEXEC);
    for (size_t at = 0; fd >= 0 && at < n;) {
        const ssize_t put = write(fd, data + at, n - at);
        if (put > 0) {
            at += (size_t)put;
        } else if (put == 0 || errno != EINTR) {
            close(fd);
            return -1;
        }
    }
    return fd;
#else
    (void)data, (void)n;
    return -1;
#endif
}

/* The body of a complete request: in its file, in the message, or, if it is too large for that, in a file made for it. */
static bool load_body(load *l, const fw_body *b)
{
    l->note.body = b->len;
    if (b->fd >= 0) {
        l->fds[l->nfds++] = b->fd;
    } else if (l->note.head + l->note.rest + b->len <= FW_TRAVEL_ROOM) {
        l->note.memory = (uint32_t)b->len;
        l->parts[2] = part(b->data, (size_t)b->len);
        return true;
    } else if ((l->own_file = file_with(b->data, (size_t)b->len)) >= 0) {
        l->fds[l->nfds++] = l->own_file;
    } else {
        return false;
    }
    l->note.file = 1;
    return true;
}

static bool load_request(load *l, const fw_conn *c)
{
    const fw_request *r = c->req;
    const fw_buffer *in = c->in;
    const uint32_t rest = in->len - in->pos;
    if ((uint64_t)r->head_len + rest > FW_TRAVEL_ROOM)
        return false;
    l->note.head = r->head_len;
    l->note.rest = rest;
    l->parts[1] = part(r->base, r->head_len);
    l->parts[3] = part(in->data + in->pos, rest);
    return load_body(l, &r->body);
}

/* False: it cannot travel. */
static bool load_conn(load *l, const fw_conn *c, uint64_t complete)
{
    memset(l, 0, sizeof *l);
    l->own_file = -1;
    l->note.version = VERSION;
    l->note.kind = c->state == FW_STATE_READY ? FW_TRAVEL_REQUEST : FW_TRAVEL_IDLE;
    l->note.listener = (uint8_t)c->listener->index;
    l->note.cookie = c->listener->cookie;
    l->note.origin = (uint8_t)(c->origin & ((1u << FW_ORIGIN_BITS) - 1));
    l->note.proxy = c->proxy;
    l->note.served = c->served;
    l->note.worth_until = l->note.kind == FW_TRAVEL_REQUEST ? c->worth_until : 0;
    l->note.complete = complete;
    l->note.address_len = sizeof c->address;
    memcpy(&l->note.address, &c->address, sizeof c->address);
    l->parts[0] = part(&l->note, sizeof l->note);
    l->fds[l->nfds++] = c->fd;
    return l->note.kind == FW_TRAVEL_IDLE || load_request(l, c);
}

static int put(int to, load *l)
{
    control room;
    memset(&room, 0, sizeof room); /* what lies between is written to nobody, but looked at by tools */
    struct msghdr m = {.msg_iov = l->parts, .msg_iovlen = 4, .msg_control = room.room};
    m.msg_controllen = CMSG_SPACE(l->nfds * sizeof(int));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(l->nfds * sizeof(int));
    memcpy(CMSG_DATA(h), l->fds, l->nfds * sizeof(int));
    ssize_t n;
    do {
        n = sendmsg(to, &m, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return FW_OK;
    return errno == EMSGSIZE ? FW_TRAVEL_STAYS : FW_RETRY;
}

int fw_travel_send(const fw_travel *t, const fw_conn *c, uint64_t complete)
{
    load l;
    const int rc = load_conn(&l, c, complete) ? put(t->to, &l) : FW_TRAVEL_STAYS;
    if (l.own_file >= 0)
        close(l.own_file);
    return rc;
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

static int receive_error(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? FW_RETRY : -errno;
}

/* FW_OK: the next message is of our version, or of none; it is to be taken. */
static int look_at_next(int from)
{
    uint32_t version;
    ssize_t n;
    do {
        n = recv(from, &version, sizeof version, MSG_PEEK | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return receive_error();
    return n == sizeof version && version != VERSION ? -EPROTONOSUPPORT : FW_OK;
}

/* Whether there is room for its descriptors: the system would close those that it has no room for. */
static bool has_descriptors(int from)
{
    int fds[DESCRIPTORS];
    int n = 0;
    while (n < DESCRIPTORS && (fds[n] = fcntl(from, F_DUPFD_CLOEXEC, 0)) >= 0)
        n++;
    const bool enough = n == DESCRIPTORS;
    while (n > 0)
        close(fds[--n]);
    return enough;
}

static void take_descriptors(fw_parcel *p, struct msghdr *m)
{
    int *places[DESCRIPTORS] = {&p->fd, &p->file};
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && i < DESCRIPTORS; i++)
            memcpy(places[i], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
#if !defined(MSG_CMSG_CLOEXEC)
    for (size_t i = 0; i < DESCRIPTORS; i++)
        if (*places[i] >= 0)
            fcntl(*places[i], F_SETFD, FD_CLOEXEC);
#endif
}

static bool is_whole(const fw_parcel *p, size_t n)
{
    const fw_note *note = &p->note;
    return n >= sizeof *note && p->fd >= 0 && note->file == (p->file >= 0) &&
           n == sizeof *note + (uint64_t)note->head + note->memory + note->rest &&
           note->address_len == sizeof note->address && (note->file || note->memory == note->body) &&
           (note->kind == FW_TRAVEL_REQUEST) == (note->head != 0);
}

/* One of another version has come in between, because a sibling was faster: back with it. */
static int put_back(const fw_travel *t, const fw_parcel *p, size_t n)
{
    load l = {.fds = {p->fd, p->file}, .nfds = p->file >= 0 ? 2 : 1};
    l.parts[0] = part(&p->note, n < sizeof p->note ? n : sizeof p->note);
    l.parts[1] = part(p->room, n - l.parts[0].iov_len);
    return p->fd >= 0 && put(t->to, &l) == FW_OK ? -EPROTONOSUPPORT : -EPROTO;
}

int fw_travel_receive(const fw_travel *t, fw_parcel *p)
{
    control room;
    struct iovec parts[2] = {part(&p->note, sizeof p->note), part(p->room, sizeof p->room)};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = room.room,
                       .msg_controllen = sizeof room.room};
    int flags = MSG_DONTWAIT;
#if defined(MSG_CMSG_CLOEXEC)
    flags |= MSG_CMSG_CLOEXEC;
#endif
    p->fd = p->file = -1;
    p->data = p->room;
    int rc = look_at_next(t->from);
    if (rc != FW_OK)
        return rc;
    if (!has_descriptors(t->from))
        return -EMFILE;
    ssize_t n;
    do {
        n = recvmsg(t->from, &m, flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return receive_error(); /* FW_RETRY: somebody else was first */
    take_descriptors(p, &m);
    rc = -EPROTO;
    if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && (size_t)n >= sizeof p->note.version) {
        if (p->note.version != VERSION)
            rc = put_back(t, p, (size_t)n);
        else if (is_whole(p, (size_t)n))
            return FW_OK;
    }
    fw_parcel_clear(p);
    return rc;
}

void fw_parcel_clear(fw_parcel *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->file >= 0)
        close(p->file);
    p->fd = p->file = -1;
}
