/* uwsgi.h - the uwsgi protocol: a packet of variables takes the place of a head.
 *
 * nginx (uwsgi_pass) and Apache (mod_proxy_uwsgi) speak it. A packet is one byte `modifier1`, the size of what follows in
 * 16 bits, one byte `modifier2`; then variables: the length of a name in 16 bits, the name, the length of its value, the
 * value. Numbers are little-endian. The body follows, as long as CONTENT_LENGTH says, and the connection ends after the
 * response, which is plain HTTP text without a transfer coding.
 *
 * A packet becomes the fw_request that everything behind the parser knows. Variables that stand for fields of the client
 * (HTTP_*, CONTENT_TYPE, CONTENT_LENGTH) become fields and are judged as fields are: in the receive buffer their
 * underscores are made hyphens again. The others lie behind the fields, in the same array, for the environ.
 *
 * Whoever may send packets says who the client is. So the peer is checked before its first byte is (input.c).
 */
#ifndef FW_UWSGI_H
#define FW_UWSGI_H

#include "http/request.h"

/* What may stand in a value. */
enum fw_variable_rule {
    FW_RULE_FIELD, /* what a field value may hold: the client may have a say in it */
    FW_RULE_FRONT, /* line feeds, too: set by the front alone (certificates, Apache's SERVER_SIGNATURE) */
    FW_RULE_PATH,  /* any byte: the front has decoded it from the target */
};

/* X(A, name, rule): the variables that mean something to us, beside those that become fields; A is handed through. */
#define FW_VARIABLES(X, A)                                                                                             \
    X(A, REQUEST_METHOD, FIELD)                                                                                        \
    X(A, REQUEST_URI, FIELD)                                                                                           \
    X(A, QUERY_STRING, FIELD)                                                                                          \
    X(A, SERVER_PROTOCOL, FIELD)                                                                                       \
    X(A, SERVER_NAME, FIELD)                                                                                           \
    X(A, SERVER_PORT, FIELD)                                                                                           \
    X(A, REMOTE_ADDR, FIELD)                                                                                           \
    X(A, REMOTE_PORT, FIELD)                                                                                           \
    X(A, REMOTE_USER, FIELD)                                                                                           \
    X(A, HTTPS, FIELD)                                                                                                 \
    X(A, REQUEST_SCHEME, FIELD)                                                                                        \
    X(A, UWSGI_SCHEME, FIELD)                                                                                          \
    X(A, SERVER_SOFTWARE, FRONT)                                                                                       \
    X(A, GATEWAY_INTERFACE, FRONT)                                                                                     \
    X(A, PATH_INFO, PATH)                                                                                              \
    X(A, SCRIPT_NAME, PATH)                                                                                            \
    X(A, PATH_TRANSLATED, PATH)                                                                                        \
    X(A, SCRIPT_FILENAME, PATH)                                                                                        \
    X(A, DOCUMENT_URI, PATH)                                                                                           \
    X(A, REDIRECT_URL, PATH)

enum fw_variable {
    FW_VARIABLE_OTHER,
#define FW_VARIABLE_ENUM(unused, name, rule) FW_VARIABLE_##name,
    FW_VARIABLES(FW_VARIABLE_ENUM, 0)
#undef FW_VARIABLE_ENUM
};

/* Parses what has come of a packet, `len` bytes at `base`; as fw_request_parse. DONE: r->head_len bytes are the packet.
 * `base` is written to. */
enum fw_parse fw_uwsgi_parse(fw_request *r, char *base, size_t len);

/* The variables of an accepted packet that have not become fields; `id` is an enum fw_variable. */
static inline const fw_field *fw_uwsgi_variables(const fw_request *r, uint32_t *n)
{
    *n = r->nvariables;
    return r->fields + r->nfields;
}

/* The value of one of them, empty if it is not there. */
fw_span fw_uwsgi_value(const fw_request *r, enum fw_variable id);

/* Whether the client speaks HTTPS to the front: UWSGI_SCHEME, HTTPS, REQUEST_SCHEME, the first of them that says so. */
bool fw_uwsgi_is_https(const fw_request *r);

/* The client's address (REMOTE_ADDR, REMOTE_PORT), written to `to`, which has room for a struct sockaddr_in6; AF_UNSPEC for
 * a client without one. False: the packet does not say. */
bool fw_uwsgi_client(const fw_request *r, void *to);

#endif
