/* rfc7239.h - the field Forwarded (RFC 7239). */
#ifndef FW_RFC7239_H
#define FW_RFC7239_H

#include "http/networks.h"
#include "http/request.h"

typedef struct fw_part {
    const char *at; /* NULL: there is no such thing */
    size_t len;
} fw_part;

/* What the fields say of the client. */
typedef struct fw_rfc7239 {
    bool any;           /* they say something */
    fw_part host, proto; /* of the element that tells of the client; without quotes */
    bool named;
    fw_address address; /* the client's if `named`, or that of the first proxy that is known */
} fw_rfc7239;

/* Reads all Forwarded fields of `r`. The client's element is the last one that does not name one of the trusted proxies, or
 * the first of all. False: one is malformed. */
bool fw_rfc7239_read(const fw_request *r, const fw_networks *trusted, fw_rfc7239 *to);

#endif
