/* thread.h - what one application thread may do: pull turns, queue output, hand connections back.
 *
 * Threads pull: fw_thread_next runs the loop, or waits while another thread runs it, until a connection wants its turn,
 * and returns that connection. Nothing here ever calls back. All functions take the monitor's lock themselves.
 * fw_thread_send, and what fills an output queue, need no lock, because a BUSY connection belongs to its owner.
 *
 * The queue of a BUSY connection is shared in one case: while it gathers (small streamed blocks, or responses that share
 * a send) the standby sends what has waited for a millisecond. Then the owner reads and writes it between
 * fw_thread_open_gate and fw_thread_close_gate only: the queue, and what a failed send leaves in the connection.
 */
#ifndef FW_THREAD_H
#define FW_THREAD_H

#include "io/statics.h"
#include "io/takeover.h"
#include "threads/leader.h"

#include <pthread.h>
#include <stdatomic.h>

#define FW_GATHER 16384 /* queued bytes of a stream that go out at once; fewer wait for more, for about a millisecond */

enum fw_next {
    FW_NEXT_TURN, /* *out is a pulled connection */
    FW_NEXT_WAKE, /* a signal or a notice came, or objects want to be released: look around and call again */
    FW_NEXT_DONE, /* stopped: nothing will come any more */
};

typedef struct fw_thread {
    fw_leader *leader;
    struct fw_thread *next; /* all threads of the loop */
    fw_owner owner;         /* responses that only this thread may resume */
    fw_chunk_cache cache;         /* chunks, and to_release owners, of its output */
    fw_date date;
    fw_conn *to_release; /* closed, and only their `peer` waits to be released */
    bool memos_to_release;    /* remembered heads have objects to release */
    bool more;       /* when it pulled its last turn, another one was ready */
    bool away;       /* in a call */
    bool shown;      /* that call is on the board */
    fw_conn *conn;   /* what it has a turn for */
    unsigned index;  /* its place on the board */
    unsigned parked; /* suspended responses that only it can resume */
    bool timed;      /* its call counts for the average */
    bool at_door;    /* it has a turn and waits for the interpreter lock */
    /* waiting for something to do */
    pthread_cond_t wake;
    struct fw_thread *above, *below; /* the idle, latest on top */
    bool idle;
    bool woken_for_request; /* because requests wait in queued mode */
    bool must_return;       /* it is to return FW_NEXT_WAKE */
    int tid;                /* the system's number, to read its state */
    uint64_t entered;       /* us: when its call began (timed or shown) */
    uint64_t bytes_out;
    uint64_t turn_began; /* with metrics: us; 0: it has no turn */
    /* gathering */
    pthread_mutex_t gate;
    _Atomic(fw_conn *) gathering; /* whose queue the standby may send */
    atomic_bool pending;          /* something is queued there that the standby is to send */
} fw_thread;

/* One more application thread; to be called before the standby starts. The first one handles signals. NULL when memory
 * is short. It lives as long as the loop. */
fw_thread *fw_thread_open(fw_leader *l);

/* The next turn: enum fw_next or -errno. With `done`, a BUSY connection, that is handed back first: its response is
 * complete and queued (`keep`: the connection may live on), or it broke off (`cut`: the client must see the end). With
 * `hasty` it returns FW_RETRY where it would have to wait. */
int fw_thread_next(fw_thread *t, fw_conn *done, bool keep, bool cut, bool hasty, fw_conn **out);

/* Hands a connection back, as fw_thread_next does, and pulls nothing. */
void fw_thread_finish(fw_thread *t, fw_conn *done, bool keep, bool cut);

/* To be called by the thread itself, once. */
void fw_thread_attach(fw_thread *t);

/* After the standby has stopped: frees all threads of the loop. */
void fw_thread_close_all(fw_leader *l);

/* Notes that something is queued, or that nothing is. */
void fw_thread_pend(fw_thread *t, bool pending);

/* The thread has passed the door: it has the interpreter lock, and runs its turn. */
void fw_thread_enter(fw_thread *t);

/* Sends what is queued; results as fw_conn_send. */
int fw_thread_send(fw_thread *t, fw_conn *c);

/* The same for a streamed block; what a full socket does not take is left to the standby. FW_RETRY: the application is to
 * be held back, because so much is queued, or (`more`: it is to be asked for another block) because memory is short
 * (fw_conns.mark is 0) and the socket is full. Passes the gate, so it is not for those who have opened it. */
int fw_thread_pass(fw_thread *t, fw_conn *c, bool more);

/* Leaves what is queued to the standby, which sends it within about a millisecond. FW_OK, or -EPIPE: the client is
 * gone. */
int fw_thread_gather(fw_thread *t, fw_conn *c);

/* Around everything that touches the queue of a connection that gathers; cheap for one that does not. */
static inline void fw_thread_open_gate(fw_thread *t)
{
    if (atomic_load_explicit(&t->gathering, memory_order_relaxed) != NULL)
        pthread_mutex_lock(&t->gate);
}

static inline void fw_thread_close_gate(fw_thread *t)
{
    if (atomic_load_explicit(&t->gathering, memory_order_relaxed) != NULL)
        pthread_mutex_unlock(&t->gate);
}

/* Bytes that are queued and not yet sent. It passes the gate, so it is not for those who have opened it. */
static inline size_t fw_thread_queued(fw_thread *t, const fw_conn *c)
{
    fw_thread_open_gate(t);
    const size_t n = c->out.bytes;
    fw_thread_close_gate(t);
    return n;
}

/* Bytes that were queued when the connection broke, and never went out. Passes the gate, as above. */
static inline size_t fw_thread_unsent(fw_thread *t, const fw_conn *c)
{
    if (fw_likely(!atomic_load_explicit(&c->broken, memory_order_relaxed)))
        return 0;
    fw_thread_open_gate(t);
    const size_t n = c->unsent;
    fw_thread_close_gate(t);
    return n;
}

/* ---- what a response is queued with: meanings and results are told in outq.h ------------------------------------------ */

static inline char *fw_thread_reserve(fw_thread *t, fw_conn *c, size_t n)
{
    return fw_outq_reserve(&c->out, &t->cache, n);
}

static inline void fw_thread_commit(fw_conn *c, size_t n)
{
    fw_outq_commit(&c->out, n);
}

static inline int fw_thread_copy(fw_thread *t, fw_conn *c, const void *data, size_t n)
{
    return fw_outq_copy(&c->out, &t->cache, data, n);
}

/* The head of a file that the application has named: all of it, or its last fields (statics.h). */
static inline int fw_thread_file_head(fw_thread *t, fw_conn *c, fw_sending *s, bool keep)
{
    return fw_sending_head(s, c->req, &c->out, &t->cache, &t->date, keep);
}

static inline int fw_thread_file_fields(fw_thread *t, fw_conn *c, fw_sending *s, bool keep, bool typed)
{
    return fw_sending_fields(s, c->req, &c->out, &t->cache, keep, typed);
}

static inline int fw_thread_ref(fw_thread *t, fw_conn *c, const void *data, size_t n, void *owner)
{
    return fw_outq_ref(&c->out, &t->cache, data, n, owner);
}

static inline int fw_thread_file(fw_thread *t, fw_conn *c, int fd, int64_t offset, size_t n, void *owner)
{
    return fw_outq_file(&c->out, &t->cache, fd, offset, n, owner);
}

static inline fw_outq_mark fw_thread_here(const fw_conn *c)
{
    return fw_outq_here(&c->out);
}

static inline void fw_thread_rollback(fw_thread *t, fw_conn *c, fw_outq_mark mark)
{
    fw_outq_rollback(&c->out, &t->cache, mark);
}

/* Bytes that are queued, to be called between the gates. */
static inline size_t fw_thread_unsent_inside(const fw_conn *c)
{
    return fw_outq_unsent(&c->out);
}

/* A streamed block has been queued, with which there are `queued` bytes: true if it may wait for more (fw_thread_gather),
 * false if it is to be sent. */
static inline bool fw_thread_gathers(const fw_thread *t, size_t queued)
{
    return queued < FW_GATHER && t->leader->running &&
           fw_likely(atomic_load_explicit(&t->leader->loop.conns.mark, memory_order_relaxed) >= FW_GATHER);
}

/* Parks the response `user`: fw_conn_suspend. */
void fw_thread_suspend(fw_thread *t, fw_conn *c, void *user);

/* Waits until most of the output of a BUSY connection is sent, while others lead the loop. FW_OK; -EPIPE: the client is
 * gone; FW_RETRY: look around (signals) and call again. */
int fw_thread_wait(fw_thread *t, fw_conn *c);

/* The call that the thread is in may take `us` from now on, or FW_NO_LIMIT, whatever the settings say. */
void fw_thread_limit(fw_thread *t, uint64_t us);

/* The application wants to know whether its client is gone: fw_conn_watch. */
void fw_thread_watch(fw_thread *t, fw_conn *c);

/* The application takes the socket of a BUSY connection, whose queue is empty, over: fw_takeover_open. */
int fw_thread_take_over(fw_thread *t, fw_conn *c, fw_takeover **out);

/* The application is done with it: fw_takeover_leave. From any thread. */
void fw_thread_leave_socket(fw_thread *t, fw_takeover *k, bool give_away);

/* When no thread is inside any more: closes every connection, forgets every head, and leaves what is to be released to
 * `t`, which has nothing else to release. */
void fw_thread_clear_up(fw_thread *t);

/* True if the board shows the call that `t` is in; then `*to` is what it shows. From any thread. */
bool fw_thread_call(fw_thread *t, fw_board_call *to);

/* With watch_gone: the client of the call that the board shows is gone. From any thread. */
bool fw_thread_client_gone(fw_thread *t);

/* The next object (owner of sent bytes, peer of a closed connection, what a forgotten head had) that this thread must
 * release, or NULL. */
void *fw_thread_to_release(fw_thread *t);

#endif
