/* company.h - several application threads with a standby, real sockets, and a stub application that the test directs.
 *
 * What the application does with a request is said by its target: see company.c. A call that stands at a mark tells the
 * test, and goes on when the test says so; nothing sleeps to wait for another thread. Every wait gives up, and with it
 * the program, after GUARD_S.
 */
#ifndef COMPANY_H
#define COMPANY_H

#include "stage.h"

#include <pthread.h>

#define PLAYERS 4
#define MARKS 64 /* calls that can stand at once */
#define GUARD_S 20

typedef struct company company;

typedef struct player {
    company *company;
    fw_thread *thread;
    unsigned number;
    pthread_t id;
    atomic_uint wakes;
    atomic_int result; /* of its last fw_thread_next, once it is over */
    bool started;
} player;

struct company {
    stage stage;
    fw_leader *leader;
    fw_loop *loop; /* the leader's */
    player players[PLAYERS];
    unsigned n;
    /* under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct {
        int by;    /* number of the player that has come to this mark, or -1 */
        bool open; /* it may go on */
    } marks[MARKS];
    int suspended_by, resumed_by; /* the last ones */
    int waits, wait_rc;           /* of fw_thread_wait */
    int gather_rc;                /* the last of fw_thread_gather */
    unsigned gone;
    atomic_int held;   /* owners and parked responses that have not come back */
    atomic_bool spins; /* /spin goes on */
    atomic_bool waited; /* /write has come back from its last wait */
};

/* A loop with `n` threads and a standby; one thread leads and the others are idle when it returns. */
void company_open(company *m, const fw_config *cfg, unsigned n);

/* Stops the loop the quick way if it is not over, opens all marks, and ends everything. */
void company_close(company *m);

/* Waits until a call has come to this mark; the number of its player. */
int company_entered(company *m, unsigned mark);
bool company_is_at(company *m, unsigned mark);
void company_open_mark(company *m, unsigned mark);

/* Waits until all players have returned from the loop. */
void company_over(company *m);

/* Lets the loop's time pass, and the loop see it. */
void company_pass(company *m, unsigned ms);

/* Waits until the condition holds, which is called under the loop's lock. */
#define AWAIT(m, condition) company_await_at(__FILE__, __LINE__, m, condition, #condition)
void company_await_at(const char *file, int line, company *m, bool (*holds)(const company *m), const char *what);

/* A client over TCP, or on a pair of sockets with small buffers. */
int company_client(company *m);
int company_narrow(company *m);

/* Sends "GET target". */
void ask(int client, const char *target);

/* Waits for one complete response and returns its status; its body goes to `body` (which may be NULL), cut to `room`. */
int answered(int client, char *body, size_t room);

/* Waits for exactly `n` bytes. */
void expect_bytes(int client, const char *bytes, size_t n);

/* Waits for the end of the connection; the bytes before it. */
size_t ended(int client);

#endif
