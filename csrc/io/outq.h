/* outq.h - the output queue of one connection: copied bytes, referenced bytes and files, in order.
 *
 * Writes are tried directly (fw_outq_flush); what the socket does not take stays queued and is flushed again when the
 * poller says so.  Referenced memory and files belong to an `owner` (a Python object, to the core an opaque pointer):
 * once the last byte of such a piece has been sent or dropped, the owner is put on the cache's list of owners to release,
 * and the thread that holds the interpreter lock releases it (fw_chunk_cache_to_release).
 *
 * A cache keeps a few empty chunks so that the steady state allocates nothing.  Neither cache nor queue locks: both
 * belong to the thread that owns the connection at the time, or to whoever has passed the gate of a thread that gathers
 * (thread.h).
 */
#ifndef FW_OUTQ_H
#define FW_OUTQ_H

#include "fw.h"
#include "tls/tls.h"

#define FW_CHUNK 16384 /* bytes of one cached chunk of copied output */

typedef struct fw_piece fw_piece;

typedef struct fw_chunk_cache {
    fw_piece *free; /* empty chunks */
    unsigned nfree;
    fw_piece *to_release; /* pieces whose owner waits to be released */
} fw_chunk_cache;

typedef struct fw_outq {
    fw_piece *head, *tail;
    size_t bytes; /* queued and not yet sent */
} fw_outq;

/* Bytes that are queued and not yet sent. */
static inline size_t fw_outq_unsent(const fw_outq *q)
{
    return q->bytes;
}

/* Bytes of memory that the queue keeps: a block of which some has been sent is kept whole. */
size_t fw_outq_held(const fw_outq *q);

/* The same with what its chunks have not been filled with; no more than a guess behind the first few dozen pieces. */
size_t fw_outq_memory(const fw_outq *q);

/* A place in the queue to return to; see fw_outq_rollback. */
typedef struct fw_outq_mark {
    fw_piece *tail;
    size_t left;
} fw_outq_mark;

void fw_chunk_cache_clear(fw_chunk_cache *cache);

/* Owners whose piece is gone, one per call; NULL when there is none. */
void *fw_chunk_cache_to_release(fw_chunk_cache *cache);

/* Room for `n` contiguous bytes at the tail, or NULL (out of memory).  Nothing is queued until fw_outq_commit, which
 * takes at most the bytes reserved. */
char *fw_outq_reserve(fw_outq *q, fw_chunk_cache *cache, size_t n);
void fw_outq_commit(fw_outq *q, size_t n);

/* FW_OK or -errno (-ENOMEM; of a file also what dup says, as -EMFILE), then nothing was queued and `owner` is still the
 * caller's.  `fd` is duplicated: its owner may close it while bytes of the file are queued, and the number be another
 * file's.  The duplicate is closed with the piece, at the latest by fw_chunk_cache_to_release. */
int fw_outq_copy(fw_outq *q, fw_chunk_cache *cache, const void *data, size_t n);
int fw_outq_ref(fw_outq *q, fw_chunk_cache *cache, const void *data, size_t n, void *owner);
int fw_outq_file(fw_outq *q, fw_chunk_cache *cache, int fd, off_t offset, size_t n, void *owner);

/* fw_outq_rollback drops everything queued since the mark; no flush may lie between. */
fw_outq_mark fw_outq_here(const fw_outq *q);
void fw_outq_rollback(fw_outq *q, fw_chunk_cache *cache, fw_outq_mark mark);

/* Sends what the socket takes.  FW_OK: the queue is empty; FW_RETRY: bytes remain; -errno: the connection is broken
 * (-EIO: a file was shorter than promised). */
int fw_outq_flush(fw_outq *q, fw_chunk_cache *cache, int fd);

/* The same through TLS: what is queued goes out in records as full as can be. Files are read, a record's worth at a time.
 * -EPROTO: TLS itself has failed. */
int fw_outq_flush_tls(fw_outq *q, fw_chunk_cache *cache, fw_tls *tls);

/* Puts what is left of half-empty chunks and of half-sent blocks, of the first few dozen pieces, into memory of its size.
 * What there is no memory for stays as it is. */
void fw_outq_compact(fw_outq *q, fw_chunk_cache *cache);

/* Drops everything. */
void fw_outq_clear(fw_outq *q, fw_chunk_cache *cache);

#endif
