/* outq.c - the output queue: writev, sendfile, partial writes, records of TLS.
 *
 * It has more than 500 lines because all that knows what a piece is is here.
 */
#include "io/outq.h"
#include "system/sigpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/sendfile.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: the socket carries SO_NOSIGPIPE instead */
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif

#define IOV_BATCH 64
#define FILE_BATCH ((size_t)1 << 30) /* one sendfile call; Linux moves at most 2 GiB - 4096 at once */
#define CACHE_CHUNKS 64
#define LOOKED_AT 64 /* pieces that are looked at one by one: a list of blocks may be of any length */

enum piece_kind { PIECE_CHUNK, PIECE_REF, PIECE_FILE };

struct fw_piece {
    fw_piece *next;
    const char *at; /* first unsent byte (chunk, ref) */
    size_t left;    /* unsent bytes */
    size_t room;    /* chunk: writable bytes behind them */
    size_t whole;   /* ref: bytes that it began with */
    off_t offset;   /* file: where the unsent bytes start */
    void *owner;
    int fd;         /* file: a descriptor of our own */
    enum piece_kind kind;
    bool cached;
    char data[];
};

/* ---- the cache of chunks --------------------------------------------------------------------------------------- */

void fw_chunk_cache_clear(fw_chunk_cache *cache)
{
    while (cache->free != NULL) {
        fw_piece *p = cache->free;
        cache->free = p->next;
        free(p);
    }
    cache->nfree = 0;
}

static void piece_free(fw_piece *p)
{
    if (p->kind == PIECE_FILE)
        close(p->fd);
    free(p);
}

void *fw_chunk_cache_to_release(fw_chunk_cache *cache)
{
    fw_piece *p = cache->to_release;
    if (p == NULL)
        return NULL;
    void *owner = p->owner;
    cache->to_release = p->next;
    piece_free(p);
    return owner;
}

static void piece_drop(fw_piece *p, fw_chunk_cache *cache)
{
    if (p->cached && cache->nfree < CACHE_CHUNKS) {
        p->next = cache->free;
        cache->free = p;
        cache->nfree++;
    } else if (p->owner != NULL) {
        p->next = cache->to_release;
        cache->to_release = p;
    } else {
        piece_free(p);
    }
}

static fw_piece *piece_new(enum piece_kind kind, size_t cap)
{
    fw_piece *p = malloc(sizeof *p + cap);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->at = p->data;
    p->room = cap;
    return p;
}

static fw_piece *chunk_take(fw_chunk_cache *cache, size_t cap)
{
    if (cap > FW_CHUNK)
        return piece_new(PIECE_CHUNK, cap);
    fw_piece *p = cache->free;
    if (p != NULL) {
        cache->free = p->next;
        cache->nfree--;
        p->at = p->data;
        p->left = 0;
        p->room = FW_CHUNK;
        p->next = NULL;
        return p;
    }
    p = piece_new(PIECE_CHUNK, FW_CHUNK);
    if (p != NULL)
        p->cached = true;
    return p;
}

/* ---- queueing -------------------------------------------------------------------------------------------------- */

static void append(fw_outq *q, fw_piece *p)
{
    if (q->tail != NULL)
        q->tail->next = p;
    else
        q->head = p;
    q->tail = p;
}

char *fw_outq_reserve(fw_outq *q, fw_chunk_cache *cache, size_t n)
{
    fw_piece *t = q->tail;
    if (fw_unlikely(t == NULL || t->kind != PIECE_CHUNK || t->room < n)) {
        t = chunk_take(cache, n);
        if (t == NULL)
            return NULL;
        append(q, t);
    }
    return (char *)(uintptr_t)(t->at + t->left);
}

void fw_outq_commit(fw_outq *q, size_t n)
{
    q->tail->left += n;
    q->tail->room -= n;
    q->bytes += n;
}

int fw_outq_copy(fw_outq *q, fw_chunk_cache *cache, const void *data, size_t n)
{
    char *to = fw_outq_reserve(q, cache, n);
    if (to == NULL)
        return -ENOMEM;
    memcpy(to, data, n);
    fw_outq_commit(q, n);
    return FW_OK;
}

static void append_owned(fw_outq *q, fw_piece *p, size_t n, void *owner)
{
    p->left = p->whole = n;
    p->owner = owner;
    append(q, p);
    q->bytes += n;
}

int fw_outq_ref(fw_outq *q, fw_chunk_cache *cache, const void *data, size_t n, void *owner)
{
    (void)cache;
    fw_piece *p = piece_new(PIECE_REF, 0);
    if (p == NULL)
        return -ENOMEM;
    p->at = data;
    append_owned(q, p, n, owner);
    return FW_OK;
}

int fw_outq_file(fw_outq *q, fw_chunk_cache *cache, int fd, off_t offset, size_t n, void *owner)
{
    (void)cache;
    fw_piece *p = piece_new(PIECE_FILE, 0);
    if (p == NULL)
        return -ENOMEM;
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (p->fd < 0) {
        const int error = errno;
        free(p);
        return -error;
    }
    p->offset = offset;
    append_owned(q, p, n, owner);
    return FW_OK;
}

size_t fw_outq_held(const fw_outq *q)
{
    const fw_piece *p = q->head;
    return q->bytes + (p != NULL && p->kind == PIECE_REF ? p->whole - p->left : 0);
}

/* Bytes that a piece occupies, more or less. */
static size_t piece_memory(const fw_piece *p)
{
    switch (p->kind) {
    case PIECE_CHUNK: return sizeof *p + (size_t)(p->at - p->data) + p->left + p->room;
    case PIECE_REF: return sizeof *p + p->whole;
    default: return sizeof *p;
    }
}

size_t fw_outq_memory(const fw_outq *q)
{
    size_t sum = 0, behind = q->bytes;
    const fw_piece *p = q->head;
    for (int i = 0; p != NULL && i < LOOKED_AT; p = p->next, i++) {
        sum += piece_memory(p);
        behind -= p->left;
    }
    return sum + (p != NULL ? behind : 0);
}

fw_outq_mark fw_outq_here(const fw_outq *q)
{
    fw_outq_mark m = {q->tail, q->tail != NULL ? q->tail->left : 0};
    return m;
}

static void drop_from(fw_outq *q, fw_piece *first, fw_chunk_cache *cache)
{
    while (first != NULL) {
        fw_piece *next = first->next;
        q->bytes -= first->left;
        piece_drop(first, cache);
        first = next;
    }
}

void fw_outq_rollback(fw_outq *q, fw_chunk_cache *cache, fw_outq_mark mark)
{
    if (mark.tail == NULL) {
        fw_outq_clear(q, cache);
        return;
    }
    drop_from(q, mark.tail->next, cache);
    size_t surplus = mark.tail->left - mark.left;
    mark.tail->next = NULL;
    mark.tail->left -= surplus;
    mark.tail->room += surplus;
    q->bytes -= surplus;
    q->tail = mark.tail;
}

/* A piece of its own size with what is left of `p`, which is dropped; or `p`. */
static fw_piece *piece_fit(fw_piece *p, fw_chunk_cache *cache)
{
    if (p->kind == PIECE_FILE || p->left > piece_memory(p) / 2)
        return p;
    fw_piece *fit = piece_new(PIECE_CHUNK, p->left);
    if (fit == NULL)
        return p;
    memcpy(fit->data, p->at, p->left);
    fit->left = p->left;
    fit->room = 0;
    fit->next = p->next;
    piece_drop(p, cache);
    return fit;
}

void fw_outq_compact(fw_outq *q, fw_chunk_cache *cache)
{
    fw_piece **at = &q->head;
    for (int i = 0; *at != NULL && i < LOOKED_AT; at = &(*at)->next, i++) {
        const bool last = *at == q->tail;
        *at = piece_fit(*at, cache);
        if (last)
            q->tail = *at;
    }
}

void fw_outq_clear(fw_outq *q, fw_chunk_cache *cache)
{
    drop_from(q, q->head, cache);
    q->head = q->tail = NULL;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static int broken_or_retry(int e)
{
    return e == EAGAIN || e == EWOULDBLOCK ? FW_RETRY : -e;
}

/* Takes `n` sent bytes off the front of the queue. */
static void consume(fw_outq *q, fw_chunk_cache *cache, size_t n)
{
    q->bytes -= n;
    while (q->head != NULL && n >= q->head->left) {
        fw_piece *p = q->head;
        n -= p->left;
        q->head = p->next;
        piece_drop(p, cache);
    }
    if (q->head == NULL) {
        q->tail = NULL;
    } else {
        if (q->head->kind != PIECE_FILE) /* send_file has moved the offset */
            q->head->at += n;
        q->head->left -= n;
    }
}

static ssize_t send_memory(const fw_outq *q, int fd)
{
    const fw_piece *p = q->head;
    if (fw_likely(p->next == NULL))
        return send(fd, p->at, p->left, MSG_NOSIGNAL);
    struct iovec iov[IOV_BATCH];
    size_t n = 0;
    for (; p != NULL && p->kind != PIECE_FILE && n < IOV_BATCH; p = p->next, n++) {
        iov[n].iov_base = (void *)(uintptr_t)p->at;
        iov[n].iov_len = p->left;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    return sendmsg(fd, &msg, MSG_NOSIGNAL | (p != NULL ? MSG_MORE : 0));
}

/* sendfile(2) refuses some descriptors; their next bytes are read into a chunk in front of what is left. */
static int file_to_chunk(fw_outq *q, fw_chunk_cache *cache)
{
    fw_piece *f = q->head;
    fw_piece *c = chunk_take(cache, FW_CHUNK);
    if (c == NULL)
        return -ENOMEM;
    size_t want = f->left < FW_CHUNK ? f->left : FW_CHUNK;
    ssize_t n;
    do
        n = pread(f->fd, c->data, want, f->offset);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        int e = n < 0 ? errno : EIO;
        piece_drop(c, cache);
        return -e;
    }
    c->left = (size_t)n;
    c->room -= (size_t)n;
    f->offset += n;
    f->left -= (size_t)n;
    c->next = f;
    q->head = c;
    return FW_OK;
}

/* One attempt: bytes moved, or -1 with errno. */
static ssize_t send_file(fw_piece *p, int fd)
{
    size_t want = p->left < FILE_BATCH ? p->left : FILE_BATCH;
    fw_sigpipe signal;
    fw_sigpipe_hold(&signal);
#if defined(__linux__)
    ssize_t n = sendfile(fd, p->fd, &p->offset, want);
#else
    off_t moved = (off_t)want;
    int rc = sendfile(p->fd, fd, p->offset, &moved, NULL, 0);
    ssize_t n = rc == 0 || moved > 0 ? (ssize_t)moved : -1;
    if (n > 0)
        p->offset += n;
#endif
    /* The reader may have gone when some had been sent: then the signal has come, and the error has not. */
    fw_sigpipe_drop(&signal, n < 0 ? errno == EPIPE : (size_t)n < want);
    return n;
}

static int flush_file(fw_outq *q, fw_chunk_cache *cache, int fd)
{
    ssize_t n = send_file(q->head, fd);
    if (n > 0) {
        consume(q, cache, (size_t)n);
        return FW_OK;
    }
    if (n == 0)
        return -EIO;
    if (errno == EINTR)
        return FW_OK;
    if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP)
        return file_to_chunk(q, cache);
    return broken_or_retry(errno);
}

int fw_outq_flush(fw_outq *q, fw_chunk_cache *cache, int fd)
{
    while (q->head != NULL) {
        fw_piece *p = q->head;
        if (p->left == 0) { /* reserved and not used, or an empty file */
            consume(q, cache, 0);
            continue;
        }
        if (p->kind == PIECE_FILE) {
            int rc = flush_file(q, cache, fd);
            if (rc != FW_OK)
                return rc;
            continue;
        }
        ssize_t n = send_memory(q, fd);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return broken_or_retry(errno);
        }
        consume(q, cache, (size_t)n);
    }
    return FW_OK;
}

/* ---- sending through TLS --------------------------------------------------------------------------------------- */

/* Moves bytes of the piece behind `c` into its room. False: of a file there is nothing left to read (-EIO), or it cannot
 * be read: `*error` says so. */
static bool take_over(fw_outq *q, fw_chunk_cache *cache, fw_piece *c, int *error)
{
    fw_piece *from = c->next;
    const size_t n = from->left < c->room ? from->left : c->room;
    char *to = (char *)(uintptr_t)(c->at + c->left);
    ssize_t got = (ssize_t)n;
    if (from->kind != PIECE_FILE) {
        if (n > 0)
            memcpy(to, from->at, n);
        from->at += n;
    } else if (n > 0) {
        do
            got = pread(from->fd, to, n, from->offset);
        while (got < 0 && errno == EINTR);
        if (got <= 0) {
            *error = got < 0 ? -errno : -EIO;
            return false;
        }
        from->offset += got;
    }
    c->left += (size_t)got;
    c->room -= (size_t)got;
    from->left -= (size_t)got;
    if (from->left == 0) {
        c->next = from->next;
        if (q->tail == from)
            q->tail = c;
        piece_drop(from, cache);
    }
    return true;
}

/* Sees to it that a record's worth of bytes lies together at the head of the queue, if there are so many. */
static int gather_record(fw_outq *q, fw_chunk_cache *cache)
{
    fw_piece *p = q->head;
    int error = FW_OK;
    if (p->kind != PIECE_FILE && (p->next == NULL || p->left >= FW_RECORD))
        return FW_OK;
    if (p->kind != PIECE_CHUNK || p->left + p->room < FW_RECORD) {
        fw_piece *c = chunk_take(cache, FW_CHUNK);
        if (c == NULL)
            return -ENOMEM;
        c->next = p;
        q->head = p = c;
    }
    while (p->left < FW_RECORD && p->room > 0 && p->next != NULL && error == FW_OK)
        take_over(q, cache, p, &error);
    return p->left > 0 ? FW_OK : error; /* what came before the error goes out first */
}

/* What does not go out at once stays at the head, in one piece, so that it can be tried again as it was. */
int fw_outq_flush_tls(fw_outq *q, fw_chunk_cache *cache, fw_tls *tls)
{
    while (q->head != NULL) {
        if (q->head->left == 0) {
            consume(q, cache, 0);
            continue;
        }
        const int rc = gather_record(q, cache);
        if (rc != FW_OK)
            return rc;
        const ssize_t n = fw_tls_send(tls, q->head->at, q->head->left, q->bytes > FW_RECORD);
        if (n < 0)
            return (int)n;
        consume(q, cache, (size_t)n);
    }
    return FW_OK;
}
