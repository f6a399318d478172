/* batch.c - whole lines gathered for one write. */
#include "observe/batch.h"
#include "system/sigpipe.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fw_batch_init(fw_batch *b, int fd)
{
    struct stat st;
    memset(b, 0, sizeof *b);
    b->fd = fd;
    b->share = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? 0 : PIPE_BUF;
    b->filling = malloc(FW_BATCH_MOST); /* pages that are never written to take no memory */
    b->pouring = malloc(FW_BATCH_MOST);
    if (b->filling == NULL || b->pouring == NULL) {
        free(b->filling);
        free(b->pouring);
        return -ENOMEM;
    }
    pthread_mutex_init(&b->fill, NULL);
    pthread_mutex_init(&b->pour, NULL);
    return FW_OK;
}

void fw_batch_clear(fw_batch *b)
{
    free(b->filling);
    free(b->pouring);
    pthread_mutex_destroy(&b->fill);
    pthread_mutex_destroy(&b->pour);
}

static void count_lost(fw_batch *b, unsigned long long lines)
{
    atomic_fetch_add(&b->lost, lines);
    atomic_fetch_add(&b->lost_ever, lines);
}

char *fw_batch_begin(fw_batch *b, char **end)
{
    pthread_mutex_lock(&b->fill);
    *end = b->filling + FW_BATCH_MOST;
    return b->filling + fw_batch_len(b);
}

void fw_batch_end(fw_batch *b, char *to)
{
    if (fw_likely(to != NULL)) {
        atomic_store_explicit(&b->len, (size_t)(to - b->filling), memory_order_relaxed);
    } else {
        atomic_store(&b->error, ENOBUFS);
        count_lost(b, 1);
    }
    pthread_mutex_unlock(&b->fill);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void lose(fw_batch *b, const char *s, size_t n, int error)
{
    unsigned long long lines = 0;
    for (const char *end = s + n; s < end && (s = memchr(s, '\n', (size_t)(end - s))) != NULL; s++)
        lines++;
    atomic_store(&b->error, error);
    count_lost(b, lines);
}

/* As many whole lines as one write may have; a single line that is longer goes by itself. */
static size_t portion(const fw_batch *b, const char *s, size_t n)
{
    if (b->share == 0 || n <= b->share)
        return n;
    for (size_t i = b->share; i-- > 0;)
        if (s[i] == '\n')
            return i + 1;
    const char *lf = memchr(s + b->share, '\n', n - b->share);
    return lf != NULL ? (size_t)(lf - s) + 1 : n;
}

/* The reader of a pipe, terminal or socket takes nothing now. */
static bool is_full(const fw_batch *b, int ms)
{
    struct pollfd p = {.fd = b->fd, .events = POLLOUT};
    return poll(&p, 1, ms) == 0;
}

/* write(2), of which SIGPIPE is no more than EPIPE; there is none from a regular file. */
static ssize_t write_some(const fw_batch *b, const char *s, size_t n)
{
    if (b->share == 0)
        return write(b->fd, s, n);
    if (is_full(b, 0)) {
        errno = EAGAIN;
        return -1;
    }
    fw_sigpipe signal;
    fw_sigpipe_hold(&signal);
    const ssize_t done = write(b->fd, s, n);
    fw_sigpipe_drop(&signal, done < 0 && errno == EPIPE);
    return done;
}

static void lose_rest(fw_batch *b, int error)
{
    lose(b, b->rest, b->nrest, error);
    b->nrest = 0;
}

/* Writes `n` bytes of the rest. False: the reader takes no more, or the system refuses, and the rest is lost. */
static bool pour_out(fw_batch *b, size_t n)
{
    while (n > 0) {
        const ssize_t done = write_some(b, b->rest, n);
        if (done > 0) {
            b->torn = b->rest[done - 1] != '\n';
            b->rest += done;
            b->nrest -= (size_t)done;
            n -= (size_t)done;
        } else if (done < 0 && b->share != 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return false;
        } else if (done == 0 || errno != EINTR) {
            lose_rest(b, done == 0 ? EIO : errno);
            return false;
        }
    }
    return true;
}

/* The lines that have gathered are what is poured next. */
static void take_gathered(fw_batch *b)
{
    pthread_mutex_lock(&b->fill);
    char *s = b->filling;
    b->nrest = fw_batch_len(b);
    b->filling = b->pouring;
    b->pouring = b->rest = s;
    atomic_store_explicit(&b->len, 0, memory_order_relaxed);
    pthread_mutex_unlock(&b->fill);
    if (b->nrest > 0 && b->torn && write_some(b, "\n", 1) == 1) /* what comes next is not to be taken for the rest of a line */
        b->torn = false;
}

/* The rest, if there is one, and then what has gathered. */
static void pour(fw_batch *b)
{
    for (int more = b->nrest > 0; more >= 0; more--) {
        if (b->nrest == 0)
            take_gathered(b);
        while (b->nrest > 0 && pour_out(b, portion(b, b->rest, b->nrest)))
            ;
        if (b->nrest > 0)
            break;
    }
    atomic_store_explicit(&b->waits, b->nrest > 0, memory_order_relaxed);
}

void fw_batch_flush(fw_batch *b)
{
    pthread_mutex_lock(&b->pour);
    pour(b);
    pthread_mutex_unlock(&b->pour);
}

void fw_batch_finish(fw_batch *b, int ms)
{
    pthread_mutex_lock(&b->pour);
    for (;;) {
        pour(b);
        if (b->nrest == 0 && fw_batch_len(b) == 0)
            break;
        if (b->nrest != 0 && is_full(b, ms)) {
            lose_rest(b, ENOBUFS);
            take_gathered(b);
            lose_rest(b, ENOBUFS);
            break;
        }
    }
    atomic_store(&b->waits, false);
    pthread_mutex_unlock(&b->pour);
}
