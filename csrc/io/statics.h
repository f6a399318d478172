/* statics.h - files that the loop serves itself: which requests ask for one, what they are answered, how it is sent.
 *
 * Rules:
 *  1. A request below a prefix is answered here, whatever it asks for: no path below one ever comes to the application.
 *  2. The loop waits for no disk. What may have to wait is lent to a job: opening where the kernel does not have the names in
 *     memory, reading where it does not have the bytes. Whoever has a fw_sending has all of it for itself.
 *  3. A file is sent a window at a time, and looked at again for each: one that has changed, or has become shorter, ends the
 *     connection. What is sent comes from the descriptor that was opened, so never from another file.
 */
#ifndef FW_STATICS_H
#define FW_STATICS_H

#include "http/codings.h"
#include "http/file_path.h"
#include "http/globs.h"
#include "http/job.h"
#include "http/ranges.h"
#include "http/request.h"
#include "http/wire.h"
#include "io/beneath.h"
#include "io/outq.h"

#define FW_WINDOW 262144 /* bytes of a file that are queued at once */

/* A folder whose files are served. */
typedef struct fw_static {
    const char *prefix; /* decoded, no slash at its end */
    uint32_t prefix_len;
    int folder;         /* a descriptor, or -1 */
    int how;            /* enum fw_beneath */
} fw_static;

typedef struct fw_media_type {
    const char *ending; /* lower case, with its dot */
    const char *type;   /* as Content-Type has it */
    bool packed;        /* there is nothing to be won by another coding */
} fw_media_type;

/* Everything the settings say; borrowed. */
typedef struct fw_statics {
    const fw_static *list; /* the longest prefix first */
    unsigned n;
    const fw_media_type *types; /* by `ending`, as strcmp sorts */
    unsigned ntypes;
    const char *index;               /* the file that a folder stands for; empty: none */
    const struct fw_globs *immutable; /* paths whose files never change, or NULL */
} fw_statics;

/* An answer that is made of a file. */
typedef struct fw_sending {
    const fw_statics *statics;
    const fw_static *at;
    int fd;     /* -1: none */
    int status; /* of the answer; 0 while nothing has been opened */
    fw_file_look look;
    const fw_media_type *type; /* or NULL: nobody knows */
    fw_coding_order accepts;
    uint8_t coding; /* enum fw_coding: of what is open */
    bool varies;    /* another request may get another coding */
    uint64_t fetched; /* up to here it has been read */
    uint64_t began;   /* us, or 0: nobody asks */
    fw_ranges parts;  /* what is to be sent */
    unsigned part;    /* ... which of it now */
    uint64_t from, to; /* what is left of that part */
    uint64_t length;  /* of the content, */
    uint64_t sent;    /* ... which does not come if only its head is asked for */
    char boundary[24]; /* of several parts */
    uint16_t name_len;
    bool slash;        /* a folder is asked for */
    bool named;        /* by the application: nobody else has chosen it, so no coding is looked for */
    char name[];       /* FW_SENDING_NAME bytes at first */
} fw_sending;

#define FW_SENDING_NAME (FW_FILE_PATH_MOST + FW_FILE_NAME_MOST + 8)

/* The folder that a request belongs to, or NULL; how much of its path the prefix takes in `*taken`. */
const fw_static *fw_statics_find(const fw_statics *all, const fw_request *r, size_t *taken);

/* Begins an answer in memory that has room for a name: reads the path and what is accepted. `status` is set if there is
 * nothing to be opened. */
void fw_sending_begin(fw_sending *s, const fw_statics *all, const fw_static *at, const fw_request *r, size_t taken);

/* The same for a file that an application names; on the heap, or NULL. `rest` is a path behind the prefix of `at`, escaped;
 * with NULL there is no such file. */
fw_sending *fw_sending_named(const fw_statics *all, const fw_static *at, const char *rest, size_t n);

/* Opens what is asked for, and sets `status`. FW_RETRY: with `now`, it might have to wait for a disk. */
int fw_sending_open(fw_sending *s, bool now);

/* Reads into memory what comes next, and opens it before if it has to. May wait for a disk. */
void fw_sending_fetch(fw_sending *s);

/* Queues the head, with the text of an error behind it, and decides what of the file follows. FW_OK or -ENOMEM. */
int fw_sending_head(fw_sending *s, const fw_request *r, fw_outq *q, fw_chunk_cache *cache, fw_date *date, bool keep);

/* The head of a named file, in parts: `status` is decided, by the request if it is its matter (`conditional`); then
 * fw_sending_head if it is a failure, else the caller's lines and fw_sending_fields, which ends the head. */
void fw_sending_decide(fw_sending *s, const fw_request *r, bool conditional);
bool fw_sending_is_failure(const fw_sending *s);
int fw_sending_fields(fw_sending *s, const fw_request *r, fw_outq *q, fw_chunk_cache *cache, bool keep, bool typed);

/* Queues what stands before part `i` of several, or behind the last. FW_OK or -ENOMEM. */
int fw_sending_delimit(fw_sending *s, fw_outq *q, fw_chunk_cache *cache, unsigned i);

/* Queues what comes next. 1: something; 0: that was all; FW_RETRY: it has to be fetched before; -errno: it is not what it
 * was, or there is no memory. */
int fw_sending_next(fw_sending *s, fw_outq *q, fw_chunk_cache *cache);

/* One window has all of it. */
static inline bool fw_sending_is_small(const fw_sending *s)
{
    return s->parts.n == 1 && s->parts.list[0].n <= FW_CHUNK;
}

/* A copy on the heap, which then has the descriptor; NULL: there is no memory. */
fw_sending *fw_sending_keep(fw_sending *s);

/* Closes the file; the memory is its owner's. */
void fw_sending_close(fw_sending *s);

/* Lends it to a new job for `owner`, which fetches; NULL: no memory. And back from it; the job is freed. */
fw_job *fw_sending_lend(fw_sending *s, void *owner);
fw_sending *fw_sending_take_back(fw_job *j);

#endif
