/* feed.h - a request given to the parser in pieces, each in a block of memory of exactly its size.
 *
 * So reading past what has arrived is seen by the sanitizer, and spans that do not survive a moved buffer show.
 */
#ifndef FEED_H
#define FEED_H

#include "http/request.h"

typedef struct feed {
    fw_request *r;
    char *bytes;        /* what has arrived */
    enum fw_parse head; /* the verdict over the head */
    enum fw_parse body; /* the verdict over a chunked body; DONE if there is none */
    size_t rest;        /* bytes given that lie behind the request */
} feed;

/* Feeds `n` bytes, `step` at a time (the first piece has `first` bytes if that is not 0).  A head that leaves the
 * parser waiting is offered to it twice, as the connection may do. */
void feed_open(feed *f, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step);

/* The same with a packet of the uwsgi protocol; its body is not looked at. */
void feed_packet(feed *f, const fw_config *cfg, const char *bytes, size_t n, size_t first, size_t step);
void feed_close(feed *f);

/* True if both came to the same verdict and the same request. */
bool feed_same(const feed *a, const feed *b);

#endif
