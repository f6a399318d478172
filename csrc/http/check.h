/* check.h - the judgement over a complete head: target form, Host, framing, Expect, persistence. */
#ifndef FW_CHECK_H
#define FW_CHECK_H

#include "http/request.h"

/* Judges the request line after llhttp gave up on it.  `len` bytes of the request are there.  MORE: the line is not
 * complete and nothing in it is wrong yet. */
enum fw_parse fw_check_bad_line(fw_request *r, const char *base, size_t len);

/* Judges the request line of a complete head: version, method, target, lengths. DONE or REFUSED. */
enum fw_parse fw_check_line(fw_request *r);

/* Judges a complete head and fills the derived members of `r`.  DONE or REFUSED. */
enum fw_parse fw_check_head(fw_request *r);

/* uri-host [ ":" port ] (RFC 3986 3.2.2, RFC 9110 7.2); an empty host is invalid. */
bool fw_check_host(const char *s, size_t n);

#endif
