/* standby.h - who runs the loop: the monitor, the standby thread, the two regimes.
 *
 * A worker has N application threads and one standby thread, which knows no Python and is asleep while there is nothing
 * to watch. The loop is a monitor with these rules:
 *
 *  1. loop->lock guards the loop, the hub and every connection that is not BUSY. It is given up while the leader waits for
 *     the poller, while a thread waits on its condition, while lines of the access log or what has gathered are written,
 *     and for a moment between two steps of the leader when others wait for it.
 *  2. At most one thread leads: only the leader polls and handles events. The lead changes hands under the lock, and
 *     never while the leader polls; who wants it then claims it (`claimant`) and kicks the poller.
 *  3. A leader that leaves for a call keeps the lead, unattended. If it has not come back when the standby has looked
 *     twice, a millisecond apart, the standby takes the lead. No clock is read for that: `calls` counts departures.
 *  4. Inline mode: one application thread, the leader, runs the requests that it reads. When the standby has taken the
 *     lead, a waiting request goes to an idle thread together with the lead, at once if the thread that is away is
 *     really blocked, else (it computes, or was merely not scheduled, and would fight for the interpreter lock) after
 *     AWAY_US. A thread that comes back while the standby leads claims the lead; one that comes back while another
 *     application thread leads waits among the idle.
 *  5. Queued mode: the standby leads, threads take requests from the queue. One thread is woken at a time: the next one
 *     when that one has passed the door (has the interpreter lock) and more requests wait. So a request never waits for
 *     a thread that is not on its way, and threads do not crowd at the lock.
 *  6. Calls that made the standby step in raise a score, others lower it; a high score begins queued mode. There
 *     calls are timed, and a low moving average ends it.
 *  7. Who changes what the leader's wait depends on (an earlier deadline, room for clients, requests, the end) kicks the
 *     poller, once.
 *  8. A suspended response is resumed by its own thread; that thread is called when it is idle, and looks before it
 *     takes anything else.
 *  9. The standby sleeps only if nothing is away, nothing gathers and it does not lead. It says so (`resting`) before it
 *     looks a last time; who leaves for a call or begins to gather looks at `resting` afterwards.
 * 10. Inline mode: while more requests can be run at once and calls are quick, complete responses are held (FW_HELD at
 *     most, for about a millisecond) and sent together: a reader on this machine is woken once for all of them, and
 *     a leader that goes on computing is not interrupted by it. They are sent before the leader polls, when the standby
 *     takes the lead, and by the standby if none of that has come for a tick.
 *
 * tests/model holds these rules as a model for spin.
 */
#ifndef FW_STANDBY_H
#define FW_STANDBY_H

#include "threads/thread.h"

/* Starts the standby thread of a loop that has its application threads, and opens its store. FW_OK or -errno. */
int fw_standby_start(fw_leader *l);

/* Ends both; no application thread may be inside the loop. */
void fw_standby_stop(fw_leader *l);

/* The standby is needed: it wakes up if it rests. Takes the lock. */
void fw_leader_wake_standby(fw_leader *l);

#endif
