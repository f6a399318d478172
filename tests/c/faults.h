/* faults.h - the system as the core sees it, made to fail on demand.
 *
 * The linker hands the core's calls of these functions to us (--wrap): they are counted, and those that a plan names
 * fail with its error or move fewer bytes than they were asked to.  The loop's time stands still unless a test moves it,
 * and the poller does not sleep unless it is told to: where it would, the loop is told that a signal came, which makes
 * fw_thread_next return.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, "name"): the calls that can be made to fail. */
#define FAULTS(X)                                                                                                      \
    X(MEMORY, "malloc")                                                                                                \
    X(RECV, "recv")                                                                                                    \
    X(SEND, "send")                                                                                                    \
    X(RECVMSG, "recvmsg")                                                                                              \
    X(SENDMSG, "sendmsg")                                                                                              \
    X(SENDFILE, "sendfile")                                                                                            \
    X(ACCEPT, "accept4")                                                                                               \
    X(SHUTDOWN, "shutdown")                                                                                            \
    X(SETSOCKOPT, "setsockopt")                                                                                        \
    X(EPOLL_CREATE, "epoll_create1")                                                                                   \
    X(EPOLL_CTL, "epoll_ctl")                                                                                          \
    X(EPOLL_WAIT, "epoll_wait")                                                                                        \
    X(PIPE, "pipe2")                                                                                                   \
    X(READ, "read")                                                                                                    \
    X(WRITE, "write")                                                                                                  \
    X(PREAD, "pread")                                                                                                  \
    X(OPEN, "open")                                                                                                    \
    X(OPENAT, "openat")                                                                                                \
    X(MKSTEMP, "mkstemp")

enum fault {
#define FAULT_ENUM(id, name) FAULT_##id,
    FAULTS(FAULT_ENUM)
#undef FAULT_ENUM
    FAULT_COUNT
};

const char *fault_name(enum fault f);

/* Of the calls to come, number `first` (0 is the next) and the following, `times` in all, fail with `error`. */
void fault_fail(enum fault f, unsigned first, unsigned times, int error);

/* The same calls move at most `most` bytes. */
void fault_short(enum fault f, unsigned first, unsigned times, size_t most);

/* Something to do right before each such call; NULL ends it. */
void fault_before(enum fault f, void (*hook)(void *data), void *data);

#define FOR_EVER 0xFFFFFFFFu

/* Ends all plans and sets all counters to 0. */
void faults_clear(void);

unsigned fault_calls(enum fault f); /* calls so far */
unsigned fault_hits(enum fault f);  /* of these, met by the plan */

/* Blocks of memory that the core has and has not freed. */
long blocks_in_use(void);

/* The clocks.  The loop's time, which deadlines are made of, moves by clock_advance only; the exact monotonic time is
 * real; the time of day is while `seconds` is 0. */
void clock_reset(void);
void clock_advance(unsigned ms);
void clock_day(int64_t seconds);

/* The poller waits for events as the system's does, until the next clock_reset; for tests with threads. */
void poll_sleeps(bool really);

/* The poller.  The last timeout it was called with, and how often in a row it was told not to wait and had nothing. */
int poll_patience(void);
unsigned poll_spins(void);

#endif
