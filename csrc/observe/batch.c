/* batch.c - whole lines gathered for one write. */
#include "observe/batch.h"
#include "system/sigpipe.h"

#include <errno.h>
#include <limits.h>
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
        atomic_fetch_add(&b->lost, 1);
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
    atomic_fetch_add(&b->lost, lines);
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

/* write(2), of which SIGPIPE is no more than EPIPE; there is none from a regular file. */
static ssize_t write_some(const fw_batch *b, const char *s, size_t n)
{
    if (b->share == 0)
        return write(b->fd, s, n);
    fw_sigpipe signal;
    fw_sigpipe_hold(&signal);
    const ssize_t done = write(b->fd, s, n);
    fw_sigpipe_drop(&signal, done < 0 && errno == EPIPE);
    return done;
}

/* Writes it all, or until the system refuses: then the rest is lost. */
static bool pour_out(fw_batch *b, const char *s, size_t n)
{
    while (n > 0) {
        const ssize_t done = write_some(b, s, n);
        if (done > 0) {
            b->torn = s[done - 1] != '\n';
            s += done;
            n -= (size_t)done;
        } else if (done == 0 || errno != EINTR) {
            lose(b, s, n, done == 0 ? EIO : errno);
            return false;
        }
    }
    return true;
}

void fw_batch_flush(fw_batch *b)
{
    pthread_mutex_lock(&b->pour);
    pthread_mutex_lock(&b->fill);
    char *s = b->filling;
    size_t n = fw_batch_len(b);
    b->filling = b->pouring;
    b->pouring = s;
    atomic_store_explicit(&b->len, 0, memory_order_relaxed);
    pthread_mutex_unlock(&b->fill);
    if (n > 0 && b->torn && write_some(b, "\n", 1) == 1) /* what comes next is not to be taken for the rest of a line */
        b->torn = false;
    while (n > 0) {
        const size_t some = portion(b, s, n);
        if (!pour_out(b, s, some)) {
            lose(b, s + some, n - some, atomic_load(&b->error));
            break;
        }
        s += some;
        n -= some;
    }
    pthread_mutex_unlock(&b->pour);
}
