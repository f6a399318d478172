/* worker.h - a stub in the worker's place: how it answers is drawn from the fuzzer's input.
 *
 * It keeps the rules that worker_thread.pxi keeps towards the core, and no more than those.  Whatever it hands in (owners of
 * queued memory and files, peers, suspended responses, what it built from a remembered head) is a token, and each token
 * has to come back exactly once.
 */
#ifndef WORKER_H
#define WORKER_H

#include "fuzz.h"
#include "threads/thread.h"

#define TOKENS 4096

enum token_kind { TOKEN_OWNER, TOKEN_PEER, TOKEN_MEMO, TOKEN_RESPONSE };

typedef struct token {
    enum token_kind kind;
    bool out;        /* handed in and not yet back */
    char *memory;    /* of an owner; goes with it */
    unsigned seq;    /* of a peer: responses begun */
    unsigned blocks; /* of a response: still to come, */
    size_t block;    /* of this many bytes each, */
    uint64_t at;     /* the next one from here on */
    bool cut;        /* it ends before its time */
    bool closes;     /* its head says that the connection ends with it */
} token;

typedef struct worker {
    fw_leader *leader;
    fw_loop *loop; /* the leader's */
    fw_thread *thread;
    tape *script;
    const fw_config *cfg;
    token tokens[TOKENS];
    unsigned used, out;
    fw_conn *held; /* to be finished by the next call of worker_next */
    bool keep, cut;
    bool strict;   /* responses name their request and say if they are the last; those to HEAD have no body, */
    bool calm;     /* and none breaks off by itself */
    unsigned cuts; /* responses that broke off all the same */
    bool (*meanwhile)(void *data); /* while it waits inside the application; false: it gives up */
    void *data;
    unsigned depth;
} worker;

/* Makes what all workers share. */
void worker_prepare(void);

void worker_open(worker *w, tape *script, const fw_config *cfg);

/* Finishes what is held, takes the next turn and serves it.  As fw_thread_next. */
int worker_next(worker *w, fw_conn **c);

/* Ends all as a worker that leaves, and checks that everything has come back. */
void worker_close(worker *w);

#endif
