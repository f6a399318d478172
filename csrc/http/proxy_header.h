/* proxy_header.h - what a proxy says ahead of the first request: the PROXY protocol, versions 1 and 2.
 *
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt is the specification; the sections below are its. A header
 * is never guessed: whoever may send one has to, and what deviates from the specification is refused.
 */
#ifndef FW_PROXY_HEADER_H
#define FW_PROXY_HEADER_H

#include "http/networks.h"
#include "http/request.h"

enum fw_proxy_protocol { FW_PROXY_OFF, FW_PROXY_V1, FW_PROXY_V2, FW_PROXY_AUTO };

#define FW_PROXY_LONGEST 4096 /* bytes of a header of version 2, with its TLVs */

typedef struct fw_proxy_header {
    size_t len;        /* of the header */
    fw_address source; /* of the client, if `named`; family AF_UNIX has no more than that */
    bool named;        /* false: the connection is the proxy's own, or the header does not say whose it is */
    bool tls;          /* the client speaks TLS with the proxy */
    int status;        /* of the refusal */
    const char *why;   /* static */
} fw_proxy_header;

/* Reads the header that the `n` bytes at `data` begin with. DONE: `*h` has what it says. MORE: it is not complete, and
 * nothing is wrong yet. REFUSED: h->status and h->why say it. */
enum fw_parse fw_proxy_header_read(const char *data, size_t n, enum fw_proxy_protocol which, fw_proxy_header *h);

/* Whether these bytes are the beginning of a header: DONE, they are; MORE, they may be; REFUSED, they are not. */
enum fw_parse fw_proxy_header_begins(const char *data, size_t n);

#endif
