/* openssl.c - the table of OpenSSL's functions. */
#include "tls/openssl.h"

#include <string.h>

#define FW_NAME(result, name, arguments) #name,
static const char *const REQUIRED[] = {FW_OPENSSL_REQUIRED(FW_NAME) NULL};
static const char *const OPTIONAL[] = {FW_OPENSSL_OPTIONAL(FW_NAME) NULL};
#undef FW_NAME

#define NFUNCS (sizeof REQUIRED / sizeof REQUIRED[0] + sizeof OPTIONAL / sizeof OPTIONAL[0] - 2)
_Static_assert(offsetof(fw_openssl, method) == NFUNCS * sizeof(void *), "one name per function of the table");

const char *const *fw_openssl_names(bool required)
{
    return required ? REQUIRED : OPTIONAL;
}

#define BIO_TYPE (0x400 | 100) /* it has a beginning and an end, and is none of OpenSSL's */

static bool has_bio(const fw_openssl *api)
{
    return api->BIO_meth_new != NULL && api->BIO_meth_free != NULL && api->BIO_meth_set_read != NULL &&
           api->BIO_meth_set_write != NULL && api->BIO_meth_set_ctrl != NULL && api->BIO_set_data != NULL &&
           api->BIO_get_data != NULL && api->BIO_set_init != NULL && api->BIO_set_flags != NULL &&
           api->BIO_clear_flags != NULL && api->SSL_has_pending != NULL && api->SSL_CTX_ctrl != NULL;
}

static fw_bio_method *make_method(const fw_openssl *api, const fw_bio_functions *bio)
{
    fw_bio_method *m = api->BIO_meth_new(BIO_TYPE, "fastwsgi");
    if (m == NULL)
        return NULL;
    if (api->BIO_meth_set_read(m, bio->read) == 1 && api->BIO_meth_set_write(m, bio->write) == 1 &&
        api->BIO_meth_set_ctrl(m, bio->ctrl) == 1)
        return m;
    api->BIO_meth_free(m);
    return NULL;
}

const char *fw_openssl_init(fw_openssl *api, void *const *addresses, const fw_bio_functions *bio)
{
    memset(api, 0, sizeof *api);
    memcpy(api, addresses, NFUNCS * sizeof *addresses); /* POSIX: object and function pointers convert */
    if (api->SSL_get1_peer_certificate == NULL)
        api->SSL_get1_peer_certificate = api->SSL_get_peer_certificate;
    if (api->SSL_get1_peer_certificate == NULL)
        return "it cannot tell the certificate of a client";
    const bool macros = api->SSL_CTX_set_mode != NULL && api->SSL_CTX_set_session_cache_mode != NULL &&
                        api->SSL_CTX_set_min_proto_version != NULL && api->SSL_CTX_set_max_proto_version != NULL &&
                        api->SSL_CTX_add_extra_chain_cert != NULL;
    if (api->SSL_CTX_ctrl == NULL && !macros)
        return "it has neither SSL_CTX_ctrl nor functions in its place";
    if (bio != NULL && has_bio(api) && (api->method = make_method(api, bio)) == NULL)
        return "it does not make a BIO";
    return NULL;
}

long fw_openssl_ctrl(const fw_openssl *api, fw_ssl_ctx *ctx, int command, long number, void *pointer)
{
    if (api->SSL_CTX_ctrl != NULL)
        return api->SSL_CTX_ctrl(ctx, command, number, pointer);
    switch (command) {
    case FW_SSL_CTRL_MODE: return api->SSL_CTX_set_mode(ctx, number);
    case FW_SSL_CTRL_SET_SESS_CACHE_MODE: return api->SSL_CTX_set_session_cache_mode(ctx, number);
    case FW_SSL_CTRL_SET_MIN_PROTO_VERSION: return api->SSL_CTX_set_min_proto_version(ctx, (int)number);
    case FW_SSL_CTRL_SET_MAX_PROTO_VERSION: return api->SSL_CTX_set_max_proto_version(ctx, (int)number);
    case FW_SSL_CTRL_SET_GROUPS_LIST:
        return api->SSL_CTX_set1_curves_list != NULL ? api->SSL_CTX_set1_curves_list(ctx, pointer) : 0;
    case FW_SSL_CTRL_EXTRA_CHAIN_CERT: return (long)api->SSL_CTX_add_extra_chain_cert(ctx, pointer);
    default: return 0;
    }
}

const char *fw_openssl_error(const fw_openssl *api)
{
    const unsigned long code = api->ERR_get_error();
    const char *text = code != 0 ? api->ERR_reason_error_string(code) : NULL;
    api->ERR_clear_error();
    return text != NULL ? text : "no reason given";
}
