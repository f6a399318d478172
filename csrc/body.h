/* body.h - one request body: borrowed from the receive buffer, or in memory up to a mark, then in an unlinked file.
 *
 * A body grows until it is whole; then the application reads it through a position that never passes its end.
 */
#ifndef FW_BODY_H
#define FW_BODY_H

#include "fw.h"

typedef struct fw_body {
    const char *data; /* the bytes while they are in memory: `own`, or borrowed */
    char *own;        /* allocated memory, or NULL */
    size_t cap;       /* of `own` */
    uint64_t len;     /* bytes so far */
    uint64_t pos;     /* bytes the application has read */
    int fd;           /* the temporary file, or -1 */
} fw_body;

void fw_body_open(fw_body *b);
void fw_body_close(fw_body *b);

/* The whole body is `n` bytes at `data`, which outlives it. */
void fw_body_borrow(fw_body *b, const char *data, size_t n);

/* Announces a body of `total` bytes: memory is reserved if it may stay in memory.  FW_OK or -errno. */
int fw_body_expect(fw_body *b, uint64_t total, const fw_config *cfg);

/* Appends a copy; past cfg->body_memory everything moves to a temporary file.  FW_OK or -errno (-ENOSPC: disk full). */
int fw_body_append(fw_body *b, const char *data, size_t n, const fw_config *cfg);

/* Where at most `*room` bytes may be received directly (then fw_body_grew), or NULL if the body is not in owned
 * memory with free space. */
char *fw_body_room(const fw_body *b, size_t *room);
void fw_body_grew(fw_body *b, size_t n);

static inline uint64_t fw_body_left(const fw_body *b)
{
    return b->len - b->pos;
}

/* Reads up to `n` bytes at the position and moves it.  Returns their number (less than `n` only at the end) or
 * -errno. */
ssize_t fw_body_read(fw_body *b, char *to, size_t n);

/* The length of the next line, its LF included, or of what is left, but at most `max`; or -errno.  Moves nothing. */
ssize_t fw_body_line(const fw_body *b, size_t max);

#endif
