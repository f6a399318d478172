/* forwarded.h - what a trusted proxy says of a request: X-Forwarded-*, Forwarded (RFC 7239), and gunicorn's forwarder
 * headers.
 *
 * A list grows at its right end, by the address or the word of one proxy each. It is read from there: an element counts
 * if whoever added it is trusted, and the last one that counts tells of the client. What stands left of it may be the
 * client's invention. Whether the peer itself is trusted is decided once for each connection (conn.h).
 *
 * X-Forwarded-* and Forwarded may come together. Then X-Forwarded-* counts, and a Forwarded that says otherwise is refused,
 * because one of the two is the client's.
 */
#ifndef FW_FORWARDED_H
#define FW_FORWARDED_H

#include "http/networks.h"
#include "http/request.h"

/* A name in lower case; `id` is enum fw_name. Texts are borrowed. */
typedef struct fw_lower_name {
    const char *at;
    uint32_t len;
    uint8_t id;
} fw_lower_name;

/* A field that says whether the client's connection was secure: it was if the value is this one. */
typedef struct fw_scheme_field {
    fw_lower_name name;
    const char *value;
    uint32_t len;
} fw_scheme_field;

/* The settings. Lists are borrowed, and outlive the loop. */
typedef struct fw_forwarding {
    fw_networks trusted; /* the proxies */
    const fw_scheme_field *schemes;
    const fw_lower_name *names; /* forwarder headers */
    unsigned nschemes, nnames;
    bool any_name;  /* every name with an underscore is one */
    uint8_t follow; /* set of enum fw_follow */
    uint64_t scheme_names; /* the known names of `schemes`; bit 0 if some name is unknown: see fw_forwarding_init */
} fw_forwarding;

/* Fills in what follows from the other members. */
void fw_forwarding_init(fw_forwarding *f);

/* The known names by which a head is seen to need fw_forwarded_read (bit 0: r->names has it for names with an underscore and
 * what fw_forwarding_always adds). */
uint64_t fw_forwarding_names(const fw_forwarding *f);

/* Bit 0 if some scheme field has a name that we do not know: then every head has to be looked at. */
uint64_t fw_forwarding_always(const fw_forwarding *f);

/* A field name with an underscore is a forwarder header: a trusted peer may send it, whatever header_map says. */
bool fw_forwarding_lists(const fw_forwarding *f, const char *name, size_t n);

/* Reads what the accepted head of `r` says of the client, if its peer is trusted, into r->follows and r->followed; and
 * shows or refuses fields whose names have an underscore. DONE or REFUSED. */
enum fw_parse fw_forwarded_read(const fw_forwarding *f, bool trusted, fw_request *r);

#endif
