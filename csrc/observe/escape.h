/* escape.h - foreign bytes in a line of text, so that it stays one line of plain ASCII and keeps its fields apart.
 *
 * Control characters, quotes, backslashes and bytes beyond ASCII are spelled out: \xHH, or as JSON has them. Both are
 * told apart from what the client may have spelled so itself, because its backslash is escaped too.
 */
#ifndef FW_ESCAPE_H
#define FW_ESCAPE_H

#include "fw.h"

#define FW_ESCAPED 6 /* bytes that one may become: \u00HH */

enum fw_escapes {
    FW_ESCAPE_QUOTED, /* stands between quotes */
    FW_ESCAPE_WORD,   /* stands by itself: spaces are escaped too */
    FW_ESCAPE_JSON,   /* bytes beyond ASCII as the characters of Latin-1 */
};

/* Writes the `n` bytes at `s` to `to`, which has FW_ESCAPED times as much room; returns where they end. */
char *fw_escape(char *to, const char *s, size_t n, enum fw_escapes how);

#endif
