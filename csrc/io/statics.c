/* statics.c - which requests ask for a file, and how it is opened and sent. The rules are in statics.h; what it is answered
 * with is in statics_head.c.
 */
#include "io/statics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL FW_CHUNK /* bytes of a file that are read: they go out with the head, in one send */
#define ENDING_MOST 16

/* ---- which requests ---------------------------------------------------------------------------------------------- */

const fw_static *fw_statics_find(const fw_statics *all, const fw_request *r, size_t *taken)
{
    if (r->asterisk)
        return NULL;
    const char *path = fw_request_at(r, r->path);
    for (unsigned i = 0; i < all->n; i++) {
        const ssize_t n = fw_file_path_below(path, r->path.len, all->list[i].prefix, all->list[i].prefix_len);
        if (n < 0)
            continue;
        *taken = (size_t)n;
        return &all->list[i];
    }
    return NULL;
}

static void append(fw_sending *s, const char *text)
{
    const size_t n = strlen(text);
    memcpy(s->name + s->name_len, text, n + 1);
    s->name_len = (uint16_t)(s->name_len + n);
}

static void cut(fw_sending *s, uint16_t n)
{
    s->name_len = n;
    s->name[n] = '\0';
}

void fw_sending_begin(fw_sending *s, const fw_statics *all, const fw_static *at, const fw_request *r, size_t taken)
{
    memset(s, 0, sizeof *s);
    s->statics = all;
    s->at = at;
    s->fd = -1;
    s->coding = FW_CODING_IDENTITY;
    const char *rest = fw_request_at(r, r->path) + taken;
    const size_t n = r->path.len - taken;
    const ssize_t len = fw_file_path_read(s->name, rest, n);
    s->name_len = len > 0 ? (uint16_t)len : 0;
    s->slash = n != 0 ? rest[n - 1] == '/' : r->path.len == 0; /* http://host asks for its root */
    if (r->method_id != FW_METHOD_GET && !fw_request_is_head(r))
        s->status = 405;
    else if (len < 0 || (s->slash && all->index[0] == '\0'))
        s->status = 404;
    else if (s->slash)
        append(s, all->index);
    fw_codings_read(r, &s->accepts);
}

fw_sending *fw_sending_named(const fw_statics *all, const fw_static *at, const char *rest, size_t n)
{
    fw_sending *s = calloc(1, sizeof *s + FW_SENDING_NAME);
    if (s == NULL)
        return NULL;
    s->statics = all;
    s->at = at;
    s->fd = -1;
    s->coding = FW_CODING_IDENTITY;
    s->named = true;
    const ssize_t len = rest != NULL ? fw_file_path_read(s->name, rest, n) : -1;
    s->name_len = len > 0 ? (uint16_t)len : 0;
    if (len <= 0 || s->name[len - 1] == '/')
        s->status = 404;
    return s;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int compare_endings(const void *ending, const void *type)
{
    return strcmp(ending, ((const fw_media_type *)type)->ending);
}

static const fw_media_type *type_of(const fw_statics *all, const char *name)
{
    char ending[ENDING_MOST];
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash != NULL ? slash : name, '.');
    if (dot == NULL || strlen(dot) >= sizeof ending)
        return NULL;
    size_t i = 0;
    for (; dot[i] != '\0'; i++)
        ending[i] = dot[i] >= 'A' && dot[i] <= 'Z' ? (char)(dot[i] | 0x20) : dot[i];
    ending[i] = '\0';
    return bsearch(ending, all->types, all->ntypes, sizeof *all->types, compare_endings);
}

static int open_name(const fw_sending *s, bool now, fw_file_look *look)
{
    return fw_beneath_open(s->at->folder, (enum fw_beneath)s->at->how, s->name, now, look);
}

/* A file that is not there, or that nobody may read, looks the same from outside. */
static int status_of(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM: return 503;
    case EIO: return 500;
    default: return 404;
    }
}

/* A folder was asked for as if it were a file: with its slash there may be something. */
static int open_folder(fw_sending *s, bool now)
{
    const uint16_t n = s->name_len;
    fw_file_look look;
    s->status = 404;
    if (s->statics->index[0] == '\0')
        return FW_OK;
    if (n != 0)
        append(s, "/");
    append(s, s->statics->index);
    const int fd = open_name(s, now, &look);
    cut(s, n);
    if (fd == FW_RETRY)
        s->status = 0;
    else if (fd >= 0)
        s->status = 301;
    if (fd >= 0)
        close(fd);
    return fd == FW_RETRY ? FW_RETRY : FW_OK;
}

static bool accepts(const fw_sending *s, enum fw_coding c)
{
    for (unsigned i = 0; i < s->accepts.n; i++)
        if (s->accepts.list[i] == c)
            return true;
    return false;
}

/* Opens the file beside the one that is open which has this coding. > 0: it is there. */
static int open_coded(fw_sending *s, enum fw_coding c, bool now)
{
    const uint16_t n = s->name_len;
    fw_file_look look;
    append(s, fw_coding_ending(c));
    const int fd = open_name(s, now, &look);
    cut(s, n);
    if (fd == FW_RETRY)
        return FW_RETRY;
    if (fd < 0)
        return 0;
    s->varies = true;
    if (!accepts(s, c)) {
        close(fd);
        return 1;
    }
    close(s->fd);
    s->fd = fd;
    s->look = look;
    s->coding = (uint8_t)c;
    return 1;
}

/* Looks for the file in a coding that the client likes better. If there is one that it does not accept, others may get
 * something else. */
static int choose_coding(fw_sending *s, bool now)
{
    int rc = 0;
    if (s->named || (s->type != NULL && s->type->packed))
        return FW_OK;
    for (unsigned i = 0; i < s->accepts.n && rc == 0; i++)
        rc = open_coded(s, (enum fw_coding)s->accepts.list[i], now);
    for (int c = 0; c < FW_CODING_IDENTITY && rc == 0; c++)
        if (!accepts(s, (enum fw_coding)c))
            rc = open_coded(s, (enum fw_coding)c, now);
    return rc == FW_RETRY ? FW_RETRY : FW_OK;
}

int fw_sending_open(fw_sending *s, bool now)
{
    if (s->status != 0)
        return FW_OK;
    const int fd = s->name_len != 0 ? open_name(s, now, &s->look) : -EISDIR;
    if (fd == FW_RETRY)
        return FW_RETRY;
    if (fd == -EISDIR && !s->slash)
        return open_folder(s, now);
    if (fd < 0) {
        s->status = status_of(-fd);
        return FW_OK;
    }
    s->fd = fd;
    s->type = type_of(s->statics, s->name);
    if (choose_coding(s, now) == FW_RETRY) {
        fw_sending_close(s);
        return FW_RETRY;
    }
    s->status = 200;
    return FW_OK;
}

/* ---- reading what comes next ------------------------------------------------------------------------------------- */

static uint64_t window(const fw_sending *s)
{
    const uint64_t n = s->to - s->from;
    return n < FW_WINDOW ? n : FW_WINDOW;
}

void fw_sending_fetch(fw_sending *s)
{
    char bytes[4096];
    if (s->status == 0) {
        fw_sending_open(s, false);
        return;
    }
    const uint64_t end = s->from + window(s);
    for (uint64_t at = s->from; at < end;) {
        const ssize_t n = fw_beneath_read(s->fd, bytes, end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes, at, false);
        if (n <= 0)
            break; /* fw_sending_next meets the same */
        at += (uint64_t)n;
    }
    s->fetched = end;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* A part has been sent: goes on to the next. 1: there is one, or the end of several has been queued; 0: that was all. */
static int begin_part(fw_sending *s, fw_outq *q, fw_chunk_cache *cache)
{
    const unsigned n = s->parts.n;
    if (s->part > n || (s->part == n && n <= 1))
        return 0;
    if (n > 1 && fw_sending_delimit(s, q, cache, s->part) != FW_OK)
        return -ENOMEM;
    if (s->part < n) {
        s->from = s->parts.list[s->part].first;
        s->to = s->from + s->parts.list[s->part].n;
    }
    s->part++;
    return 1;
}

static int queue_bytes(fw_sending *s, fw_outq *q, fw_chunk_cache *cache, size_t n, bool fetched)
{
    char *to = fw_outq_reserve(q, cache, n);
    if (to == NULL)
        return -ENOMEM;
    const ssize_t got = fw_beneath_read(s->fd, to, n, s->from, !fetched);
    if (got < 0)
        return (int)got;
    if ((size_t)got < n)
        return fetched ? -EIO : FW_RETRY; /* it has become shorter, or some of it is not in memory */
    if (!fw_beneath_unchanged(s->fd, &s->look))
        return -ESTALE;
    fw_outq_commit(q, n);
    return 1;
}

/* The kernel reads ahead in order, so what lies between two bytes that it has is there, too. */
static int in_memory(const fw_sending *s, uint64_t n)
{
    char byte;
    const ssize_t first = fw_beneath_read(s->fd, &byte, 1, s->from, true);
    const ssize_t last = first == 1 ? fw_beneath_read(s->fd, &byte, 1, s->from + n - 1, true) : first;
    return last == 1 ? FW_OK : last == 0 ? -EIO : (int)last;
}

static int queue_file(fw_sending *s, fw_outq *q, fw_chunk_cache *cache, size_t n, bool fetched)
{
    const int rc = fetched ? FW_OK : in_memory(s, n);
    if (rc != FW_OK)
        return rc;
    if (!fw_beneath_unchanged(s->fd, &s->look))
        return -ESTALE;
    const int queued = fw_outq_file(q, cache, s->fd, (off_t)s->from, n, NULL);
    return queued == FW_OK ? 1 : queued;
}

int fw_sending_next(fw_sending *s, fw_outq *q, fw_chunk_cache *cache)
{
    if (s->from == s->to) {
        const int rc = begin_part(s, q, cache);
        if (rc <= 0 || s->from == s->to)
            return rc;
    }
    const size_t n = (size_t)window(s);
    const bool fetched = s->from + n <= s->fetched;
    const int rc = n <= SMALL ? queue_bytes(s, q, cache, n, fetched) : queue_file(s, q, cache, n, fetched);
    if (rc > 0)
        s->from += n;
    return rc;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

fw_sending *fw_sending_keep(fw_sending *s)
{
    const size_t room = s->status == 0 ? FW_SENDING_NAME : (size_t)s->name_len + 1;
    fw_sending *kept = malloc(sizeof *kept + room);
    if (kept == NULL)
        return NULL;
    memcpy(kept, s, sizeof *s + s->name_len + 1);
    s->fd = -1;
    return kept;
}

void fw_sending_close(fw_sending *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void work(void *what)
{
    fw_sending_fetch(what);
}

static void discard(void *what)
{
    fw_sending_close(what);
    free(what);
}

fw_job *fw_sending_lend(fw_sending *s, void *owner)
{
    fw_job *j = fw_job_open(-1, NULL);
    if (j == NULL)
        return NULL;
    j->owner = owner;
    j->what = s;
    j->work = work;
    j->discard = discard;
    return j;
}

fw_sending *fw_sending_take_back(fw_job *j)
{
    fw_sending *s = j->what;
    j->what = NULL;
    fw_job_close(j);
    return s;
}
