/* store.h - the threads that do jobs on the files of request bodies, so that no slow disk stops the loop.
 *
 * Rules:
 *  1. A job has its file and its memory for itself: nobody else touches them until it is done. Its owner, a connection in
 *     FW_STATE_STORE, is guarded by the loop's lock; a connection that ends meanwhile disowns its job.
 *  2. A thread that has done a job takes the loop's lock, as a thread does that hands a connection back, and lets the
 *     connection go on, or throws away what nobody owns any more.
 *  3. Threads start with the first job, are few, know no Python, and end with the standby. One that a disk does not let go
 *     is left behind; it then touches nothing but its job and the store, which the last one frees.
 *
 * The loop's lock is taken before the store's own, never the other way round.
 */
#ifndef FW_STORE_H
#define FW_STORE_H

#include "http/job.h"

struct fw_loop;

typedef struct fw_store fw_store;

/* Gives the loop a store; no thread is started yet. When memory is short it has none, and jobs are done at once. */
void fw_store_open(struct fw_loop *l);

/* Ends it; no application thread may be inside the loop, and the standby has ended. Connections that wait for a job are
 * closed. Waits for jobs that are under way, but not for ever. */
void fw_store_close(struct fw_loop *l);

/* Under the loop's lock: hands over a job. False: no thread can be had for it, it stays the caller's. */
bool fw_store_put(fw_store *s, fw_job *j);

/* Under the loop's lock: closes a file, which takes long if it is large. */
void fw_store_release(fw_store *s, int fd);

#endif
