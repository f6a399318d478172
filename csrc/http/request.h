/* request.h - one request: its head as spans into the receive buffer, its framing, its body, and every refusal.
 *
 * A head is parsed by llhttp as its bytes arrive and judged once it is complete (docs/contract.md, sections 1 to 3).  All spans
 * are offsets from `base`, the address of the request's first byte, so that the buffer may move while a head is
 * unfinished.  A refusal is a status and a sentence; the request is then never shown to an application.
 */
#ifndef FW_REQUEST_H
#define FW_REQUEST_H

#include "http/body.h"
#include "fw.h"
#include "http/llhttp.h"
#include "http/names.h"
#include "http/networks.h"

typedef struct fw_span {
    uint32_t off, len;
} fw_span;

enum fw_field_flags {
    FW_FIELD_HIDDEN = 1, /* not for the environ: dropped by rule */
};

typedef struct fw_field {
    fw_span name;
    fw_span value; /* without white space around it */
    uint8_t id;    /* enum fw_name */
    uint8_t flags;
} fw_field;

/* What of a request follows the word of a trusted proxy (forwarded.h). */
enum fw_follow {
    FW_FOLLOW_SCHEME = 1,
    FW_FOLLOW_ADDRESS = 2,
    FW_FOLLOW_HOST = 4,
    FW_FOLLOW_PORT = 8,
    FW_FOLLOW_PREFIX = 16,
    FW_FOLLOW_MOUNT = 32, /* the field SCRIPT_NAME, a forwarder header */
    FW_FOLLOW_START = 64,   /* when it came to the proxy (budget.h) */
    FW_FOLLOW_BUDGET = 128, /* ... and how long the client waits */
};

typedef struct fw_followed {
    fw_address client;
    fw_span host, prefix, mount;
    uint16_t port;
    bool secure; /* the scheme is https */
    uint32_t budget; /* ms */
    uint64_t start;  /* us since 1970 */
} fw_followed;

enum fw_framing { FW_FRAMING_NONE, FW_FRAMING_LENGTH, FW_FRAMING_CHUNKED };

typedef struct fw_request {
    fw_llhttp parser; /* first: llhttp's callbacks get its address */
    const fw_llhttp_api *api;
    const fw_config *cfg;
    const char *base;
    fw_field *fields;
    struct fw_request *at_rest; /* the next one that nobody uses */
    uint32_t room;     /* fields that fit */
    fw_followed followed; /* what r->follows names */
    fw_known_address known; /* of X-Forwarded-For, of this request or one before it */
    uint32_t nfields;  /* the first member that fw_request_reset clears */
    uint32_t start;    /* of the request line: 0, or 2 behind one empty line */
    uint32_t fed;      /* bytes given to llhttp */
    uint32_t head_len; /* bytes up to and including the empty line; 0 while the head is unfinished */
    fw_span method, target;
    fw_span path, query; /* parts of the target; both empty for an asterisk */
    fw_span authority;   /* of an absolute-form target, else empty */
    uint64_t length;     /* Content-Length */
    uint64_t names;      /* the set of known names that occur; bit 0: others that forwarded.h is to look at */
    fw_body body;
    uint32_t trailers; /* counted, not kept */
    uint64_t chunk_size;      /* of the size line at hand, as far as it has been read */
    uint64_t extension_total; /* bytes of all chunk extensions */
    uint32_t extension_bytes; /* ... of this chunk's */
    uint32_t trailer_bytes, trailer_field; /* of fields */
    uint64_t trailer_wire;    /* ... and of all that the trailer section holds */
    uint32_t work;            /* what chunks have cost since somebody looked, as received bytes that cost as much */
    uint8_t size_state;       /* see chunks.c */
    uint8_t size_digits;      /* of the size line at hand */
    uint16_t nvariables;      /* of a uwsgi packet, behind the fields in their array (uwsgi.h) */
    int status;        /* of the refusal; 0 = none */
    const char *why;   /* static */
    uint8_t method_id; /* llhttp's number */
    uint8_t minor;     /* of HTTP/1.x */
    uint8_t framing;   /* enum fw_framing */
    bool has_length;   /* a Content-Length field was there */
    bool keep_alive;   /* the client lets the connection live on */
    bool expects;      /* 100-continue is awaited */
    bool repeats;      /* some known name, or its environ key, may occur more than once */
    bool bad_line;     /* llhttp refused the request line: waiting for the rest of it to say why */
    bool in_body;      /* the parser has been set up for a chunked body */
    bool whole;        /* the body is complete */
    bool asterisk;     /* OPTIONS * */
    uint8_t follows;   /* set of enum fw_follow */
    bool upgrade;      /* the client asks for another protocol (RFC 9110 7.8) */
    uint8_t memo_use;  /* enum fw_memo_use */
    bool uwsgi;        /* it came as a packet of the uwsgi protocol */
    struct fw_memo *memo; /* pinned by this request, or NULL */
} fw_request;

enum fw_parse { FW_PARSE_MORE = 0, FW_PARSE_DONE = 1, FW_PARSE_REFUSED = 2 };

/* NULL when memory is short. */
fw_request *fw_request_open(const fw_llhttp_api *api, const fw_config *cfg);
void fw_request_close(fw_request *r);

/* Makes `r` ready for another request; releases the body. */
void fw_request_reset(fw_request *r);

/* Parses what is new in the `len` bytes at `base` (all bytes of this request so far, contiguous).  DONE: the head is
 * complete and accepted, r->head_len bytes long. */
enum fw_parse fw_request_parse(fw_request *r, const char *base, size_t len);

/* Takes over what `m` remembers of an equal header block; `base` is the start of the request. DONE, or MORE if the
 * request line is not one to take the shortcut with: then fw_request_parse judges the whole head. */
enum fw_parse fw_request_recall(fw_request *r, struct fw_memo *m, unsigned use, const char *base);

/* Decodes the next `n` bytes of a chunked body into r->body.  DONE: the body is whole, `*used` bytes were consumed. */
enum fw_parse fw_request_chunks(fw_request *r, const char *data, size_t n, size_t *used);

/* Makes room for more fields, which may move. False: there is no memory. */
bool fw_request_more_fields(fw_request *r);

/* Marks the request refused; returns FW_PARSE_REFUSED. */
enum fw_parse fw_request_refuse(fw_request *r, int status, const char *why);

/* The refusal for a body that could not be stored: `error` is what body.h returned. */
enum fw_parse fw_request_refuse_storage(fw_request *r, int error);

/* Its head is accepted: the answer, a refusal too, has no content (RFC 9110 9.3.2). */
static inline bool fw_request_is_head(const fw_request *r)
{
    return r->method_id == FW_METHOD_HEAD;
}

static inline const char *fw_request_at(const fw_request *r, fw_span s)
{
    return r->base + s.off;
}

#endif
