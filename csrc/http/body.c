/* body.c - one request body: memory up to a mark, then an unlinked temporary file. */
#include "http/body.h"
#include "http/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_ROOM 4096
#define LEAST_GATHER 32768
#define MOST_GATHER (256u * 1024) /* one hand-over for so many bytes costs next to nothing */
#define LINE_WINDOW 16384

void fw_body_open(fw_body *b)
{
    memset(b, 0, sizeof *b);
    b->fd = -1;
}

void fw_body_close(fw_body *b)
{
    free(b->own);
    if (fw_unlikely(b->fd >= 0))
        close(b->fd);
    if (fw_unlikely(b->job != NULL))
        fw_job_disown(b->job);
    fw_body_open(b);
}

void fw_body_borrow(fw_body *b, const char *data, size_t n)
{
    b->data = data;
    b->len = n;
}

void fw_body_adopt(fw_body *b, int fd, uint64_t n)
{
    b->fd = fd;
    b->len = b->stored = n;
    b->spills = b->probed = true;
}

/* ---- growing --------------------------------------------------------------------------------------------------- */

/* Bytes in memory. */
static size_t held(const fw_body *b)
{
    return (size_t)(b->len - b->stored);
}

static int reserve(fw_body *b, size_t cap)
{
    char *own = realloc(b->own, cap);
    if (own == NULL)
        return -ENOMEM;
    b->own = own;
    b->data = b->fd < 0 ? own : NULL;
    b->cap = cap;
    return FW_OK;
}

int fw_body_expect(fw_body *b, uint64_t total, const fw_config *cfg)
{
    b->spills = total > cfg->body_memory;
    return b->spills ? FW_OK : reserve(b, (size_t)total);
}

int fw_body_append(fw_body *b, const char *data, size_t n)
{
    const size_t have = held(b);
    if (have + n > b->cap) {
        size_t cap = b->cap != 0 ? b->cap * 2 : FIRST_ROOM;
        while (cap < have + n)
            cap *= 2;
        int rc = reserve(b, cap);
        if (rc != FW_OK)
            return rc;
    }
    memcpy(b->own + have, data, n);
    b->len += n;
    return FW_OK;
}

char *fw_body_room(fw_body *b, size_t *room, const fw_config *cfg)
{
    if (held(b) >= b->cap && (!b->spills || reserve(b, fw_body_gather(cfg)) != FW_OK))
        return NULL;
    *room = b->cap - held(b);
    return b->own + held(b);
}

void fw_body_grew(fw_body *b, size_t n)
{
    b->len += n;
}

/* ---- storing --------------------------------------------------------------------------------------------------- */

size_t fw_body_gather(const fw_config *cfg)
{
    const size_t n = cfg->body_memory;
    return n < LEAST_GATHER ? LEAST_GATHER : n > MOST_GATHER ? MOST_GATHER : n;
}

bool fw_body_due(fw_body *b, bool whole, const fw_config *cfg)
{
    if (b->own != NULL && b->len > cfg->body_memory) /* else it is borrowed: it lies in the receive buffer */
        b->spills = true;
    if (fw_likely(!b->spills))
        return false;
    if (b->len == 0)
        return !b->probed;
    return held(b) >= fw_body_gather(cfg) || (whole && held(b) != 0) || (b->fd < 0 && b->len > cfg->body_memory);
}

fw_job *fw_body_lend(fw_body *b, void *owner, const fw_config *cfg)
{
    fw_job *j = fw_job_open(b->fd, cfg->temp_dir);
    if (j == NULL)
        return NULL;
    j->owner = owner;
    j->data = b->own;
    j->n = held(b);
    j->cap = b->cap;
    j->keep = fw_body_gather(cfg);
    b->own = NULL;
    b->data = NULL;
    b->cap = 0;
    b->fd = -1;
    b->job = j;
    return j;
}

int fw_body_take_back(fw_body *b)
{
    fw_job *j = b->job;
    const int rc = j->rc;
    b->fd = j->fd;
    b->own = j->data;
    b->cap = j->data != NULL ? j->cap : 0;
    b->stored += rc == FW_OK ? j->n : 0;
    b->probed = true;
    b->job = NULL;
    j->fd = -1;
    j->data = NULL;
    fw_job_close(j);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

ssize_t fw_body_read_file(int fd, char *to, size_t n, uint64_t offset)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(fd, to + got, n - got, (off_t)(offset + got));
        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (r == 0)
            return -EIO; /* somebody truncated our unlinked file */
        got += (size_t)r;
    }
    return (ssize_t)got;
}

ssize_t fw_body_read(fw_body *b, char *to, size_t n)
{
    uint64_t left = fw_body_left(b);
    if (n > left)
        n = (size_t)left;
    if (b->fd >= 0) {
        ssize_t r = fw_body_read_file(b->fd, to, n, b->pos);
        if (r < 0)
            return r;
    } else if (n > 0) {
        memcpy(to, b->data + b->pos, n);
    }
    b->pos += n;
    return (ssize_t)n;
}

ssize_t fw_body_line_file(int fd, uint64_t offset, size_t max)
{
    char window[LINE_WINDOW];
    size_t seen = 0;
    while (seen < max) {
        size_t n = max - seen < sizeof window ? max - seen : sizeof window;
        ssize_t r = fw_body_read_file(fd, window, n, offset + seen);
        if (r < 0)
            return r;
        const char *lf = memchr(window, '\n', n);
        if (lf != NULL)
            return (ssize_t)(seen + (size_t)(lf - window) + 1);
        seen += n;
    }
    return (ssize_t)seen;
}

ssize_t fw_body_line(const fw_body *b, size_t max)
{
    uint64_t left = fw_body_left(b);
    if (max > left)
        max = (size_t)left;
    if (max == 0)
        return 0;
    if (b->fd >= 0)
        return fw_body_line_file(b->fd, b->pos, max);
    const char *from = b->data + b->pos;
    const char *lf = memchr(from, '\n', max);
    return lf != NULL ? lf - from + 1 : (ssize_t)max;
}
