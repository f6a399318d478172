/* fields.h - reading the fields of an accepted head by the numbers of their names.
 *
 * A head that was recalled has its fields in the memo (memo.h), which keeps them where somebody reads them: an access log, or
 * files that the loop serves.
 */
#ifndef FW_FIELDS_H
#define FW_FIELDS_H

#include "http/request.h"

/* Some bytes that are somebody else's. */
typedef struct fw_slice {
    const char *at;
    size_t len;
} fw_slice;

/* The next field of that name, `*place` being 0 at first. False: there is none any more. */
bool fw_field_next(const fw_request *r, enum fw_name name, uint32_t *place, fw_slice *value);

/* The field of that name if there is exactly one: of more nobody knows which is meant. */
bool fw_field_only(const fw_request *r, enum fw_name name, fw_slice *value);

/* The next item of a comma-separated list (RFC 9110 5.6.1), without white space around it; commas in quotes are its own.
 * `*list` becomes what follows. False: there is none any more. Empty items are left out. */
bool fw_list_next(fw_slice *list, fw_slice *item);

#endif
