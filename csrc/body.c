/* body.c - one request body: memory up to a mark, then an unlinked temporary file. */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_ROOM 4096
#define LINE_WINDOW 16384

void fw_body_open(fw_body *b)
{
    memset(b, 0, sizeof *b);
    b->fd = -1;
}

void fw_body_close(fw_body *b)
{
    free(b->own);
    if (b->fd >= 0)
        close(b->fd);
    fw_body_open(b);
}

void fw_body_borrow(fw_body *b, const char *data, size_t n)
{
    b->data = data;
    b->len = n;
}

/* ---- growing --------------------------------------------------------------------------------------------------- */

static int reserve(fw_body *b, size_t cap)
{
    char *own = realloc(b->own, cap);
    if (own == NULL)
        return -ENOMEM;
    b->own = own;
    b->data = own;
    b->cap = cap;
    return FW_OK;
}

int fw_body_expect(fw_body *b, uint64_t total, const fw_config *cfg)
{
    if (total > cfg->body_memory)
        return FW_OK; /* it will be a file; nothing to reserve */
    return reserve(b, (size_t)total);
}

/* An anonymous file in `dir`: O_TMPFILE where the file system has it, else created and unlinked. */
static int open_temp(const char *dir)
{
#ifdef O_TMPFILE
    int quick = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (quick >= 0)
        return quick;
    if (errno == ENOSPC || errno == EMFILE || errno == ENFILE)
        return -errno;
#endif
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/fastwsgi-body-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    unlink(path);
    return fd;
}

static int write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, data, n);
        if (w < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        data += w;
        n -= (size_t)w;
    }
    return FW_OK;
}

static int spill(fw_body *b, const fw_config *cfg)
{
    int fd = open_temp(cfg->temp_dir);
    if (fd < 0)
        return fd;
    int rc = write_all(fd, b->data, (size_t)b->len);
    if (rc != FW_OK) {
        close(fd);
        return rc;
    }
    free(b->own);
    b->own = NULL;
    b->data = NULL;
    b->cap = 0;
    b->fd = fd;
    return FW_OK;
}

int fw_body_append(fw_body *b, const char *data, size_t n, const fw_config *cfg)
{
    if (b->fd < 0 && b->len + n > cfg->body_memory) {
        int rc = spill(b, cfg);
        if (rc != FW_OK)
            return rc;
    }
    if (b->fd >= 0) {
        int rc = write_all(b->fd, data, n);
        if (rc == FW_OK)
            b->len += n;
        return rc;
    }
    if (b->len + n > b->cap) {
        size_t cap = b->cap != 0 ? b->cap * 2 : FIRST_ROOM;
        while (cap < b->len + n)
            cap *= 2;
        int rc = reserve(b, cap);
        if (rc != FW_OK)
            return rc;
    }
    memcpy(b->own + b->len, data, n);
    b->len += n;
    return FW_OK;
}

char *fw_body_room(const fw_body *b, size_t *room)
{
    if (b->own == NULL || b->len >= b->cap)
        return NULL;
    *room = b->cap - (size_t)b->len;
    return b->own + b->len;
}

void fw_body_grew(fw_body *b, size_t n)
{
    b->len += n;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static ssize_t read_at(int fd, char *to, size_t n, uint64_t offset)
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
        ssize_t r = read_at(b->fd, to, n, b->pos);
        if (r < 0)
            return r;
    } else if (n > 0) {
        memcpy(to, b->data + b->pos, n);
    }
    b->pos += n;
    return (ssize_t)n;
}

static ssize_t line_in_file(const fw_body *b, size_t max)
{
    char window[LINE_WINDOW];
    size_t seen = 0;
    while (seen < max) {
        size_t n = max - seen < sizeof window ? max - seen : sizeof window;
        ssize_t r = read_at(b->fd, window, n, b->pos + seen);
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
        return line_in_file(b, max);
    const char *from = b->data + b->pos;
    const char *lf = memchr(from, '\n', max);
    return lf != NULL ? lf - from + 1 : (ssize_t)max;
}
