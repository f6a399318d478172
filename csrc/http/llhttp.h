/* llhttp.h - our own declaration of llhttp 9's public interface, and the table through which we call it.
 *
 * llhttp is not linked: the functions are those that the installed httptools carries, resolved once at import
 * (fw_llhttp_load) and proved before the first byte of a peer is parsed (fw_llhttp_check).  The inside of the parser
 * object is never touched: it lives in an oversized opaque block, first in the structure that embeds it.
 */
#ifndef FW_LLHTTP_H
#define FW_LLHTTP_H

#include "fw.h"

#define FW_LLHTTP_BLOCK 256 /* llhttp 9's object takes 96; the check proves that init stays within the block */

typedef struct fw_llhttp {
    _Alignas(16) unsigned char block[FW_LLHTTP_BLOCK];
} fw_llhttp;

typedef int (*fw_llhttp_data_cb)(fw_llhttp *, const char *at, size_t length);
typedef int (*fw_llhttp_cb)(fw_llhttp *);

/* The layout of llhttp_settings_t in llhttp 9.3 and 9.4. */
typedef struct fw_llhttp_settings {
    fw_llhttp_cb on_message_begin;
    fw_llhttp_data_cb on_protocol;
    fw_llhttp_data_cb on_url;
    fw_llhttp_data_cb on_status;
    fw_llhttp_data_cb on_method;
    fw_llhttp_data_cb on_version;
    fw_llhttp_data_cb on_header_field;
    fw_llhttp_data_cb on_header_value;
    fw_llhttp_data_cb on_chunk_extension_name;
    fw_llhttp_data_cb on_chunk_extension_value;
    fw_llhttp_cb on_headers_complete;
    fw_llhttp_data_cb on_body;
    fw_llhttp_cb on_message_complete;
    fw_llhttp_cb on_protocol_complete;
    fw_llhttp_cb on_url_complete;
    fw_llhttp_cb on_status_complete;
    fw_llhttp_cb on_method_complete;
    fw_llhttp_cb on_version_complete;
    fw_llhttp_cb on_header_field_complete;
    fw_llhttp_cb on_header_value_complete;
    fw_llhttp_cb on_chunk_extension_name_complete;
    fw_llhttp_cb on_chunk_extension_value_complete;
    fw_llhttp_cb on_chunk_header;
    fw_llhttp_cb on_chunk_complete;
    fw_llhttp_cb on_reset;
    fw_llhttp_cb room[8]; /* a later llhttp may append callbacks; they stay NULL */
} fw_llhttp_settings;

/* The values of llhttp's enumerations that we act on. */
enum fw_llhttp_type { FW_LLHTTP_REQUEST = 1 };
enum fw_llhttp_errno {
    FW_HPE_OK = 0,
    FW_HPE_INVALID_METHOD = 6,
    FW_HPE_INVALID_URL = 7,
    FW_HPE_INVALID_CONSTANT = 8,
    FW_HPE_INVALID_VERSION = 9,
    FW_HPE_PAUSED = 21,
    FW_HPE_PAUSED_UPGRADE = 22,
    FW_HPE_PAUSED_H2_UPGRADE = 23,
    FW_HPE_USER = 24,
};
enum fw_llhttp_method {
    FW_METHOD_GET = 1,
    FW_METHOD_HEAD = 2,
    FW_METHOD_CONNECT = 5,
    FW_METHOD_OPTIONS = 6,
    FW_METHODS = 64 /* upper bound of llhttp's method numbers */
};

/* The functions of the installed llhttp. */
typedef struct fw_llhttp_api {
    void (*init)(fw_llhttp *, int type, const fw_llhttp_settings *);
    int (*execute)(fw_llhttp *, const char *data, size_t len);
    void (*resume)(fw_llhttp *);
    int (*get_errno)(const fw_llhttp *);
    const char *(*get_error_pos)(const fw_llhttp *);
    const char *(*get_error_reason)(const fw_llhttp *);
    uint8_t (*get_method)(const fw_llhttp *);
    uint8_t (*get_http_major)(const fw_llhttp *);
    uint8_t (*get_http_minor)(const fw_llhttp *);
    const char *(*method_name)(int method);
} fw_llhttp_api;

/* Resolves the table from the shared object at `path`, which must already be loaded into the process (the handle is
 * kept for the life of the process).  On failure returns -ENOENT (no such module) or -ENOSYS and sets `*missing` to
 * what could not be found. */
int fw_llhttp_load(fw_llhttp_api *api, const char *path, const char **missing);

/* Proves that the functions in `api` speak the interface declared above: init stays within the block, every callback
 * we use fires with the expected text, pausing and resuming points are where we expect them, errors have the numbers
 * we know.  Returns NULL, or a static sentence that names what differed. */
const char *fw_llhttp_check(const fw_llhttp_api *api);

#endif
