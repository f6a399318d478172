/* doing.c - asking the kernel, and adding up what it says. */
#include "observe/doing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define STEP_NS 5000000 /* between two looks while calls last */
#define IDLE_STEPS 4    /* ... and as many times that while none does */
#define KEPT_US 50000   /* a thread gets the interpreter lock sooner than this if nobody keeps it */
#define LOCK_SIZE 64    /* bytes of a lock within which threads wait for it */

struct fw_sampler {
    const fw_board *board;
    pthread_t thread;
    pthread_mutex_t lock;  /* around `seen` */
    atomic_bool quit;
    _Atomic uint64_t address; /* of the interpreter lock, 0: not known */
    _Atomic uint32_t witness, turns;
    uint64_t wanted;    /* us: since when the witness has been seen to wait, */
    uint32_t had;       /* ... which is its turn after so many */
    uint64_t looked_at; /* us */
    uint8_t *doing;     /* enum fw_doing of each thread at this look, FW_DOINGS: it is in no call */
    fw_seen seen[];     /* by thread */
};

static uint64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t fw_doing_cpu(void)
{
    return now_us(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- one thread -------------------------------------------------------------------------------------------------- */

#if defined(__linux__)

uint32_t fw_doing_tid(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

static enum fw_doing class_of(long call)
{
    switch (call) {
#if defined(SYS_nanosleep)
    case SYS_nanosleep:
#endif
    case SYS_clock_nanosleep: return FW_DOING_SLEEP;
#if defined(SYS_poll)
    case SYS_poll:
#endif
#if defined(SYS_select)
    case SYS_select:
#endif
#if defined(SYS_epoll_wait)
    case SYS_epoll_wait:
#endif
#if defined(SYS_recvfrom)
    case SYS_recvfrom:
    case SYS_sendto:
#endif
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_epoll_pwait:
    case SYS_recvmsg:
    case SYS_sendmsg:
    case SYS_connect:
    case SYS_accept4:
    case SYS_wait4:
    case SYS_waitid: return FW_DOING_NET;
    case SYS_read:
    case SYS_write:
    case SYS_readv:
    case SYS_writev:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_openat:
#if defined(SYS_open)
    case SYS_open:
#endif
    case SYS_flock:
    case SYS_fcntl: return FW_DOING_DISK;
    default: return FW_DOING_OTHER;
    }
}

/* What the thread does, and where it waits if that is for a lock. */
static enum fw_doing look_at(uint32_t tid, uint64_t *address)
{
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/self/task/%u/syscall", tid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FW_DOING_OTHER;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return FW_DOING_OTHER;
    text[n] = '\0';
    char *end;
    const long call = strtol(text, &end, 10);
    if (end == text) /* "running" */
        return FW_DOING_RUN;
    if (call < 0) /* a page is brought in */
        return FW_DOING_DISK;
    if (call != SYS_futex)
        return class_of(call);
    *address = strtoull(end, NULL, 16);
    return FW_DOING_LOCK;
}

#else

uint32_t fw_doing_tid(void)
{
    return 0;
}

static enum fw_doing look_at(uint32_t tid, uint64_t *address)
{
    (void)tid;
    (void)address;
    return FW_DOING_OTHER;
}

#endif

uint64_t fw_doing_waits_at(uint32_t tid)
{
    uint64_t address = 0;
    return look_at(tid, &address) == FW_DOING_LOCK ? address : 0;
}

/* ---- all threads ------------------------------------------------------------------------------------------------- */

static enum fw_doing look(const fw_sampler *s, uint32_t tid)
{
    uint64_t address = 0;
    const uint64_t lock = atomic_load(&s->address);
    const enum fw_doing doing = look_at(tid, &address);
    if (doing == FW_DOING_LOCK && lock != 0 && address + LOCK_SIZE > lock && address < lock + LOCK_SIZE)
        return FW_DOING_GIL;
    return doing;
}

/* For how long the witness has waited for the lock by now, if that is so long that somebody keeps it; else 0. It wakes
 * every few milliseconds to ask for it again, and may be seen to run then. */
static uint64_t kept_for(fw_sampler *s, uint64_t now)
{
    const uint32_t witness = atomic_load(&s->witness), turns = atomic_load(&s->turns);
    const enum fw_doing doing = witness != 0 ? look(s, witness) : FW_DOING_OTHER;
    if (s->had != turns || (doing != FW_DOING_GIL && doing != FW_DOING_RUN))
        s->wanted = 0;
    s->had = turns;
    if (s->wanted == 0 && doing == FW_DOING_GIL)
        s->wanted = now;
    const uint64_t us = s->wanted != 0 ? now - s->wanted : 0;
    return us >= KEPT_US ? us : 0;
}

/* Who keeps the lock: a thread that runs, else one that waits for something else. */
static unsigned keeper_of(const fw_sampler *s, uint64_t kept)
{
    unsigned found = 0;
    for (unsigned i = 0; kept != 0 && i < s->board->threads; i++) {
        if (s->doing[i] == FW_DOING_RUN)
            return i + 1;
        if (s->doing[i] != FW_DOING_GIL && s->doing[i] != FW_DOINGS && found == 0)
            found = i + 1;
    }
    return found;
}

static void add(fw_sampler *s, unsigned thread, uint64_t now, uint64_t kept, unsigned keeper)
{
    const fw_board_call *e = &s->board->calls[thread];
    fw_seen *f = &s->seen[thread];
    uint64_t us = now - s->looked_at;
    if (f->number != e->number) {
        *f = (fw_seen){.number = e->number};
        us = now > e->since ? now - e->since : 0;
    }
    f->us[s->doing[thread]] += us;
    if (keeper == thread + 1)
        f->kept += f->kept == 0 ? kept : us;
    else if (s->doing[thread] == FW_DOING_GIL && keeper != 0)
        f->keeper = s->board->calls[keeper - 1];
}

/* True if some call lasts. */
static bool look_around(fw_sampler *s)
{
    const fw_board *b = s->board;
    const uint64_t now = now_us(CLOCK_MONOTONIC);
    bool any = false;
    for (unsigned i = 0; i < b->threads; i++) {
        const bool inside = b->calls[i].phase == FW_PHASE_APPLICATION;
        s->doing[i] = (uint8_t)(inside ? look(s, b->calls[i].tid) : FW_DOINGS);
        any |= inside;
    }
    if (any) {
        const uint64_t kept = kept_for(s, now);
        const unsigned keeper = keeper_of(s, kept);
        pthread_mutex_lock(&s->lock);
        for (unsigned i = 0; i < b->threads; i++)
            if (s->doing[i] != FW_DOINGS)
                add(s, i, now, kept, keeper);
        pthread_mutex_unlock(&s->lock);
    }
    s->looked_at = now;
    return any;
}

static void *run(void *arg)
{
    fw_sampler *s = arg;
    const struct timespec step = {.tv_nsec = STEP_NS};
    s->looked_at = now_us(CLOCK_MONOTONIC);
    while (!atomic_load(&s->quit)) {
        const bool any = look_around(s);
        for (int i = 0; i < (any ? 1 : IDLE_STEPS) && !atomic_load(&s->quit); i++)
            nanosleep(&step, NULL);
    }
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int start(fw_sampler *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int fw_sampler_open(fw_sampler **out, const fw_board *board)
{
    fw_sampler *s = calloc(1, sizeof *s + board->threads * sizeof *s->seen);
    if (s == NULL)
        return -ENOMEM;
    s->board = board;
    s->doing = calloc(board->threads, 1);
    pthread_mutex_init(&s->lock, NULL);
    const int rc = s->doing == NULL ? -ENOMEM : start(s);
    if (rc == FW_OK) {
        *out = s;
        return FW_OK;
    }
    pthread_mutex_destroy(&s->lock);
    free(s->doing);
    free(s);
    return rc;
}

void fw_sampler_close(fw_sampler *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->quit, true);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    free(s->doing);
    free(s);
}

void fw_sampler_know_lock(fw_sampler *s, uint64_t address)
{
    atomic_store(&s->address, address);
}

void fw_sampler_witness(fw_sampler *s, uint32_t tid, uint32_t turns)
{
    atomic_store(&s->turns, turns);
    atomic_store(&s->witness, tid);
}

fw_seen fw_sampler_seen(fw_sampler *s, unsigned thread, uint32_t number)
{
    fw_seen found = {0};
    pthread_mutex_lock(&s->lock);
    if (thread < s->board->threads && s->seen[thread].number == number)
        found = s->seen[thread];
    pthread_mutex_unlock(&s->lock);
    return found;
}
