/* faults.c - stands between the core and the system. */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SPINS_AT_MOST 50 /* polls in vain before the loop is stopped by a signal */

typedef struct plan {
    atomic_uint first, times; /* of the calls since the plan was made */
    atomic_uint since;
    atomic_int error;
    _Atomic size_t most;
} plan;

static plan plans[FAULT_COUNT];
static struct {
    void (*run)(void *data);
    void *data;
} hooks[FAULT_COUNT];
static atomic_uint calls[FAULT_COUNT], hits[FAULT_COUNT];
static atomic_long blocks;
static _Atomic uint64_t now_ms;
static _Atomic int64_t day;
static atomic_int patience;
static atomic_uint spins;
static atomic_bool live;

static const char *const NAMES[] = {
#define FAULT_TEXT(id, name) name,
    FAULTS(FAULT_TEXT)
#undef FAULT_TEXT
};

const char *fault_name(enum fault f)
{
    return NAMES[f];
}

static void make_plan(enum fault f, unsigned first, unsigned times, int error, size_t most)
{
    plans[f].times = 0; /* threads may be in the call: whole again only at the end */
    plans[f].first = first;
    plans[f].error = error;
    plans[f].most = most;
    plans[f].since = 0;
    plans[f].times = times;
}

void fault_fail(enum fault f, unsigned first, unsigned times, int error)
{
    make_plan(f, first, times, error, 0);
}

void fault_short(enum fault f, unsigned first, unsigned times, size_t most)
{
    make_plan(f, first, times, 0, most);
}

void fault_before(enum fault f, void (*hook)(void *data), void *data)
{
    hooks[f].run = hook;
    hooks[f].data = data;
}

void faults_clear(void)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        hooks[i].run = NULL;
        make_plan((enum fault)i, 0, 0, 0, 0);
        calls[i] = hits[i] = 0;
    }
    spins = 0;
}

unsigned fault_calls(enum fault f)
{
    return calls[f];
}

unsigned fault_hits(enum fault f)
{
    return hits[f];
}

/* Counts a call.  True: it fails, errno is set.  `*n`, if there is one, may be made smaller. */
static bool meets(enum fault f, size_t *n)
{
    plan *p = &plans[f];
    const unsigned at = atomic_fetch_add(&p->since, 1);
    calls[f]++;
    if (hooks[f].run != NULL)
        hooks[f].run(hooks[f].data);
    if (at < p->first || at - p->first >= p->times)
        return false;
    hits[f]++;
    if (p->error != 0) {
        errno = p->error;
        return true;
    }
    if (n != NULL && *n > p->most)
        *n = p->most;
    return false;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);

static void *counted(void *p)
{
    blocks += p != NULL;
    return p;
}

void *__wrap_malloc(size_t n)
{
    return meets(FAULT_MEMORY, NULL) ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return meets(FAULT_MEMORY, NULL) ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (meets(FAULT_MEMORY, NULL))
        return NULL;
    void *q = __real_realloc(p, n);
    blocks += p == NULL && q != NULL;
    return q;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return meets(FAULT_MEMORY, NULL) ? NULL : counted(__real_aligned_alloc(align, n));
}

void __wrap_free(void *p)
{
    blocks -= p != NULL;
    __real_free(p);
}

long blocks_in_use(void)
{
    return blocks;
}

/* ---- sockets --------------------------------------------------------------------------------------------------- */

ssize_t __real_recv(int fd, void *to, size_t n, int flags);
ssize_t __real_send(int fd, const void *from, size_t n, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_sendfile(int to, int from, off_t *offset, size_t n);
int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __real_shutdown(int fd, int how);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t n);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
    return meets(FAULT_RECV, &n) ? -1 : __real_recv(fd, to, n, flags);
}

ssize_t __wrap_send(int fd, const void *from, size_t n, int flags)
{
    return meets(FAULT_SEND, &n) ? -1 : __real_send(fd, from, n, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
    return meets(FAULT_RECVMSG, NULL) ? -1 : __real_recvmsg(fd, msg, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    size_t all = SIZE_MAX;
    if (meets(FAULT_SENDMSG, &all))
        return -1;
    if (all == SIZE_MAX)
        return __real_sendmsg(fd, msg, flags);
    struct msghdr less = *msg;
    struct iovec first = msg->msg_iov[0];
    if (first.iov_len > all)
        first.iov_len = all;
    less.msg_iov = &first;
    less.msg_iovlen = 1;
    return __real_sendmsg(fd, &less, flags);
}

ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t n)
{
    return meets(FAULT_SENDFILE, &n) ? -1 : __real_sendfile(to, from, offset, n);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return meets(FAULT_ACCEPT, NULL) ? -1 : __real_accept4(fd, address, len, flags);
}

int __wrap_shutdown(int fd, int how)
{
    return meets(FAULT_SHUTDOWN, NULL) ? -1 : __real_shutdown(fd, how);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return meets(FAULT_SETSOCKOPT, NULL) ? -1 : __real_setsockopt(fd, level, name, value, len);
}

/* ---- readiness and wake-up ------------------------------------------------------------------------------------- */

int __real_epoll_create1(int flags);
int __real_epoll_ctl(int fd, int op, int of, struct epoll_event *event);
int __real_epoll_wait(int fd, struct epoll_event *events, int n, int timeout);
int __real_pipe2(int ends[2], int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout);
int __wrap_pipe2(int ends[2], int flags);

int __wrap_epoll_create1(int flags)
{
    return meets(FAULT_EPOLL_CREATE, NULL) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    return meets(FAULT_EPOLL_CTL, NULL) ? -1 : __real_epoll_ctl(fd, op, of, event);
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    if (meets(FAULT_EPOLL_WAIT, NULL))
        return -1;
    patience = timeout;
    if (live)
        return __real_epoll_wait(fd, events, n, timeout);
    int ready = __real_epoll_wait(fd, events, n, 0);
    if (ready != 0) {
        spins = 0;
        return ready;
    }
    if (timeout == 0 && ++spins < SPINS_AT_MOST)
        return 0;
    errno = EINTR;
    return -1;
}

int poll_patience(void)
{
    return patience;
}

unsigned poll_spins(void)
{
    return spins;
}

int __wrap_pipe2(int ends[2], int flags)
{
    return meets(FAULT_PIPE, NULL) ? -1 : __real_pipe2(ends, flags);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __real_pread(int fd, void *to, size_t n, off_t offset);
int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_mkstemp(char *path);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t offset);
int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_mkstemp(char *path);

ssize_t __wrap_read(int fd, void *to, size_t n)
{
    return meets(FAULT_READ, &n) ? -1 : __real_read(fd, to, n);
}

ssize_t __wrap_write(int fd, const void *from, size_t n)
{
    return meets(FAULT_WRITE, &n) ? -1 : __real_write(fd, from, n);
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t offset)
{
    return meets(FAULT_PREAD, &n) ? -1 : __real_pread(fd, to, n, offset);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
    va_end(args);
    return meets(FAULT_OPEN, NULL) ? -1 : __real_open(path, flags, mode);
}

/* The core makes no file by it. */
int __wrap_openat(int folder, const char *path, int flags, ...)
{
    return meets(FAULT_OPENAT, NULL) ? -1 : __real_openat(folder, path, flags);
}

int __wrap_mkstemp(char *path)
{
    return meets(FAULT_MKSTEMP, NULL) ? -1 : __real_mkstemp(path);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

int __real_clock_gettime(clockid_t id, struct timespec *t);
time_t __real_time(time_t *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
time_t __wrap_time(time_t *t);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    if (id != CLOCK_MONOTONIC_COARSE)
        return __real_clock_gettime(id, t);
    t->tv_sec = (time_t)(now_ms / 1000);
    t->tv_nsec = (long)(now_ms % 1000) * 1000000;
    return 0;
}

time_t __wrap_time(time_t *t)
{
    return day != 0 ? (time_t)day : __real_time(t);
}

void poll_sleeps(bool really)
{
    live = really;
}

void clock_reset(void)
{
    now_ms = 1000000;
    day = 0;
    live = false;
}

void clock_advance(unsigned ms)
{
    now_ms += ms;
}

void clock_day(int64_t seconds)
{
    day = seconds;
}
