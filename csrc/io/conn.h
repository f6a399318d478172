/* conn.h - one connection: its states, what may follow what, and everything that moves it.
 *
 * Rule 1: a connection changes its state through move() in conn.c and nowhere else. The table there has the event that
 *         causes each move, and every build holds to it.
 * Rule 2: it belongs either to the loop or to the one thread that pulled its request (BUSY).  While it is BUSY the loop
 *         does no more than note what has become of its socket: input, blocked, broken.
 * Rule 3: it is freed at the loop's safe point, never inside an event, so a stale event finds a CLOSED connection.
 * Rule 4: while a part of its body is being written to a file (STORE) only that part and the file are lent, to a job
 *         (store.h). The loop neither reads nor parses it, no timeout runs, and it may be closed at any time: then the
 *         job has no owner any more, and whoever does it cleans up. The same holds for the file of a response (FILE).
 *
 * Everything here is called under the loop's lock (leader.h), except what an owner does to a BUSY connection: reading its
 * request, filling its output queue, and fw_conn_send (thread.h says when the standby may do that too).
 */
#ifndef FW_CONN_H
#define FW_CONN_H

#include "fw.h"
#include "http/request.h"
#include "io/deadline.h"
#include "io/outq.h"
#include "observe/metrics.h"
#include "tls/context.h"
#include "tls/tls.h"

#include <stdatomic.h>

enum fw_state {
    FW_STATE_OPEN,      /* accepted, not a byte yet */
    FW_STATE_IDLE,      /* between two requests */
    FW_STATE_HEAD,      /* some bytes of a head */
    FW_STATE_BODY,      /* head accepted, body arriving */
    FW_STATE_STORE,     /* ... and a part of it being written to its file */
    FW_STATE_FILE,      /* the loop answers with a file: it waits for a disk, or for its turn */
    FW_STATE_READY,     /* a complete request (or a wake-up for its response) waits to be pulled */
    FW_STATE_BUSY,      /* pulled: lent to a worker thread */
    FW_STATE_SUSPENDED, /* its response waits until the client has taken what is queued */
    FW_STATE_FLUSH,     /* the response is complete, its last bytes are not sent */
    FW_STATE_LINGER,    /* our side is shut; what the client still sends is thrown away */
    FW_STATE_CLOSED,    /* descriptor closed, memory awaits the safe point */
    FW_STATES
};

/* What a pulled connection is pulled for. */
enum fw_turn {
    FW_TURN_REQUEST, /* run the application on conn->req */
    FW_TURN_RESUME,  /* go on with the suspended response conn->user */
    FW_TURN_GONE,    /* the client is gone: end the suspended response conn->user */
};

enum fw_handle_kind { FW_HANDLE_CONN, FW_HANDLE_LISTENER, FW_HANDLE_WAKE, FW_HANDLE_LIFELINE, FW_HANDLE_BELL };

typedef struct fw_handle { /* first member of whatever the poller reports */
    uint8_t kind;
} fw_handle;

typedef struct fw_listener {
    fw_handle handle;
    bool tcp;
    bool uwsgi; /* its clients speak the uwsgi protocol (uwsgi.h) */
    int fd;
    unsigned index; /* its place among the listeners; the worker keeps a base environ per listener */
    uint64_t cookie; /* what the system knows it by (travel.h) */
    fw_tls_context *tls; /* its connections speak TLS, with these certificates; or NULL; a reference */
} fw_listener;

/* Received bytes: [0, pos) are behind us, [pos, len) belong to the request at hand or to later ones. */
typedef struct fw_buffer {
    struct fw_buffer *next;
    uint32_t pos, len, cap;
    char data[];
} fw_buffer;

#define FW_RECEIVE 32768 /* bytes of the loop's receive buffer */

/* How fast a client takes a queue that has found its socket full: measured from there until it has emptied. */
typedef struct fw_pace {
    atomic_bool waits; /* it is being measured */
    uint32_t since;    /* ms, the low bits: when it began */
    uint32_t moved_at; /* ... and when the socket took something last (for the write timeout) */
    uint32_t taken_at; /* ... and when the client did, as far as the checks have seen */
    int unacked;       /* bytes that were in the socket then, and not taken yet */
    uint64_t moved;    /* bytes that the socket has taken since */
    uint64_t taken;    /* ... and the client, at the last check */
    uint64_t step;     /* the most that it had taken from one check to the next */
} fw_pace;

typedef struct fw_conn {
    fw_handle handle;
    uint8_t state; /* enum fw_state */
    uint8_t turn;  /* enum fw_turn, while READY or BUSY */
    bool polled;   /* registered with the poller */
    bool input;    /* the socket may have bytes for us (edge-triggered: noted until a read finds it empty) */
    bool eof;      /* the client has shut its side */
    atomic_bool broken;  /* the socket is of no use any more */
    atomic_bool lost;    /* of a watched BUSY connection: the client has reset it, */
    atomic_bool shut;    /* ... or has shut its side */
    atomic_bool blocked; /* a send found the socket full, and no event has said otherwise since */
    bool closing;  /* close once the queue is flushed */
    bool lingers;  /* ... and let the client finish talking */
    bool waiter;   /* its owner waits in fw_thread_wait for the queue to empty */
    bool again;    /* in the list of those whose reading was cut short for fairness */
    bool limited;  /* its socket takes little that cannot be sent */
    bool held;     /* FLUSH, and among those whose responses are sent together */
    bool first;    /* READY, and served before those that are not */
    bool leased;   /* taken over, and in use beyond the end of its request: LINGER with neither side shut */
    int fd;
    fw_tls *tls;     /* NULL: it speaks plain HTTP, or its goodbye has been said */
    uint32_t since;  /* ms, the low bits: when the request at hand began to arrive */
    uint32_t got;    /* bytes of it since then */
    uint32_t lent;   /* ms, the low bits: when it came to STORE */
    uint32_t ready_at; /* ms, the low bits: when its complete request was here, at the latest */
    uint64_t worth_until; /* ms: when nobody waits for the answer to the request at hand any more; 0: that is not known */
    uint32_t served; /* requests answered */
    uint8_t memo_hint; /* slot of its last head plus one, 0 = none */
    fw_deadline deadline;
    struct fw_conn *prev, *next; /* all connections of the loop */
    struct fw_conn *link; /* in one list at a time: ready queue, its owner's, those to read again, to free, to release */
    const fw_listener *listener;
    fw_request *req; /* from the first byte of a head to the end of its response */
    fw_buffer *in;   /* NULL while nothing unread is here: an idle connection holds no buffer */
    fw_outq out;
    size_t counted; /* what of conns.queued is ours */
    fw_pace pace;
    size_t unsent; /* of a broken connection: what was queued then */
    struct fw_owner *owner; /* who pulled it last: a suspended response goes on there */
    void *user; /* the worker's: the suspended response; owned by whoever pulled it last */
    void *peer; /* the worker's: objects that name the client; handed back by fw_thread_to_release */
    fw_address address; /* of its other end, or what a PROXY header says; family AF_UNIX or 0 when it has none */
    unsigned origin;    /* what decides, beside a head, what the head means: enum fw_origin, and the listener's index */
    uint8_t proxy;      /* enum fw_proxy_header_due */
    bool unsettled;     /* timed: a response has been handed over, some of it is not sent, and somebody waits for that */
    struct fw_sending *file; /* what follows its queue (statics.h), or NULL; an owner may set it. While a job has it, the job is */
    struct fw_job *fetch;    /* ... here */
    struct fw_takeover *taken; /* its application speaks with the client itself (takeover.h), or NULL */
} fw_conn;

/* Where requests are timed there is room for this behind every connection. */
static inline fw_timing *fw_conn_timing(fw_conn *c)
{
    return (fw_timing *)(void *)(c + 1);
}

/* Bits of fw_conn.origin; the listener's index is above them. */
enum fw_origin {
    FW_ORIGIN_TRUSTED = 1, /* forwarded_allow_ips has its peer: what it says of its client is followed */
    FW_ORIGIN_TLS = 2,     /* a PROXY header says that its client speaks TLS */
    FW_ORIGIN_BITS = 2
};

/* Whether a PROXY header is the first that comes. */
enum fw_proxy_header_due { FW_PROXY_NOT_DUE, FW_PROXY_DUE, FW_PROXY_FORBIDDEN };

/* One who pulls connections, as the connections know it: what only it may go on with. */
typedef struct fw_owner {
    fw_conn *head, *tail; /* suspended responses whose turn has come (READY) */
    bool called;          /* there is one, or the wait of a waiter is over: it is to look */
    bool writable;        /* the socket of a BUSY connection, found full before, takes more */
} fw_owner;

static inline const struct sockaddr *fw_conn_address(const fw_conn *c)
{
    return &c->address.any;
}

/* Who sent the request at hand: what a trusted proxy says, or else the other end of the connection. */
static inline const struct sockaddr *fw_conn_client(const fw_conn *c)
{
    const fw_request *r = c->req;
    return r != NULL && (r->follows & FW_FOLLOW_ADDRESS) ? &r->followed.client.any : &c->address.any;
}

/* True if the application may take the socket of a BUSY connection over: its client asks for another protocol, and has no
 * body to send first. Not through TLS: it would get the bytes of records. */
static inline bool fw_conn_offers(const fw_conn *c)
{
    return c->req->upgrade && c->req->framing == FW_FRAMING_NONE && c->tls == NULL && !c->listener->uwsgi;
}

/* What has been received behind the request of a BUSY connection. */
static inline const char *fw_conn_early(const fw_conn *c, size_t *n)
{
    *n = c->in != NULL ? c->in->len - c->in->pos : 0;
    return *n != 0 ? c->in->data + c->in->pos : NULL;
}

struct fw_conns; /* what the connections of one loop share: conns.h */
struct fw_travel; /* how connections come to other workers: travel.h */
struct fw_parcel;

/* A connection for an accepted, non-blocking descriptor; NULL when memory is short (the descriptor stays the
 * caller's).  It has not been read from yet: fw_conn_event(FW_EVENT_IN) does that. */
fw_conn *fw_conn_open(struct fw_conns *cs, int fd, const fw_listener *listener, const struct sockaddr *address,
                      socklen_t len);

/* Everything that waits for the poller passes here. False: the system refused, the connection is gone. */
bool fw_conn_arm(struct fw_conns *cs, fw_conn *c);

/* What the poller reported. */
void fw_conn_event(struct fw_conns *cs, fw_conn *c, unsigned flags);

/* The job that a connection in STORE has waited for is done. */
void fw_conn_stored(struct fw_conns *cs, fw_conn *c);

/* Its deadline has passed. */
void fw_conn_expire(struct fw_conns *cs, fw_conn *c);

/* Refuses at once, before any request (overload). */
void fw_conn_refuse_now(struct fw_conns *cs, fw_conn *c, int status, const char *why);

/* The next connection for `owner`, now BUSY (c->turn says for what), or NULL: a suspended response of its own, or, with
 * `any`, the longest waiting request. */
fw_conn *fw_conn_pull(struct fw_conns *cs, fw_owner *owner, bool any);

/* The owner of a BUSY connection sends what is queued; its own business, so without the lock.  `cache` is the owner's,
 * `*sent` grows by the bytes.  FW_OK: all sent; FW_RETRY: some remains; -errno: the client is gone, and all that
 * remains is to finish. */
int fw_conn_send(fw_conn *c, fw_chunk_cache *cache, uint64_t *sent);

/* The owner of a BUSY connection that streams while memory is short: its socket takes little of what its client has no
 * room for. Once is enough. */
void fw_conn_limit_unsent(fw_conn *c);

/* The owner of a BUSY connection with an empty queue asks whether its socket has room. If not, the poller tells when it
 * has. */
bool fw_conn_has_room(fw_conn *c);

/* From now on the owner of a BUSY connection can ask whether its client is gone, and need not wait for the poller to tell it
 * what has happened before. */
void fw_conn_watch(struct fw_conns *cs, fw_conn *c);

/* Nobody waits for the answer to the request of a watched connection any more. For its owner, without the lock. */
bool fw_conn_is_gone(const struct fw_conns *cs, const fw_conn *c);

/* The owner parks the response `user` until the queue has drained (then TURN_RESUME) or the client is gone (then
 * TURN_GONE). */
void fw_conn_suspend(struct fw_conns *cs, fw_conn *c, void *user);

/* The owner waits for the same, with the connection; it is BUSY again when that has come. */
void fw_conn_wait(struct fw_conns *cs, fw_conn *c);

/* ... or when the owner does not want to wait any longer. */
void fw_conn_take_back(struct fw_conns *cs, fw_conn *c);

/* The owner hands the connection back: the response is complete and queued (`keep`: the connection may live on), or it
 * broke off (`keep` false, `cut` true: no lingering, the client must see the end). With `more`, the next request is to be
 * run at once, the response may be held until fw_conns_release. */
void fw_conn_finish(struct fw_conns *cs, fw_conn *c, bool keep, bool cut, bool more);

/* Whoever had the socket of a connection that its application has taken over is done with it, after the request: it
 * lingers as others do. */
void fw_conn_end_lease(struct fw_conns *cs, fw_conn *c);

/* A graceful stop has begun: an idle connection leaves unless a request is on its way. */
void fw_conn_retire(struct fw_conns *cs, fw_conn *c);

/* Sends a connection that waits for its next request to another worker. False: there is no room now. One that cannot travel
 * stays. */
bool fw_conn_pass_on(struct fw_conns *cs, fw_conn *c, const struct fw_travel *t);

/* Takes over a connection that another worker has sent, with all that has come with it. False: no memory, it is closed. */
bool fw_conn_take_over(struct fw_conns *cs, struct fw_parcel *p, const fw_listener *listener);

/* Closes whatever the state; a suspended response is reported as TURN_GONE, a waiter is woken. */
void fw_conn_close(struct fw_conns *cs, fw_conn *c);

#endif
