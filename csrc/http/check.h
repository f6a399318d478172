/* check.h - the judgement over a complete head: target form, Host, framing, Expect, persistence.
 *
 * A check reads the request and returns a verdict; what to make of it is request.c's business.
 */
#ifndef FW_CHECK_H
#define FW_CHECK_H

#include "http/request.h"

typedef struct fw_refusal {
    int status;
    const char *why; /* static */
} fw_refusal;

/* What a request line amounts to; the members are those of fw_request. */
typedef struct fw_line {
    fw_refusal refusal;
    fw_span method, path, query, authority;
    uint8_t method_id, minor;
    bool asterisk;
} fw_line;

/* What the fields amount to; the members are those of fw_request. */
typedef struct fw_fields {
    fw_refusal refusal;
    uint64_t length, names;
    uint8_t framing;
    bool has_length, keep_alive, expects, repeats, upgrade;
} fw_fields;

/* Why there may be no PROXY header in the place of a request line. */
const char *fw_check_proxy_header(const fw_config *cfg);

/* Judges the request line after llhttp gave up on it.  `len` bytes of the request are there.  MORE: the line is not
 * complete and nothing in it is wrong yet. */
enum fw_parse fw_check_bad_line(const fw_request *r, const char *base, size_t len, fw_refusal *v);

/* Judges the request line of a complete head: version, method, target, lengths. DONE or REFUSED; `*line` is zeroed before,
 * and filled as far as the judgement has come. */
enum fw_parse fw_check_line(const fw_request *r, fw_line *line);

/* Judges the target of a request whose method is in `*line`, and splits it. As above. */
enum fw_parse fw_check_target(const fw_request *r, fw_line *line);

/* What may stand behind the "?" of a target. */
bool fw_check_query(const char *s, size_t n);

/* Judges the fields of a head whose line is accepted, numbered and without white space at the end. As above. */
enum fw_parse fw_check_fields(const fw_request *r, fw_fields *out);

/* Nothing but what the path of a target may hold. */
bool fw_check_path(const char *s, size_t n);

/* uri-host [ ":" port ] (RFC 3986 3.2.2, RFC 9110 7.2); an empty host is invalid. */
bool fw_check_host(const char *s, size_t n);

#endif
