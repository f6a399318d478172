/* globs.h - patterns of paths: which requests a setting means.
 *
 * They are those of shells and of Python's fnmatch: "*" stands for any bytes, slashes too, "?" for one byte, "[a-z]" and
 * "[!a-z]" for one of a set. They are compared with the path of the target, percent-decoded, without its query.
 */
#ifndef FW_GLOBS_H
#define FW_GLOBS_H

#include "fw.h"

typedef struct fw_glob {
    const char *at;
    uint32_t len;
    uint64_t value; /* what the setting says for it */
} fw_glob;

/* Borrowed; the first that matches counts. */
typedef struct fw_globs {
    const fw_glob *list;
    unsigned n;
} fw_globs;

/* The first that matches the path of `n` bytes, or NULL. */
const fw_glob *fw_globs_find(const fw_globs *g, const char *path, size_t n);

#endif
