/* threads_fixture.h - several application threads with a standby, real sockets, and a stub application that the test directs.
 *
 * What the application does with a request is said by its target: see threads_fixture.c. A call that stands at a checkpoint tells the
 * test, and goes on when the test says so; nothing sleeps to wait for another thread. Every wait gives up, and with it
 * the program, after GUARD_S.
 */
#ifndef THREADS_FIXTURE_H
#define THREADS_FIXTURE_H

#include "loop_fixture.h"

#include <pthread.h>

#define WORKERS 4
#define CHECKPOINTS 64 /* calls that can stand at once */
#define GUARD_S 20

typedef struct threads_fixture threads_fixture;

typedef struct worker {
    threads_fixture *threads_fixture;
    fw_thread *thread;
    unsigned number;
    pthread_t id;
    atomic_uint wakes;
    atomic_int result; /* of its last fw_thread_next, once it is over */
    bool started;
} worker;

struct threads_fixture {
    loop_fixture loop_fixture;
    fw_leader *leader;
    fw_loop *loop; /* the leader's */
    worker workers[WORKERS];
    unsigned n;
    /* under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct {
        int by;    /* number of the worker that has come to this checkpoint, or -1 */
        bool open; /* it may go on */
    } checkpoints[CHECKPOINTS];
    int suspended_by, resumed_by; /* the last ones */
    int waits, wait_rc;           /* of fw_thread_wait */
    int gather_rc;                /* the last of fw_thread_gather */
    unsigned gone;
    atomic_int held;   /* owners and parked responses that have not come back */
    atomic_int listeners; /* threads of the application's with a socket that is taken over */
    atomic_bool spins; /* /spin goes on */
    atomic_bool waited; /* /write has come back from its last wait */
};

/* A loop with `n` threads and a standby; one thread leads and the others are idle when it returns. */
void threads_fixture_open(threads_fixture *m, const fw_config *cfg, unsigned n);

/* Stops the loop the quick way if it is not over, opens all checkpoints, and ends everything. */
void threads_fixture_close(threads_fixture *m);

/* Waits until a call has come to this checkpoint; the number of its worker. */
int threads_fixture_entered(threads_fixture *m, unsigned checkpoint);
bool threads_fixture_is_at(threads_fixture *m, unsigned checkpoint);
void threads_fixture_open_checkpoint(threads_fixture *m, unsigned checkpoint);

/* Waits until all workers have returned from the loop. */
void threads_fixture_over(threads_fixture *m);

/* Lets the loop's time pass, and the loop see it. */
void threads_fixture_pass(threads_fixture *m, unsigned ms);

/* Waits until the condition holds, which is called under the loop's lock. */
#define AWAIT(m, condition) threads_fixture_await_at(__FILE__, __LINE__, m, condition, #condition)
void threads_fixture_await_at(const char *file, int line, threads_fixture *m, bool (*holds)(const threads_fixture *m), const char *what);

/* A client over TCP, or on a pair of sockets with small buffers. */
int threads_fixture_client(threads_fixture *m);
int threads_fixture_narrow(threads_fixture *m);

/* Sends "GET target". */
void ask(int client, const char *target);

/* Waits for one complete response and returns its status; its body goes to `body` (which may be NULL), cut to `room`. */
int answered(int client, char *body, size_t room);

/* Waits for exactly `n` bytes. */
void expect_bytes(int client, const char *bytes, size_t n);

/* Waits for the end of the connection; the bytes before it. */
size_t ended(int client);

#endif
