/* job.h - one job on a file: to make that of a request body, to append to it, to close it; or what its maker wants done.
 *
 * Each of these may wait for a disk, so a job is done where that holds up nobody. It has its file and its memory
 * for itself: nobody else touches them until it is done.
 */
#ifndef FW_JOB_H
#define FW_JOB_H

#include "fw.h"

#include <stdatomic.h>

typedef struct fw_job {
    struct fw_job *next;
    void *owner;         /* the connection that waits for it, or NULL */
    atomic_bool dropped; /* nobody waits: it need not be done */
    const char *dir;     /* where a file is made; borrowed */
    int fd;              /* -1: to be made */
    char *data;
    size_t n, cap;       /* to be written; allocated */
    size_t keep;         /* memory up to this size is used again */
    int rc;              /* FW_OK or -errno, when it is done */
    void (*work)(void *what);    /* done in place of all that, or NULL */
    void (*discard)(void *what); /* ... and this when nobody wants it any more */
    void *what;
} fw_job;

/* Takes over `fd` (-1: none).  NULL when memory is short. */
fw_job *fw_job_open(int fd, const char *dir);

/* Does `work`, if there is any. Else makes the file if there is none, and appends; with nothing to write it only tries whether a file can be made. May wait for
 * the disk. On failure there is no file afterwards. */
void fw_job_run(fw_job *j);

/* Its owner is gone. Under the lock that guards the owner. */
void fw_job_disown(fw_job *j);

/* Closes and frees what it still has. May wait for the disk. */
void fw_job_close(fw_job *j);

#endif
