/* http_date.h - times as HTTP spells them (RFC 9110 5.6.7). */
#ifndef FW_HTTP_DATE_H
#define FW_HTTP_DATE_H

#include "fw.h"

#define FW_HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Writes the time `seconds` since 1970, of the years 1970 to 9999. */
void fw_http_date_write(char *to, int64_t seconds);

/* Reads one of the three forms. False: it is none, or no time that exists. A year of two digits is the one that is less than
 * 50 years after `now`. */
bool fw_http_date_read(const char *s, size_t n, int64_t now, int64_t *seconds);

#endif
