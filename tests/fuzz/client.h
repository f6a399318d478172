/* client.h - a client that reads what the server sends strictly, byte by byte, and gives up the program at the first
 * byte that no well-framed sequence of our responses can have there.
 *
 * Responses of the stub application carry X-Seq, counted from 0 on each connection, and a body of the letters that
 * `pattern` makes.  All others are refusals (nothing follows them) or 100 Continue.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include "fuzz.h"

#define CLIENT_QUEUE 8192

typedef struct client {
    int fd; /* or -1 */
    void (*judge_head)(struct client *c); /* what a complete head announces; NULL: as above */
    bool tcp;
    bool shut;  /* has said all it will say */
    bool ended; /* has seen the end of what the server says */
    bool reset; /* ... which was an error */
    bool final; /* has seen a refusal */
    bool plain; /* the body at hand is not the application's */
    char queue[CLIENT_QUEUE]; /* to be sent */
    size_t queued;
    char head[512];
    size_t nhead;
    uint64_t left, at; /* of the body at hand */
    unsigned seq;
} client;

#define LETTERS 23 /* the period of `pattern` */

void client_open(client *c, int fd, bool tcp);
void client_close(client *c, bool reset);

/* Appends to what is to be sent; what does not fit is left out. */
void client_queue(client *c, const char *bytes, size_t n);

/* Sends at most `most` of the bytes queued, as far as the socket takes them. */
void client_send(client *c, size_t most);

/* The head at hand: whether it begins with this, and the number behind the only field line of this name, `none` if there
 * is no such field. */
bool client_begins(const client *c, const char *text);
uint64_t client_number(const client *c, const char *field, uint64_t none);
bool client_closes(const client *c);

/* Receives at most `most` bytes and judges them. */
void client_hear(client *c, size_t most);

#endif
