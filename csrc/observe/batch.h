/* batch.h - whole lines gathered for one write.
 *
 * Lines of all threads go into one buffer; whoever is about to wait writes what is there, without the loop's lock. A write
 * begins and ends with a line, so that lines of processes that share the file (O_APPEND) stay whole. What cannot be
 * written is lost and counted: the buffer never grows, and nobody but the writer waits for a slow disk.
 *
 * Nobody at all waits for the reader of a pipe, terminal or socket: what it does not take is kept for a later write, and
 * once both buffers are full, lines are lost.
 */
#ifndef FW_BATCH_H
#define FW_BATCH_H

#include "fw.h"

#include <pthread.h>
#include <stdatomic.h>

#define FW_BATCH_DUE 32768          /* bytes that are written without waiting for a pause */
#define FW_BATCH_MOST (256u * 1024) /* bytes that may gather while a write takes long; more lines are lost */

typedef struct fw_batch {
    int fd;
    size_t share;         /* most bytes of a write that others cannot write into: of a pipe or terminal; else 0 */
    pthread_mutex_t fill; /* around the buffer that is being filled: held for the making of a line */
    pthread_mutex_t pour; /* around a write: held for as long as that takes */
    char *filling, *pouring;
    char *rest;   /* of what is being poured, that the reader has not taken */
    size_t nrest; /* ... its bytes */
    atomic_size_t len; /* of what gathers */
    atomic_ullong lost; /* lines, until somebody is told */
    atomic_ullong lost_ever; /* ... since the beginning */
    atomic_int error;   /* errno of the last failure */
    bool torn;          /* the last write ended within a line */
    atomic_bool waits;  /* there is a rest: it is tried again now and then, by whoever polls */
} fw_batch;

/* For the descriptor `fd`, which stays the caller's. FW_OK or -ENOMEM. */
int fw_batch_init(fw_batch *b, int fd);

/* Frees the buffers; what still gathers is gone. */
void fw_batch_clear(fw_batch *b);

/* Begins a line: where it goes and, in `*end`, where the room ends. To be followed by fw_batch_end on the same thread. */
char *fw_batch_begin(fw_batch *b, char **end);

/* The line ends at `to`, with its line feed; NULL: there was no room for it, and it is lost. */
void fw_batch_end(fw_batch *b, char *to);

/* Writes what has gathered, or as much as the reader takes. May wait for the disk, or for another thread that does. */
void fw_batch_flush(fw_batch *b);

/* The same for the last time: the reader has `ms` to take it, and the rest is lost. */
void fw_batch_finish(fw_batch *b, int ms);

#define FW_BATCH_RETRY_MS 100 /* between two tries, if nothing else happens */

static inline size_t fw_batch_len(const fw_batch *b)
{
    return atomic_load_explicit(&b->len, memory_order_relaxed);
}

#endif
