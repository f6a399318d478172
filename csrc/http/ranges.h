/* ranges.h - the parts of a file that a request asks for (RFC 9110 14). */
#ifndef FW_RANGES_H
#define FW_RANGES_H

#include "http/fields.h"

#define FW_RANGES_MOST 16 /* parts of one answer: a request for more gets the whole file */

typedef struct fw_range {
    uint64_t first, n; /* bytes */
} fw_range;

typedef struct fw_ranges {
    unsigned n;
    fw_range list[FW_RANGES_MOST];
} fw_ranges;

enum fw_ranges_verdict {
    FW_RANGES_NONE,          /* there are none, or they are none that we know, or they cost more than they are worth: the
                                whole file is the answer */
    FW_RANGES_SOME,          /* those in `list`, which the file has, in the order in which they are asked for */
    FW_RANGES_UNSATISFIABLE, /* the file has none of them: 416 */
};

/* Reads the value of the field Range for a file of `size` bytes. Ranges that together are longer than the file, as those
 * that overlap, are not served. */
enum fw_ranges_verdict fw_ranges_read(fw_ranges *to, fw_slice value, uint64_t size);

#endif
