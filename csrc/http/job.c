/* job.c - one job on the file of a request body. Its unit test is in test_body.c, whose bodies lend it their files. */
#include "http/job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

fw_job *fw_job_open(int fd, const char *dir)
{
    fw_job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return NULL;
    j->fd = fd;
    j->dir = dir;
    return j;
}

void fw_job_disown(fw_job *j)
{
    j->owner = NULL;
    atomic_store(&j->dropped, true);
}

void fw_job_close(fw_job *j)
{
    if (j->what != NULL)
        j->discard(j->what);
    if (j->fd >= 0)
        close(j->fd);
    free(j->data);
    free(j);
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

void fw_job_run(fw_job *j)
{
    if (j->work != NULL) {
        j->work(j->what);
        return;
    }
    int fd = j->fd >= 0 ? j->fd : open_temp(j->dir);
    j->rc = fd < 0 ? fd : write_all(fd, j->data, j->n); /* behind what is there: only we move its position */
    if (fd >= 0 && (j->rc != FW_OK || j->n == 0)) {
        close(fd);
        fd = -1;
    }
    j->fd = fd < 0 ? -1 : fd;
    if (j->cap > j->keep) {
        free(j->data);
        j->data = NULL;
    }
}
