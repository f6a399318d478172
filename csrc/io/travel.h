/* travel.h - how a connection travels to a sibling: a message with its descriptor, through a socket that all share.
 *
 * The master makes a socket pair and all its workers inherit both ends: `to`, where messages are put, and `from`, where
 * whoever is free takes them. These are the rules; tests/model/travel.pml holds them as a model for spin.
 *
 *  1. A connection has one owner at any time: a worker, or the socket. The sender owns it until sendmsg has succeeded,
 *     and only closes its descriptor from then on. The receiver owns it once recvmsg has returned. So when a worker
 *     dies its own connections are lost, as always, and those in the socket are not.
 *  2. What travels: a complete request that waits for a thread (REQUEST), with all bytes that have come behind it, or a
 *     connection without a byte of a request (IDLE). What does not: one with output that is not sent, one whose
 *     request or response is under way, and what does not fit into a message. They stay where they are.
 *  3. A worker sends a REQUEST only if its threads are all away and a sibling is free, and IDLE ones only when it stops
 *     and a sibling goes on (siblings.h). It takes from the socket only if it has a free thread. One that stops asks
 *     behind its last message whether a sibling goes on, and takes what is there when nobody does.
 *  4. `waits` of the page is set after a message has been put, and again by whoever has taken one, because there may be
 *     more. It is taken back before somebody looks. So while something is in the socket, it is set or somebody is
 *     looking. It is looked at whenever a worker becomes free or begins to accept. One whose threads are all away, or that
 *     has sent something, looks or rings the bell of a free sibling every FW_LEAVE_MS while it is set, and the master sets
 *     it and rings all bells when it has reaped a worker.
 *  5. If the socket has no room, or the system has too many descriptors on their way, the connection stays, and is tried
 *     again later.
 *  6. Every message begins with its version. One with another version is left where it is, and `waits` stays set.
 */
#ifndef FW_TRAVEL_H
#define FW_TRAVEL_H

#include "io/conn.h"

#define FW_TRAVEL_STAYS 1  /* this connection cannot travel */
#define FW_TRAVEL_ROOM 65536 /* bytes that a message has for a connection; a larger body goes in a file in memory */

typedef struct fw_travel {
    int to, from; /* the ends of the socket pair; borrowed. Both 0: there is none */
} fw_travel;

enum fw_travel_kind { FW_TRAVEL_IDLE, FW_TRAVEL_REQUEST };

/* What is said of a connection. */
typedef struct fw_note {
    uint32_t version;
    uint8_t kind;     /* enum fw_travel_kind */
    uint8_t listener; /* its index where it comes from */
    uint8_t origin;   /* bits of enum fw_origin */
    uint8_t proxy;    /* enum fw_proxy_header_due */
    uint8_t file;     /* 1: the body is in a file, the second descriptor */
    uint32_t served;
    uint32_t head, memory, rest; /* bytes: of the head, of a body in memory, and what has come behind the request */
    uint32_t address_len;
    uint64_t body;   /* bytes of the whole body */
    uint64_t worth_until; /* of a request: as in fw_conn, for all workers have the same clock */
    uint64_t complete; /* us: of a request: when it was complete, where the sender times requests; 0: it does not */
    uint64_t cookie; /* of the listener: what the system knows it by */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
} fw_note;

/* A connection that has been taken: the receiver's from here on. */
typedef struct fw_parcel {
    fw_note note;
    int fd, file;     /* -1: none */
    const char *data; /* head, memory, rest */
    char room[FW_TRAVEL_ROOM];
} fw_parcel;

/* Puts the connection into the socket; `complete` is for its note. FW_OK: it is on its way, and the caller is to forget it; FW_RETRY: there is no room
 * now; FW_TRAVEL_STAYS. */
int fw_travel_send(const fw_travel *t, const fw_conn *c, uint64_t complete);

/* Takes one. FW_OK; FW_RETRY: there is none; -EPROTO: it was damaged, and is closed; -EPROTONOSUPPORT: it is of another
 * version; or another -errno, -EMFILE if there are no descriptors for it. What is not closed is still there. */
int fw_travel_receive(const fw_travel *t, fw_parcel *p);

/* Closes what nobody has taken over. */
void fw_parcel_clear(fw_parcel *p);

/* What the system knows a listener by, the same in all processes that have it; 0: the system does not tell. */
uint64_t fw_travel_cookie(int fd);

#endif
