/* travel.pml - the rules of csrc/io/travel.h as a model for spin: workers, the socket through which connections travel, the
 * flag `waits`, the bells, and a master that reaps and replaces. tests/threads/test_model.py checks it.
 *
 * A worker has one thread, which is free or in a call. Each connection has one request, and all of them wait at the first
 * worker, whose call is LONG: it returns when all requests have been answered, nobody else is there to answer them, or it is to stop. So a
 * request that is left anywhere while another worker is free is a deadlock. Calls of the others return at any moment.
 *
 * A step is what no other process comes in between: a system call, or a load or store of the page. A worker may die between
 * any two, also after sendmsg and before it closes its own descriptor, and after recvmsg. DEATHS of them do, and are
 * replaced; STOPS are told to stop, and are not. The descriptors of a connection are counted, and who its owner is.
 *
 * Time is left out. The ring that is repeated every FW_LEAVE_MS, which makes up for one that was missed, is left out too:
 * the first one has to be enough.
 *
 * Checked: a connection has one owner, is served once and by its owner, and is lost only with a worker that owned it
 * (assertions); nothing is left in the socket or elsewhere while somebody lives (invalid end states, and the last
 * assertion); no run is endless (non-progress cycles, of which every cycle is one here). MUTANT breaks one rule, which one
 * of the checks must find.
 */

#ifndef CONNS
#define CONNS 2
#endif
#ifndef FIRST
#define FIRST 2 /* workers at the beginning */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define SLOTS (FIRST + DEATHS)
#define NOBODY SLOTS       /* owns what is served, or lost */
#define SOCKET (SLOTS + 1) /* owns what travels */
#define NONE CONNS

byte owner[CONNS];
byte copies[CONNS]; /* open descriptors */
bool served[CONNS];
byte done;          /* connections that are served or lost */

chan box = [CONNS] of { byte }; /* the socket */

/* the page, and the bells */
bool waits;
bool shown[SLOTS], away[SLOTS], rung[SLOTS];

bool stops[SLOTS];
bool busy[SLOTS]; /* its thread has one call more to make */
byte living;      /* those that have died and are not replaced yet included */
byte deaths, slots;
chan ended = [SLOTS] of { byte, bool }; /* for the master: a worker's slot, and whether it has died */

/* ---- the page ---------------------------------------------------------------------------------------------------- */

#define IS_FREE(w) (shown[w] && !away[w])
#define IS_HEIR(w) shown[w]

#if SLOTS == 2
#define OTHER(is) ((me != 0 && is(0)) || (me != 1 && is(1)))
#else
#define OTHER(is) ((me != 0 && is(0)) || (me != 1 && is(1)) || (me != 2 && is(2)))
#endif

/* Rings the bell of one such sibling, whichever; nobody's if there is none. */
#if SLOTS == 2
#define RING(is) \
    atomic { \
        if \
        :: me != 0 && is(0) -> rung[0] = true \
        :: me != 1 && is(1) -> rung[1] = true \
        :: else \
        fi \
    }
#else
#define RING(is) \
    atomic { \
        if \
        :: me != 0 && is(0) -> rung[0] = true \
        :: me != 1 && is(1) -> rung[1] = true \
        :: me != 2 && is(2) -> rung[2] = true \
        :: else \
        fi \
    }
#endif

/* ---- what a worker does ------------------------------------------------------------------------------------------ */

#define DIE (deaths < DEATHS) -> deaths++; goto dies

inline MAY_DIE() {
    if
    :: atomic { DIE }
    :: true
    fi
}

/* The first connection that waits at this worker, or NONE. */
inline FIND_MINE() {
    atomic {
        c = 0;
        do
        :: c < CONNS && owner[c] != me -> c++
        :: else -> break
        od
    }
}

#if CONNS == 2
#define HAS_ONE (owner[0] == me || owner[1] == me)
#else
#define HAS_ONE (owner[0] == me || owner[1] == me || owner[2] == me)
#endif

/* fw_travel_send of connection c, and what follows it. */
inline SEND() {
    d_step {
#if MUTANT == 1
        copies[c]--; /* closed first */
#endif
        assert(owner[c] == me && copies[c] > 0);
        copies[c]++;
        owner[c] = SOCKET;
        extra = c;
        box!c
    }
    MAY_DIE();
    d_step {
#if MUTANT == 2
        owner[c] = me; /* it goes on with what it has sent */
#endif
        copies[c]--;
        extra = NONE;
        c = NONE
    }
    MAY_DIE();
#if MUTANT != 3
    waits = true;
#endif
    MAY_DIE()
}

/* take_parcel. `found`: there was one, and it is connection c. */
inline TAKE() {
#if MUTANT != 4
    waits = false;
    MAY_DIE();
#endif
    atomic {
        if
        :: box?c ->
            assert(owner[c] == SOCKET && !served[c]);
            owner[c] = me;
            found = true
        :: empty(box) -> found = false
        fi
    }
    MAY_DIE();
#if MUTANT == 4
    waits = false; /* behind the look */
#elif MUTANT != 5
    if
    :: found -> waits = true /* there may be more */
    :: else
    fi;
#endif
    MAY_DIE()
}

/* The thread answers connection c, and the client leaves. */
inline SERVE() {
    d_step {
        assert(owner[c] == me && !served[c] && copies[c] > 0);
        served[c] = true;
        owner[c] = NOBODY;
        copies[c]--;
        done++;
        c = NONE
    }
}

#define LONG (me == 0)
#define CALL_ENDS (!LONG || done == CONNS || living == 1 || stops[me])

proctype Worker(byte me) {
    byte c = NONE, extra = NONE;
    bool found = false, looks = false;

    shown[me] = true;
    if
    :: LONG -> goto call
    :: else
    fi;
#if MUTANT != 6
    looks = waits; /* of what was sent while nobody was there */
#endif

free:
    do
    :: looks ->
        TAKE();
        looks = found;
        if
        :: found -> SERVE()
        :: found && busy[me] -> goto call /* its thread was faster than its standby */
        :: else
        fi
    :: else ->
        FIND_MINE();
        if
        :: c != NONE -> SERVE()
        :: else -> break
        fi
    od;
    if
    :: atomic { rung[me] -> rung[me] = false };
        looks = waits;
        goto free
    :: stops[me] -> goto leave
    :: busy[me] -> goto call
    :: atomic { DIE }
    :: done == CONNS -> goto out
    fi;

call:
    busy[me] = false;
    away[me] = true;
    do
    :: atomic { rung[me] -> rung[me] = false }
    :: atomic { DIE }
    :: CALL_ENDS -> break
    :: HAS_ONE && OTHER(IS_FREE) ->
        FIND_MINE();
        SEND();
#if MUTANT != 7
        RING(IS_FREE);
#endif
        MAY_DIE()
    od;
    if
    :: stops[me] -> goto leave
    :: else
    fi;
#if MUTANT == 8
    looks = waits; /* before it is shown as free */
    MAY_DIE();
    away[me] = false;
#else
    away[me] = false;
    MAY_DIE();
#if MUTANT != 9
    looks = waits;
#endif
#endif
    goto free;

leave: /* a stop: what it has goes to an heir. Without one it stays, and what is under way is taken back */
    shown[me] = false;
    MAY_DIE();
    do
    :: !OTHER(IS_HEIR) -> break
    :: OTHER(IS_HEIR) -> /* also behind what was sent last */
        FIND_MINE();
        if
        :: c == NONE -> goto out
        :: else
        fi;
        SEND();
        RING(IS_HEIR);
#if MUTANT == 10
        if
        :: !HAS_ONE -> goto out /* the heir was there before */
        :: else
        fi;
#endif
        MAY_DIE()
    od;
    do
    :: FIND_MINE();
        if
        :: c != NONE -> SERVE()
        :: else ->
            TAKE();
            if
            :: !found -> goto out
            :: else
            fi
        fi
    od;

dies:
    atomic { /* the system closes what it has */
        c = 0;
        do
        :: c < CONNS && owner[c] == me -> owner[c] = NOBODY; copies[c]--; done++; c++
        :: c < CONNS && owner[c] != me && c == extra -> copies[c]--; c++
        :: c < CONNS && owner[c] != me && c != extra -> c++
        :: else -> break
        od
    }
    ended!me, true;
    goto end;
out:
    shown[me] = false;
    ended!me, false;
end:
    skip
}

/* ---- the world --------------------------------------------------------------------------------------------------- */

/* Reaps, lets all others look, and replaces. */
proctype Master() {
    byte w;
    bool died;
    do
    :: living > 0 ->
        ended?w, died;
        atomic { shown[w] = false; away[w] = false }
#if MUTANT != 11
        waits = true;
#endif
        atomic {
            w = 0;
            do
            :: w < slots -> rung[w] = shown[w]; w++
            :: else -> break
            od
        }
        if
        :: atomic { died -> run Worker(slots); slots++ }
        :: atomic { else -> living-- }
        fi
    :: else -> break
    od
}

/* Tells some of the first workers to stop. */
proctype Stopper() {
    byte n = 0;
    do
    :: n < STOPS && !stops[0] -> stops[0] = true; n++
    :: n < STOPS && !stops[1] -> stops[1] = true; n++
    :: break
    od
}

init {
    byte n = 0;
    atomic {
        do
        :: n < CONNS -> owner[n] = 0; copies[n] = 1; n++
        :: else -> break
        od;
        slots = FIRST;
        living = FIRST;
        busy[1] = true;
        n = 0;
        do
        :: n < FIRST -> run Worker(n); n++
        :: else -> break
        od;
        run Master();
        run Stopper()
    }
    (_nr_pr == 1);
    assert(done == CONNS && empty(box));
    n = 0;
    do
    :: n < CONNS -> assert(copies[n] == 0); n++
    :: else -> break
    od
}
