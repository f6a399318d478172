/* store.h - the threads that do jobs on files, of request bodies and of responses, so that no slow disk stops the loop.
 *
 * Rules:
 *  1. A job has its file and its memory for itself: nobody else touches them until it is done. Its owner, a connection in
 *     FW_STATE_STORE or FW_STATE_FILE, is guarded by the loop's lock; a connection that ends meanwhile disowns its job.
 *  2. A thread that has done a job hands it to the function that the store was opened with. That takes the loop's lock, as
 *     a thread does that hands a connection back, and lets the connection go on, or frees what nobody owns any more. The
 *     store itself knows neither the loop nor its lock.
 *  3. Threads start with the first job, are few, know no Python, and end with the standby. One that a disk does not let go
 *     is left behind; it then touches nothing but its job and the store, which the last one frees.
 *
 * The loop's lock is taken before the store's own, never the other way round.
 */
#ifndef FW_STORE_H
#define FW_STORE_H

#include "http/job.h"

typedef struct fw_store fw_store;

/* Takes over a job that has been done. Called in a thread of the store, which holds no lock then. */
typedef void fw_store_done(void *arg, fw_job *j);

/* No thread is started yet. `dir` is copied. NULL when memory is short: then jobs are done at once. */
fw_store *fw_store_open(const char *dir, fw_store_done *done, void *arg);

/* Begins no further job, and waits for those under way, but not for ever. */
void fw_store_stop(fw_store *s);

/* After fw_store_stop, when every job has been disowned: `done` is not called any more when this returns. A thread that
 * hangs in a job is left behind, and frees the store when it ends. */
void fw_store_close(fw_store *s);

/* Under the loop's lock: hands over a job. False: no thread can be had for it, it stays the caller's. */
bool fw_store_put(fw_store *s, fw_job *j);

/* Under the loop's lock: closes a file, which takes long if it is large. */
void fw_store_release(fw_store *s, int fd);

#endif
