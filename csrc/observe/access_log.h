/* access_log.h - the access log: one line for each request, made of the pieces that the format was taken apart into.
 *
 * A line is written straight from the bytes of the request and a few numbers. What a client has sent stands there with
 * control characters, quotes, backslashes and bytes beyond ASCII escaped, so that a line is one line and no field of it
 * can be forged. The words a format may use are listed in fastwsgi/logs/format.py.
 */
#ifndef FW_ACCESS_LOG_H
#define FW_ACCESS_LOG_H

#include "observe/batch.h"
#include "http/request.h"

#include <sys/socket.h>
#include <time.h>

enum fw_atom {
    FW_ATOM_TEXT,     /* the format's own, as it is */
    FW_ATOM_CLIENT,   /* its address */
    FW_ATOM_USER,     /* of basic authentication (RFC 7617) */
    FW_ATOM_TIME,     /* local, with its zone, in brackets */
    FW_ATOM_ISO_TIME, /* the same as ISO 8601 has it */
    FW_ATOM_LINE,     /* request line */
    FW_ATOM_METHOD,
    FW_ATOM_PATH, /* as PATH_INFO: decoded, without SCRIPT_NAME */
    FW_ATOM_FULL_PATH, /* SCRIPT_NAME and PATH_INFO */
    FW_ATOM_QUERY,
    FW_ATOM_PROTOCOL,
    FW_ATOM_STATUS,
    FW_ATOM_REASON,
    FW_ATOM_BYTES,         /* of the body */
    FW_ATOM_BYTES_OR_DASH, /* ... a dash if there is no response */
    FW_ATOM_SECONDS,       /* whole ones */
    FW_ATOM_MILLISECONDS,
    FW_ATOM_MICROSECONDS,
    FW_ATOM_DECIMAL_SECONDS,
    FW_ATOM_PROCESS,        /* in angle brackets, as gunicorn has it */
    FW_ATOM_PROCESS_NUMBER,
    FW_ATOM_THREAD, /* which of the application threads; nothing for a refusal of the core */
    FW_ATOM_HOST,   /* that the client has asked */
    FW_ATOM_ID,     /* of the request (request_id.pxi) */
    FW_ATOM_QUEUE,       /* seconds that it has waited for a thread */
    FW_ATOM_APPLICATION, /* ... that it was in the application, */
    FW_ATOM_CPU,         /* ... with a processor, */
    FW_ATOM_OFF_CPU,     /* ... and without one */
    FW_ATOM_LOCK_WAIT,   /* ... that it has waited for the interpreter lock */
    FW_ATOM_SEND,        /* ... that it has waited for its client */
    FW_ATOM_FIELD, /* of the request, named by the piece */
    FW_ATOM_GIVEN, /* what the caller gives with the entry; the first such piece gets the first text, and so on */
};

/* Bytes that stay the giver's; `at` is NULL when there is no such thing. */
typedef struct fw_text {
    const char *at;
    size_t len;
} fw_text;

typedef struct fw_log_piece {
    uint8_t atom;   /* enum fw_atom */
    uint8_t id;     /* enum fw_name of a field, if it is one we know */
    uint32_t len;
    const char *text; /* the format's own text, or the lower-case name of a field; borrowed, outlives the log */
    char head[8];     /* a short one again: copied as a word */
} fw_log_piece;

typedef struct fw_access_log {
    fw_batch batch;
    const fw_log_piece *pieces; /* borrowed */
    unsigned npieces;
    bool json;          /* texts in quotes, null for what is missing, escapes as JSON has them */
    fw_text script_name; /* borrowed */
    time_t second;      /* which the two texts are of */
    char local[32], iso[32];
    char process[24];
    uint8_t process_len;
} fw_access_log;

#define FW_NO_TIME UINT64_MAX

/* What is told of one request. */
typedef struct fw_entry {
    const fw_request *req; /* NULL: no head of it was understood */
    fw_text line;          /* the request line as it came, of a request that is refused; else nothing */
    const struct sockaddr *client;
    int status;            /* 0: there is no response */
    fw_text reason;
    uint64_t bytes;        /* of the body of the response */
    uint64_t us;           /* how long it took */
    uint64_t queue_us, application_us, cpu_us, lock_us, send_us; /* parts of that, or FW_NO_TIME */
    fw_text id;            /* of the request, if it has one */
    int thread;            /* index of the application thread, -1 for none */
    const fw_text *given;
} fw_entry;

/* FW_OK or -ENOMEM; `fd` stays the caller's. */
int fw_access_log_open(fw_access_log **out, int fd, const fw_log_piece *pieces, unsigned npieces, bool json,
                       fw_text script_name);
void fw_access_log_close(fw_access_log *a);

/* Adds a line; it is written by fw_batch_flush. From any thread. */
void fw_access_log_put(fw_access_log *a, const fw_entry *e);

/* The reader of the lines does not keep up: only whoever polls tries again. */
static inline bool fw_access_log_waits(const fw_access_log *a)
{
    return fw_unlikely(atomic_load_explicit(&a->batch.waits, memory_order_relaxed));
}

/* Writes the lines that there are, if there is a log. Takes as long as the disk does: not under the loop's lock. */
static inline void fw_access_log_flush(fw_access_log *a)
{
    if (a != NULL && (fw_batch_len(&a->batch) != 0 || fw_access_log_waits(a)))
        fw_batch_flush(&a->batch);
}

/* The worker ends: the reader has a moment for what is left; then that is lost. */
void fw_access_log_finish(fw_access_log *a);

/* Lines lost since it was last asked, and the errno of the last failure in `*error`. */
unsigned long long fw_access_log_lost(fw_access_log *a, int *error);

#endif
