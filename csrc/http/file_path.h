/* file_path.h - from the path of a target to the name of a file below a folder.
 *
 * Rule: a file has one spelling of its path, escapes aside. A path with another one is refused, and never repaired: dot
 *       segments, empty segments, escaped slashes, backslashes, control characters, broken escapes, hidden names. So there is
 *       nothing in a name that a file system could read as a way out.
 */
#ifndef FW_FILE_PATH_H
#define FW_FILE_PATH_H

#include "fw.h"

#define FW_FILE_PATH_MOST 1024 /* bytes of a name, its folders and the zero at its end included */
#define FW_FILE_NAME_MOST 255  /* ... of one segment of it */

/* Whether the path of `n` bytes is `prefix` (decoded, with no slash at its end) or lies below it. Returns how many bytes of
 * the path the prefix takes, or -1. An escaped slash counts as one here, so that no spelling of a path below the prefix is
 * taken for another path. */
ssize_t fw_file_path_below(const char *path, size_t n, const char *prefix, size_t len);

/* Writes the name that `rest` (what follows the prefix: empty, or it begins with a slash) stands for, relative and ended by a
 * zero, to FW_FILE_PATH_MOST bytes. Returns its length; it ends with a slash, or is empty, if a folder is asked for. -1: the
 * path is refused. */
ssize_t fw_file_path_read(char *to, const char *rest, size_t n);

#endif
