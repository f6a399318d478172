/* loop_fixture.h - a loop with a listener, clients on real sockets, and a stub application in the worker's place.
 *
 * Everything runs in one thread (and a standby, if the test wants one) and nothing sleeps: loop_fixture_run lets the loop go on
 * until it would wait for the system, and gives every connection that it hands out to the application.
 */
#ifndef LOOP_FIXTURE_H
#define LOOP_FIXTURE_H

#include "threads/thread.h"

#include <netinet/in.h>

typedef struct loop_fixture loop_fixture;

/* What the application does with a connection it was given.  It must finish or suspend it. */
typedef void (*loop_fixture_app)(loop_fixture *s, fw_conn *c);

struct loop_fixture {
    fw_leader *leader;
    fw_loop *loop;     /* the leader's */
    fw_thread *thread; /* the test's own */
    fw_config cfg;
    int listener;
    struct sockaddr_in address;
    fw_listener local; /* what connections made by loop_fixture_pair came from */
    loop_fixture_app app;
    void *data;       /* the application's */
    unsigned requests; /* given to the application */
    unsigned resumed, gone;
    unsigned recalled; /* requests of which the head, or its header block, was remembered */
    int memos, peers;  /* references that remembered heads and connections hold */
    int rc;     /* what fw_thread_next returned last */
    bool reset; /* the connection that loop_fixture_hear heard last ended with an error */
};

/* FW_OK, or what fw_leader_open said; then the loop_fixture is not open. */
int loop_fixture_try_open(loop_fixture *s, const fw_config *cfg);
void loop_fixture_open(loop_fixture *s, const fw_config *cfg);

/* Ends all responses, closes all connections and frees the loop, as a worker does when it leaves. */
void loop_fixture_close(loop_fixture *s);

/* Starts the standby: without it the thread leads for ever. */
void loop_fixture_standby(loop_fixture *s);

/* Closes every connection and ends all responses; the loop can go on. */
void loop_fixture_abandon(loop_fixture *s);

/* The thread's next turn; `*c` is NULL if there is none. */
int loop_fixture_next(loop_fixture *s, fw_conn **c);

/* The thread hands the connection back. */
void loop_fixture_finish(loop_fixture *s, fw_conn *c, bool keep, bool cut);

/* Runs the loop until it would wait, or reports the end or an error.  Returns s->rc. */
int loop_fixture_run(loop_fixture *s);

/* A client connected to the listener, not yet accepted. */
int loop_fixture_client(loop_fixture *s);

/* A client whose connection the loop has taken; its buffers are made small if `narrow`. */
int loop_fixture_pair(loop_fixture *s, bool narrow, fw_conn **conn);

/* Lets the loop run until the client has received `responses` complete responses, or the end of the connection, or
 * (`responses` 0) there is nothing more to come now.  Returns the bytes received; they are terminated by a zero.  `*end` becomes
 * true if the connection ended. */
size_t loop_fixture_hear(loop_fixture *s, int client, char *to, size_t room, unsigned responses, bool *end);

/* Complete responses in these bytes. */
unsigned responses_in(const char *bytes, size_t n);

/* Answers with what it was asked: method, target, length and checksum of the body, path, query, known names, version
 * and persistence; all in the body of the response. */
void loop_fixture_answer(loop_fixture *s, fw_conn *c);

/* Queues a head for a body of `n` bytes; false if memory is short. */
bool loop_fixture_head(loop_fixture *s, fw_conn *c, size_t n);

/* Gives back the owners and peers that the loop no longer needs; each is an int that is made smaller by one.  Returns
 * their number. */
unsigned loop_fixture_release(loop_fixture *s);

#endif
