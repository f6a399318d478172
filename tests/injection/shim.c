/* shim.c - preloaded into a server, makes system calls of the core fail by schedule.
 *
 * INJECT holds rules, separated by commas: `call=what/period` lets every period-th call of that name fail with an
 * error (`recv=EINTR/3`), or move at most so many bytes (`recv=1/2`); `store` is a write to a regular file. HANG in the
 * place of an error lets the call never return, LOST lets it do nothing and say that all is well. `store=200ms/1` lets it
 * take that long before it succeeds, `store=HOLD/1` until INJECT_STOP is there. Only calls
 * made by the core's own module are counted, so the interpreter and the application never notice. INJECT_START, if it
 * is there, names a file before whose existence no call counts; INJECT_STOP one whose existence ends all injection;
 * INJECT_COUNTS a file of one 64-bit counter for each rule. Behind these stands a number for each rule of period 0:
 * whoever writes n there makes the n-th call from then on fail, and no other.
 *
 * An edge-triggered poller tells of each edge once. A real EAGAIN, or a short read, is followed by an edge when things
 * change; after one of ours the registration is renewed, which makes the poller look again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES 32
#define DESCRIPTORS 4096
#define HANG (-1) /* in the place of an error */
#define LOST (-2)

typedef struct rule {
    char call[24];
    int error;   /* 0: a short call */
    size_t most; /* bytes of a short call */
    unsigned delay; /* ms of a slow call */
    bool hold;
    unsigned period;
    unsigned calls;
} rule;

static rule rules[RULES];
static unsigned nrules;
static const char *start_file, *stop_file;
static _Atomic uint64_t *counts, *armed;
static struct {
    int poller;
    struct epoll_event event;
} registered[DESCRIPTORS];

/* ---- the schedule ---------------------------------------------------------------------------------------------- */

static int error_named(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } ERRORS[] = {
        {"EINTR", EINTR},           {"EAGAIN", EAGAIN}, {"ECONNRESET", ECONNRESET}, {"EPIPE", EPIPE},
        {"EMFILE", EMFILE},         {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM},         {"ENOSPC", ENOSPC},
        {"ECONNABORTED", ECONNABORTED}, {"EIO", EIO},   {"EINVAL", EINVAL},         {"ENOBUFS", ENOBUFS},
        {"ETIMEDOUT", ETIMEDOUT},   {"EPERM", EPERM},   {"ENOTCONN", ENOTCONN},
        {"HANG", HANG},             {"LOST", LOST},
    };
    for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++)
        if (strcmp(name, ERRORS[i].name) == 0)
            return ERRORS[i].number;
    return 0;
}

__attribute__((constructor)) static void read_schedule(void)
{
    const char *text = getenv("INJECT"), *file = getenv("INJECT_COUNTS");
    start_file = getenv("INJECT_START");
    stop_file = getenv("INJECT_STOP");
    if (text == NULL || file == NULL)
        return;
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 2 * RULES * sizeof *counts) < 0)
        _exit(99);
    counts = mmap(NULL, 2 * RULES * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    armed = counts + RULES;
    close(fd);
    while (*text != '\0' && nrules < RULES) {
        char what[24];
        int used = 0;
        rule *r = &rules[nrules];
        if (sscanf(text, "%23[^=]=%23[^/]/%u%n", r->call, what, &r->period, &used) != 3)
            _exit(98);
        r->error = error_named(what);
        r->most = r->error == 0 ? strtoul(what, NULL, 10) : 0;
        r->hold = strcmp(what, "HOLD") == 0;
        if (strstr(what, "ms") != NULL) {
            r->delay = (unsigned)r->most;
            r->most = 0;
        }
        if (r->error == 0 && r->most == 0 && r->delay == 0 && !r->hold)
            _exit(97);
        nrules++;
        text += used + (text[used] == ',');
    }
}

/* The call came from the module that holds the core. */
static bool from_core(void *return_address)
{
    static void *base;
    Dl_info info;
    if (dladdr(return_address, &info) == 0 || info.dli_fname == NULL)
        return false;
    if (base == NULL && strstr(info.dli_fname, "/_core/core.") != NULL)
        base = info.dli_fbase;
    return base != NULL && info.dli_fbase == base;
}

static bool exists(const char *path)
{
    return path != NULL && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

/* The call that was waited for. */
static bool is_due(unsigned i)
{
    uint64_t left = armed[i];
    while (left != 0 && !atomic_compare_exchange_weak(&armed[i], &left, left - 1))
        ;
    return left == 1;
}

/* Takes the time that the rule says. */
static void stall(const rule *r)
{
    usleep(r->delay * 1000);
    while (r->hold && !exists(stop_file))
        usleep(1000);
}

/* The rule that this call falls under, or NULL: then it goes its way, late perhaps. */
static const rule *meets(const char *call, void *return_address)
{
    const rule *met = NULL;
    bool asked = false;
    for (unsigned i = 0; i < nrules; i++) {
        rule *r = &rules[i];
        if (strcmp(r->call, call) != 0)
            continue;
        if (!asked && (!from_core(return_address) || (start_file != NULL && !exists(start_file))))
            return NULL;
        asked = true;
        if (r->period == 0 ? !is_due(i) : ++r->calls % r->period != 0 || met != NULL)
            continue;
        if (exists(stop_file))
            return NULL;
        counts[i]++;
        while (r->error == HANG)
            pause();
        if (r->delay != 0 || r->hold)
            stall(r);
        else
            met = r;
    }
    return met;
}

#define RETURN_ADDRESS __builtin_return_address(0)
#define NEXT(name)                                                                                                     \
    static __typeof__(name) *next;                                                                                     \
    if (next == NULL)                                                                                                  \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FAIL(rule, result)                                                                                             \
    do {                                                                                                               \
        errno = (rule)->error;                                                                                         \
        return result;                                                                                                 \
    } while (0)

/* ---- readiness ------------------------------------------------------------------------------------------------- */

int epoll_ctl(int poller, int op, int fd, struct epoll_event *event)
{
    NEXT(epoll_ctl);
    const rule *r = meets("epoll_ctl", RETURN_ADDRESS);
    if (r != NULL && op != EPOLL_CTL_DEL)
        FAIL(r, -1);
    int rc = next(poller, op, fd, event);
    if (rc == 0 && fd < DESCRIPTORS) {
        registered[fd].poller = op == EPOLL_CTL_ADD && (event->events & EPOLLET) != 0 ? poller + 1 : 0;
        if (op == EPOLL_CTL_ADD)
            registered[fd].event = *event;
    }
    return rc;
}

static void look_again(int fd)
{
    const int saved = errno;
    if (fd < DESCRIPTORS && registered[fd].poller > 0)
        syscall(SYS_epoll_ctl, registered[fd].poller - 1, EPOLL_CTL_MOD, fd, &registered[fd].event);
    errno = saved;
}

int epoll_wait(int poller, struct epoll_event *events, int n, int timeout)
{
    NEXT(epoll_wait);
    const rule *r = meets("epoll_wait", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, -1);
    return next(poller, events, n, timeout);
}

/* The default version by name: dlsym may find the oldest one, which has another idea of a condition. */
int pthread_cond_signal(pthread_cond_t *c)
{
    static int (*next)(pthread_cond_t *);
    if (meets("pthread_cond_signal", RETURN_ADDRESS) != NULL)
        return 0;
    if (next == NULL)
        next = (int (*)(pthread_cond_t *))dlvsym(RTLD_NEXT, "pthread_cond_signal", "GLIBC_2.3.2");
    if (next == NULL)
        next = (int (*)(pthread_cond_t *))dlsym(RTLD_NEXT, "pthread_cond_signal");
    return next(c);
}

/* ---- sockets --------------------------------------------------------------------------------------------------- */

ssize_t recv(int fd, void *to, size_t n, int flags)
{
    NEXT(recv);
    const rule *r = meets("recv", RETURN_ADDRESS);
    if (r == NULL)
        return next(fd, to, n, flags);
    look_again(fd);
    if (r->error != 0)
        FAIL(r, -1);
    return next(fd, to, n < r->most ? n : r->most, flags);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    NEXT(send);
    const rule *r = meets("send", RETURN_ADDRESS);
    if (r == NULL)
        return next(fd, from, n, flags);
    look_again(fd);
    if (r->error != 0)
        FAIL(r, -1);
    return next(fd, from, n < r->most ? n : r->most, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    NEXT(sendmsg);
    const rule *r = meets("sendmsg", RETURN_ADDRESS);
    if (r == NULL)
        return next(fd, msg, flags);
    look_again(fd);
    if (r->error != 0)
        FAIL(r, -1);
    struct msghdr less = *msg;
    struct iovec first = msg->msg_iov[0];
    first.iov_len = first.iov_len < r->most ? first.iov_len : r->most;
    less.msg_iov = &first;
    less.msg_iovlen = 1;
    return next(fd, &less, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t n);
ssize_t sendfile(int to, int from, off_t *offset, size_t n)
{
    NEXT(sendfile);
    const rule *r = meets("sendfile", RETURN_ADDRESS);
    if (r == NULL)
        return next(to, from, offset, n);
    look_again(to);
    if (r->error != 0)
        FAIL(r, -1);
    return next(to, from, offset, n < r->most ? n : r->most);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    NEXT(accept4);
    const rule *r = meets("accept4", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, -1);
    return next(fd, address, len, flags);
}

int shutdown(int fd, int how)
{
    NEXT(shutdown);
    const rule *r = meets("shutdown", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, -1);
    return next(fd, how);
}

/* ---- files and memory ------------------------------------------------------------------------------------------ */

ssize_t write(int fd, const void *from, size_t n)
{
    NEXT(write);
    const rule *r = meets("write", RETURN_ADDRESS);
    struct stat at;
    if (r == NULL && fstat(fd, &at) == 0 && S_ISREG(at.st_mode))
        r = meets("store", RETURN_ADDRESS);
    if (r == NULL)
        return next(fd, from, n);
    if (r->error != 0)
        FAIL(r, -1);
    return next(fd, from, n < r->most ? n : r->most);
}

ssize_t preadv2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    NEXT(preadv2);
    const rule *r = meets("preadv2", RETURN_ADDRESS);
    if (r != NULL && r->error != 0)
        FAIL(r, -1);
    return next(fd, v, n, offset, flags);
}

ssize_t pread(int fd, void *to, size_t n, off_t offset)
{
    NEXT(pread);
    const rule *r = meets("pread", RETURN_ADDRESS);
    if (r == NULL)
        return next(fd, to, n, offset);
    if (r->error != 0)
        FAIL(r, -1);
    return next(fd, to, n < r->most ? n : r->most, offset);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
    va_end(args);
    const rule *r = meets("open", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, -1);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#ifdef WITH_MEMORY
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
    const rule *r = meets("malloc", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, NULL);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    const rule *r = meets("malloc", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, NULL);
    return __libc_calloc(n, size);
}

void *aligned_alloc(size_t align, size_t n)
{
    const rule *r = meets("malloc", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, NULL);
    return __libc_memalign(align, n);
}

void *realloc(void *p, size_t n)
{
    const rule *r = meets("malloc", RETURN_ADDRESS);
    if (r != NULL)
        FAIL(r, NULL);
    return __libc_realloc(p, n);
}
#endif
