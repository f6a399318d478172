/* doing.h - what threads do in calls that last, seen from the side.
 *
 * A thread of the sampler looks at the board every few milliseconds, and asks the kernel about each thread that is in the
 * application: does it run, or in which system call does it wait, and at which address. Those that are looked at pay
 * nothing, and nobody needs the interpreter lock for it. Where the kernel does not tell (macOS), nothing is known.
 *
 * Threads that want the interpreter lock wait at an address of its own, which is learnt once. If a thread that wants it
 * now and then (the witness) waits for it for long, whoever is in a call and does not wait for it keeps it.
 */
#ifndef FW_DOING_H
#define FW_DOING_H

#include "observe/scoreboard.h"

enum fw_doing {
    FW_DOING_RUN,   /* it runs, or would if there were a processor */
    FW_DOING_GIL,   /* it waits for the interpreter lock */
    FW_DOING_LOCK,  /* ... for another lock, or another thread */
    FW_DOING_SLEEP, /* it sleeps for a time */
    FW_DOING_NET,   /* it waits for a socket, a pipe or another process */
    FW_DOING_DISK,  /* ... for a file */
    FW_DOING_OTHER,
    FW_DOINGS
};

/* Of one call: how long it was seen doing what. */
typedef struct fw_seen {
    uint32_t number; /* of the call; 0: none was seen */
    uint64_t us[FW_DOINGS];
    uint64_t kept; /* us: while others waited for the interpreter lock and got it not */
    fw_board_call keeper; /* who kept it last when this call waited for it; number 0: nobody */
} fw_seen;

typedef struct fw_sampler fw_sampler;

/* Starts a sampler of the calls on `board`. FW_OK or -errno; `*out` is set on success only. */
int fw_sampler_open(fw_sampler **out, const fw_board *board);

/* Ends it. NULL is allowed. */
void fw_sampler_close(fw_sampler *s);

/* Where threads wait for the interpreter lock: an address that fw_doing_waits_at has told. */
void fw_sampler_know_lock(fw_sampler *s, uint64_t address);

/* The thread `tid` is the witness, and has had the interpreter lock `turns` times. */
void fw_sampler_witness(fw_sampler *s, uint32_t tid, uint32_t turns);

/* What was seen of call `number` of a thread; number 0 if nothing was. From any thread. */
fw_seen fw_sampler_seen(fw_sampler *s, unsigned thread, uint32_t number);

/* The address of the lock that a thread of this process waits for; 0: it does not, or that is not known. */
uint64_t fw_doing_waits_at(uint32_t tid);

/* The system's number of the calling thread, 0 if it has none. */
uint32_t fw_doing_tid(void);

/* Microseconds of CPU time of the calling thread. */
uint64_t fw_doing_cpu(void);

#endif
