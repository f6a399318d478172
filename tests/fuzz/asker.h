/* asker.h - a strict client that knows what it has asked: every response has to be that of the request whose turn it is.
 *
 * It sends well-formed requests (and two that have to be refused), whole or in pieces, and holds each response against
 * its request: who answers it, with which status, and whether there is a body.
 */
#ifndef ASKER_H
#define ASKER_H

#include "client.h"

#define ASKS 400
#define HEALTH "/health"

/* Who answers. */
enum asked { ASKED_APPLICATION, ASKED_HEALTH, ASKED_NOBODY };

typedef struct ask {
    enum asked of;
    bool head, expects;
    char target[24];
    uint64_t start, end; /* among the bytes of this client */
    uint64_t began;      /* ms: when its first byte was sent; 0: not yet */
} ask;

/* What the responses of a run may be. */
typedef struct rules {
    uint64_t now, linger;  /* ms: since the beginning; how long a closing connection is read from */
    const uint32_t *grace; /* of the minimal rate; NULL: there is none */
    bool health;          /* the loop answers for its health */
    bool queue;           /* requests are refused when too many wait */
    bool stopping;
    bool lenient; /* calls fail, responses break off: any refusal is in order, and any response may end too early */
} rules;

typedef struct asker {
    client c; /* first */
    const rules *r;
    ask asks[ASKS];
    unsigned asked, answered;
    unsigned responses; /* of the application */
    uint64_t queued;    /* bytes in all */
    bool last;          /* has said that it closes: nothing may follow (RFC 9112 section 9.6) */
} asker;

#define ASK_KINDS 16

void asker_open(asker *a, const rules *r, int fd, bool tcp);

/* Queues a request; one for which there is no room is left out. */
void asker_ask(asker *a, unsigned kind);

/* As client_send and client_hear. */
void asker_send(asker *a, size_t most);
void asker_hear(asker *a, size_t most);

/* Requests that have been sent to their last byte. */
unsigned asker_sent(const asker *a);

/* Nothing more will come: all that has been asked is answered. */
void asker_judge_end(const asker *a);

#endif
