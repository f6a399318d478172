/* memo.h - heads seen before: a keep-alive client repeats its header block byte for byte.
 *
 * A small direct-mapped table per worker remembers accepted heads that carry no body framing, by the bytes of their
 * header block. When a block comes again, llhttp is fed only the request line and the empty line; when the request
 * line is the same too, nothing is parsed at all. The parser is deterministic, so the outcome is the same by
 * construction. With each head goes what the worker built from it (`user`, its environ): only then does it count.
 *
 * A head is noted when a connection sends its second request, and given to the worker to fill when it comes again, so
 * that clients which never repeat themselves cost a comparison and a copy.
 */
#ifndef FW_MEMO_H
#define FW_MEMO_H

#include "http/request.h"

#include <stdatomic.h>

#define FW_MEMOS 64       /* heads remembered */
#define FW_MEMO_LONGEST 4096 /* bytes of the longest head that is */

typedef struct fw_memo {
    char *bytes;       /* request line and header block */
    uint32_t cap;
    uint32_t line_len; /* with CRLF */
    uint32_t block_len; /* with the empty line; 0 = the slot is empty */
    uint32_t pins;     /* requests that refer to it: it stays as it is meanwhile */
    unsigned origin;   /* what else decides what it means: see fw_conn */
    fw_span method, target, path, query;
    uint64_t names;
    fw_field *fields; /* of the head in `bytes`, for whoever reads them (fields.h); NULL if nobody does */
    uint32_t nfields;
    uint8_t method_id, minor;
    uint8_t follows; /* with `followed`, what it says as a trusted proxy's; see fw_memo_followed */
    bool keep_alive;
    fw_followed followed;
    _Atomic(void *) user; /* the worker's, or NULL while nothing has been built from it; set while pinned to be filled */
} fw_memo;

/* What a request may do with its memo. */
enum fw_memo_use {
    FW_MEMO_NONE,
    FW_MEMO_FILL,  /* the worker is asked to set memo->user */
    FW_MEMO_BLOCK, /* same header block, another request line */
    FW_MEMO_FULL,  /* same head altogether */
};

typedef struct fw_memos {
    fw_memo slots[FW_MEMOS];
    void *to_release[2 * FW_MEMOS]; /* users of overwritten memos, for the worker to release; half is for the last */
    unsigned nto_release;
} fw_memos;

/* A memo whose header block is the one in the `n` bytes at `data` (the start of a request), or NULL. `hint` is the
 * connection's last slot plus one, 0 for none. `*use` becomes FW_MEMO_BLOCK or FW_MEMO_FULL. */
fw_memo *fw_memo_find(fw_memos *t, unsigned hint, const char *data, size_t n, unsigned origin,
                      enum fw_memo_use *use);

/* Notes the accepted head of `r`. Returns its slot plus one for the connection's hint, 0 if it is not to be
 * remembered; r->memo and r->memo_use are set when the worker is asked to fill it. */
unsigned fw_memo_note(fw_memos *t, fw_request *r, unsigned origin);

/* Takes over, as far as it is needed again, what was read of a recalled head as a trusted proxy's (forwarded.h). */
void fw_memo_followed(fw_request *r);

/* The worker has built `user` from the head of `r`, which it was asked to fill. */
static inline void fw_memo_fill(fw_request *r, void *user)
{
    atomic_store_explicit(&r->memo->user, user, memory_order_release);
}

/* What was built from the head of `r`. */
static inline void *fw_memo_user(const fw_request *r)
{
    return atomic_load_explicit(&r->memo->user, memory_order_acquire);
}

/* Ends the reference of `r` to its memo. */
void fw_memo_unpin(fw_request *r);

/* An object that the worker must release, or NULL. */
void *fw_memo_to_release(fw_memos *t);

/* Empties the table: every user is to be released. */
void fw_memos_clear(fw_memos *t);

#endif
