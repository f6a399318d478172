/* monitor.pml - the rules of csrc/threads/leader.h as a model for spin: application threads, the standby, and an environment
 * that makes REQUESTS requests and then stops the loop. tests/threads/test_model.py checks it.
 *
 * What a thread does under loop->lock without giving it up is one atomic block here, begun by HOLD and ended by RELEASE,
 * where fw_leader_unlock looks whether the poller is to be woken. What runs without the lock, and what the standby
 * does to the variables that are read without it, is written step by step. Time is left out: a tick may pass at any
 * moment, and a poll that is to end soon may end at any moment when there is something to see. One that is merely cut
 * short so that nothing waits for too long (NAP_MS) has no end here: who relies on it is found.
 *
 * A call is one of: QUICK, which returns; LONG, which returns when all requests of others have been answered, so that a
 * request left in the queue while a thread is idle is a deadlock; GATHER, which returns when the standby has sent what
 * it left; WAIT, which returns when whoever leads has seen its client read. With EXTRAS 0 only the first two are made.
 *
 * Checked: one leader polls, and nothing is left behind (assertions); nothing is stuck (invalid end states); no run is
 * endless (non-progress cycles, of which every cycle is one here), so that each ends with the loop stopped. MUTANT
 * breaks one rule, which one of the checks must find.
 */

#ifndef THREADS
#define THREADS 2
#endif
#ifndef REQUESTS
#define REQUESTS 3
#endif
#ifndef EXTRAS
#define EXTRAS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define NONE THREADS

mtype = { NOBODY, THREAD, STANDBY } /* who leads */
mtype = { AWAKE, ASLEEP, POLLING }  /* how the standby rests */
mtype = { QUICK, LONG, GATHER, WAIT }

/* the loop, under the lock */
bool locked; /* by the standby, over several steps */
mtype lead = NOBODY;
byte leader = NONE;
bool attended, polling, waking, queued, stopped, over, quit;
byte claimant = NONE;
byte absent = NONE; /* from whom the standby has taken the lead */
byte ready;         /* requests in the queue */
byte served;        /* ... answered, their connections closed */
byte coming;
bool departed; /* a leader has left for a call since the standby looked */
bool quiet;    /* the standby has seen nothing for long enough */
bool signalled; /* the condition that the standby sleeps on */
bool idle[THREADS], woken_for_request[THREADS], away[THREADS], timed[THREADS], waits[THREADS];
mtype call[THREADS] = QUICK;
bool long_begun;

/* without the lock */
byte arrived;  /* requests in the kernel */
byte behind;   /* pipelined: read with another one, and ready when that has been answered */
bool bytes;    /* in the wake-up pipe */
bool stop;
byte door;
byte pending;
mtype resting = AWAKE;
byte exited;

/* ---- the monitor ------------------------------------------------------------------------------------------------- */

#define HOLD !locked

inline WAKE_POLLER() {
    if
    :: polling && !waking -> waking = true; bytes = true
    :: else
    fi
}

#if MUTANT == 5
#define AT_ITS_END false
#else
#define AT_ITS_END (stopped && served == REQUESTS)
#endif

#if MUTANT == 4
#define FOR_THE_LEADER false
#else
#define FOR_THE_LEADER (ready > 0 && lead == THREAD)
#endif

inline RELEASE() {
    if
    :: polling && (AT_ITS_END || FOR_THE_LEADER) -> WAKE_POLLER()
    :: else
    fi
}

inline WAKE_STANDBY() {
    if
    :: resting == ASLEEP -> signalled = true
    :: resting == POLLING -> WAKE_POLLER()
    :: else
    fi
}

inline LEAD_TO_STANDBY() {
    lead = STANDBY;
    leader = NONE;
    claimant = NONE;
    WAKE_STANDBY()
}

inline LEAD_TO(t) {
    lead = THREAD;
    leader = t;
    attended = !away[t];
    departed = departed || away[t];
    claimant = NONE
}

inline CLAIM(t) {
    if
    :: queued || over
#if MUTANT == 1
    :: else -> LEAD_TO(t)
#else
    :: !queued && !over && !polling -> LEAD_TO(t)
    :: !queued && !over && polling ->
        claimant = t;
        WAKE_POLLER()
#endif
    fi
}

/* An idle thread is woken; which one makes no difference to the rules. */
inline WAKE_THREAD(t) {
    idle[t] = false
}

inline WAKE_FOR_REQUEST() {
    if
    :: !queued || ready == 0 || coming + door > 0
    :: else ->
        if
        :: idle[0] -> woken_for_request[0] = true; coming++; WAKE_THREAD(0)
        :: idle[1] -> woken_for_request[1] = true; coming++; WAKE_THREAD(1)
        :: else
        fi
    fi
}

inline LEAVE(t) {
    away[t] = true;
    if
    :: leader == t ->
        attended = false;
        departed = true;
#if MUTANT != 3
        if
        :: resting == ASLEEP -> signalled = true
        :: else
        fi
#endif
    :: else
    fi
}

inline DEPART(t) {
    if
    :: queued ->
        away[t] = true;
        timed[t] = true;
        door++;
        if
        :: lead != STANDBY && (leader == t || leader == NONE) -> LEAD_TO_STANDBY()
        :: else
        fi;
        WAKE_FOR_REQUEST()
    :: else ->
        if
        :: lead == NOBODY -> LEAD_TO(t)
        :: else
        fi;
        LEAVE(t)
    fi
}

inline END() {
    over = true;
    lead = NOBODY;
    leader = NONE;
#if MUTANT != 7
    idle[0] = false;
    idle[1] = false
#endif
}

#define MAY_REPLACE (absent == NONE || !away[absent] || call[absent] == LONG)

#if MUTANT == 10
#define SOMETHING_TO_SEE true
#else
#define SOMETHING_TO_SEE (pending > 0 || (ready > 0 && MAY_REPLACE))
#endif

/* A poll of whoever leads: what comes before the lock is given up, */
inline BEGIN_POLL() {
    assert(!polling && !over);
    stopped = stopped || stop;
    if
    :: stopped && served == REQUESTS -> END()
    :: else -> polling = true
    fi;
    RELEASE()
}

/* ... and from the wait to where the lock may be given up again: `soon` if the poll ends by itself. */
inline END_POLL(me, soon) {
    (arrived > 0 || bytes || (soon && SOMETHING_TO_SEE));
    atomic {
        HOLD;
        assert(polling && lead == me);
        polling = false;
        ready = ready + arrived;
        arrived = 0;
        bytes = false;
        waking = false;
        waits[0] = false; /* their clients have read */
        waits[1] = false
    }
}

/* ---- an application thread ---------------------------------------------------------------------------------------- */

proctype Thread(byte me) {
    bool mine = false;
next:
    atomic { /* take_turn */
        HOLD;
        if
        :: lead == STANDBY -> CLAIM(me)
        :: else
        fi;
        if
        :: ready > 0 && (lead != THREAD || leader == me) ->
            ready--;
            DEPART(me);
            RELEASE();
            goto turn
        :: else
        fi;
        if
        :: over -> RELEASE(); goto out
        :: else
        fi;
        if
        :: leader == me || lead == THREAD
        :: lead == STANDBY -> CLAIM(me)
        :: lead == NOBODY && queued -> LEAD_TO_STANDBY()
        :: lead == NOBODY && !queued -> LEAD_TO(me)
        fi;
        if
        :: leader == me -> attended = true; mine = true; BEGIN_POLL()
        :: else -> idle[me] = true; RELEASE()
        fi
    }
    if
    :: mine && over
    :: mine && !over -> END_POLL(THREAD, false)
    :: !mine ->
        atomic {
            !idle[me] && HOLD;
            if
            :: woken_for_request[me] -> woken_for_request[me] = false; coming--
            :: else
            fi
        }
    fi;
    mine = false;
    goto next;

turn:
    if
    :: timed[me] -> /* through the door */
        door--;
#if MUTANT != 6
        if
        :: ready > 0 -> atomic { HOLD; WAKE_FOR_REQUEST(); RELEASE() }
        :: else
        fi
#endif
    :: else
    fi;
    atomic {
        if
        :: true /* QUICK */
        :: !long_begun -> long_begun = true; call[me] = LONG
#if EXTRAS
        :: call[me] = GATHER
        :: call[me] = WAIT
#endif
        fi
    }
    if
    :: call[me] == QUICK
    :: call[me] == LONG -> (served + behind >= REQUESTS - 1)
    :: call[me] == GATHER ->
        pending++;
        if
        :: resting != AWAKE -> atomic { HOLD; WAKE_STANDBY(); RELEASE() }
        :: else
        fi;
        (pending == 0)
    :: call[me] == WAIT ->
        atomic {
            HOLD;
            if
            :: lead == THREAD && leader == me -> absent = NONE; LEAD_TO_STANDBY()
            :: else
            fi;
            waits[me] = true;
            RELEASE()
        }
        bytes = true; /* the client reads, and the poller tells */
        !waits[me]
    fi;
    atomic { /* come_back */
        HOLD;
        away[me] = false;
        call[me] = QUICK;
        if
        :: absent == me -> absent = NONE /* it is no matter any more */
        :: else
        fi;
        served++;
        ready = ready + behind;
        behind = 0;
        if
        :: timed[me] && queued -> queued = false /* calls have become quick */
        :: true
        fi;
        timed[me] = false;
        goto next
    }
out:
    exited++
}

/* ---- the standby -------------------------------------------------------------------------------------------------- */

inline LOCK() {
    atomic { HOLD; locked = true }
}

inline UNLOCK() {
    atomic { RELEASE(); locked = false }
}

proctype Standby() {
    bool gives = false, soon = false;
    LOCK();
top:
    if
    :: quit -> goto out
    :: !quit && lead == STANDBY -> goto leads
    :: else
    fi;

    /* wait_or_sleep */
    if
    :: quiet && pending == 0 ->
        resting = ASLEEP;
        if
#if MUTANT == 2
        :: true ->
#else
        :: pending == 0 ->
#endif
            atomic { signalled = false; RELEASE(); locked = false }
            atomic { signalled && HOLD; locked = true }
#if MUTANT != 2
        :: else
#endif
        fi;
        atomic {
            resting = AWAKE;
            quiet = false;
            departed = true
        }
        if
        :: lead == STANDBY || quit -> goto top
        :: else
        fi
    :: else
    fi;
    UNLOCK();
    atomic {
        HOLD;
        locked = true;
        if
        :: quit || lead == STANDBY -> goto top
        :: else
        fi
    }
    if
    :: pending > 0 -> UNLOCK(); pending = 0; LOCK() /* sent, what has gathered */
    :: else
    fi;
    atomic { /* tick */
        if
        :: lead == THREAD && !attended && !departed ->
            absent = leader;
            quiet = false;
            if
            :: !queued -> queued = true; claimant = NONE
            :: true
            fi;
            LEAD_TO_STANDBY()
        :: (lead == THREAD && !attended && departed) -> quiet = false
        :: else -> quiet = !departed
        fi;
        departed = false;
        goto top
    }

leads:
    atomic {
#if MUTANT != 8
        quiet = false; /* the lead may go to a thread that is away */
#endif
        WAKE_FOR_REQUEST();
        if
        :: queued
        :: !queued && claimant != NONE -> gives = true; LEAD_TO(claimant)
        :: !queued && claimant == NONE && ready > 0 ->
            if
            :: MAY_REPLACE && idle[0] -> gives = true; LEAD_TO(0)
            :: MAY_REPLACE && idle[1] -> gives = true; LEAD_TO(1)
            :: else
            fi
        :: else
        fi;
        if
        :: gives -> gives = false; idle[leader] = false; goto top
        :: else
        fi
    }
#if MUTANT == 9
    soon = pending > 0 || (!queued && ready > 0 && (idle[0] || idle[1]));
    resting = POLLING;
#else
    resting = POLLING;
    soon = pending > 0 || (!queued && ready > 0 && (idle[0] || idle[1]));
#endif
    atomic { BEGIN_POLL(); locked = false }
    if
    :: over
    :: else -> END_POLL(STANDBY, soon)
    fi;
    atomic { HOLD; locked = true; resting = AWAKE; soon = false }
    if
    :: pending > 0 -> UNLOCK(); pending = 0; LOCK()
    :: else
    fi;
    goto top;
out:
    UNLOCK()
}

/* ---- the world ---------------------------------------------------------------------------------------------------- */

proctype World() {
    byte n = 0;
    if
    :: n = 1; behind = 1
    :: true
    fi;
    do
    :: n < REQUESTS -> arrived++; n++
    :: else -> break
    od;
    stop = true;
    bytes = true
}

init {
    atomic {
        run Standby();
        run Thread(0);
        run Thread(1);
        run World()
    }
    (exited == THREADS);
    atomic {
        HOLD;
        quit = true;
        signalled = signalled || resting == ASLEEP;
        WAKE_POLLER()
    }
    (_nr_pr == 1);
    assert(served == REQUESTS && pending == 0 && coming == 0 && door == 0)
}
