/* conditions.h - what a request makes its answer depend on: If-Match and the others (RFC 9110 13). */
#ifndef FW_CONDITIONS_H
#define FW_CONDITIONS_H

#include "http/fields.h"

/* What is known of the representation that would be sent. */
typedef struct fw_validators {
    fw_slice etag;    /* strong, quotes included */
    int64_t modified; /* seconds since 1970 */
    int64_t now;
} fw_validators;

enum fw_condition {
    FW_CONDITION_HOLDS,        /* or there is none: the request is served */
    FW_CONDITION_NOT_MODIFIED, /* 304 */
    FW_CONDITION_FAILS,        /* 412 */
};

/* What the conditions of a GET or HEAD amount to, in the order of RFC 9110 13.2.2. */
enum fw_condition fw_conditions(const fw_request *r, const fw_validators *v);

/* Whether the ranges that a request asks for are to be served: there is no If-Range, or it names just this. */
bool fw_conditions_range(const fw_request *r, const fw_validators *v);

#endif
