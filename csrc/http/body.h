/* body.h - one request body: borrowed from the receive buffer, or in memory up to a mark, then in an unlinked file.
 *
 * A body grows until it is whole; then the application reads it through a position that never passes its end. Nothing here
 * waits for a disk but the reading of a body that is in a file. What is to be written gathers in memory; when it is due, file
 * and memory are lent to a job (job.h), and come back when that is done.
 */
#ifndef FW_BODY_H
#define FW_BODY_H

#include "fw.h"

struct fw_job;

typedef struct fw_body {
    const char *data; /* the bytes while all of them are in memory: `own`, or borrowed */
    char *own;        /* allocated memory, or NULL: all bytes, or those that are not in the file yet */
    size_t cap;       /* of `own` */
    uint64_t len;     /* bytes so far */
    uint64_t stored;  /* ... of them in the file */
    uint64_t pos;     /* bytes the application has read */
    int fd;           /* the temporary file, or -1 */
    bool spills;      /* larger than memory may be: it has a file, or will get one */
    bool probed;      /* ... and a file can be made */
    struct fw_job *job; /* to which file and memory are lent, or NULL */
} fw_body;

void fw_body_open(fw_body *b);

/* What is lent stays the job's, which then has no owner any more. */
void fw_body_close(fw_body *b);

/* The whole body is `n` bytes at `data`, which outlives it. */
void fw_body_borrow(fw_body *b, const char *data, size_t n);

/* The whole body is `n` bytes in the file `fd`, which is the body's from here on. */
void fw_body_adopt(fw_body *b, int fd, uint64_t n);

/* Announces a body of `total` bytes: reserves memory, or (too large for that) makes it due for a look whether a file can be
 * made, so that it can be refused before it comes.  FW_OK or -errno. */
int fw_body_expect(fw_body *b, uint64_t total, const fw_config *cfg);

/* Appends a copy in memory.  FW_OK or -ENOMEM. */
int fw_body_append(fw_body *b, const char *data, size_t n);

/* Where at most `*room` bytes may be received directly (then fw_body_grew), or NULL if memory is short. */
char *fw_body_room(fw_body *b, size_t *room, const fw_config *cfg);
void fw_body_grew(fw_body *b, size_t n);

/* Bytes that gather in memory before they are written. */
size_t fw_body_gather(const fw_config *cfg);

/* There is a job to be done for it; `whole`: nothing more will come. */
bool fw_body_due(fw_body *b, bool whole, const fw_config *cfg);

/* Lends file and memory of a body that is due to a new job for `owner`; NULL: no memory. */
struct fw_job *fw_body_lend(fw_body *b, void *owner, const fw_config *cfg);

/* The job is done: takes back what was lent, and frees it.  FW_OK, or the -errno of what failed: then all that is left
 * to do with the body is to close it. */
int fw_body_take_back(fw_body *b);

static inline uint64_t fw_body_left(const fw_body *b)
{
    return b->len - b->pos;
}

/* Reads up to `n` bytes at the position and moves it.  Returns their number (less than `n` only at the end) or
 * -errno. */
ssize_t fw_body_read(fw_body *b, char *to, size_t n);

/* The length of the next line, its LF included, or of what is left, but at most `max`; or -errno.  Moves nothing. */
ssize_t fw_body_line(const fw_body *b, size_t max);

/* The same with a body's file, for a reader that has noted what it needs: `n` bytes from `offset` on are there.  May wait
 * for the disk. */
ssize_t fw_body_read_file(int fd, char *to, size_t n, uint64_t offset);
ssize_t fw_body_line_file(int fd, uint64_t offset, size_t max);

#endif
