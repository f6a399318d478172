/* openssl.h - our own declarations of OpenSSL's public interface, and the table through which we call it.
 *
 * OpenSSL is not linked, and none of its headers is needed: the functions are those of a library that is there, looked up
 * at start (fastwsgi/system/openssl.py). What is declared here is the same in 1.1.1 and in 3.x. Of its objects only
 * pointers are kept. fw_tls_check (context.h) proves the table with handshakes before the first byte of a client.
 *
 * Some of what OpenSSL's headers offer are macros over SSL_CTX_ctrl. The table of the cryptography package has no
 * SSL_CTX_ctrl but functions for these macros: fw_openssl_ctrl calls what there is.
 */
#ifndef FW_OPENSSL_H
#define FW_OPENSSL_H

#include "fw.h"

typedef struct ssl_st fw_ssl;
typedef struct ssl_ctx_st fw_ssl_ctx;
typedef struct bio_st fw_bio;
typedef struct bio_method_st fw_bio_method;
typedef struct x509_st fw_x509;
typedef struct evp_pkey_st fw_pkey;

typedef int (*fw_bio_read)(fw_bio *, char *, int);
typedef int (*fw_bio_write)(fw_bio *, const char *, int);
typedef long (*fw_bio_ctrl)(fw_bio *, int, long, void *);
typedef int (*fw_alpn_cb)(fw_ssl *, const unsigned char **, unsigned char *, const unsigned char *, unsigned, void *);
typedef int (*fw_cert_cb)(fw_ssl *, void *);
typedef int (*fw_password_cb)(char *, int, int, void *);
typedef int (*fw_ticket_cb)(fw_ssl *, unsigned char *name, unsigned char *iv, void *cipher, void *seal, int sealing);

/* M(result, name, arguments): each function of the table. Nothing works without the first list. */
#define FW_OPENSSL_REQUIRED(M)                                                                                         \
    M(const void *, TLS_method, (void))                                                                                \
    M(fw_ssl_ctx *, SSL_CTX_new, (const void *))                                                                       \
    M(void, SSL_CTX_free, (fw_ssl_ctx *))                                                                              \
    M(uint64_t, SSL_CTX_set_options, (fw_ssl_ctx *, uint64_t))                                                         \
    M(uint64_t, SSL_CTX_get_options, (const fw_ssl_ctx *))                                                             \
    M(int, SSL_CTX_set_cipher_list, (fw_ssl_ctx *, const char *))                                                      \
    M(int, SSL_CTX_use_certificate, (fw_ssl_ctx *, fw_x509 *))                                                         \
    M(int, SSL_CTX_use_PrivateKey, (fw_ssl_ctx *, fw_pkey *))                                                          \
    M(int, SSL_CTX_check_private_key, (const fw_ssl_ctx *))                                                            \
    M(void, SSL_CTX_set_verify, (fw_ssl_ctx *, int, void *))                                                           \
    M(void, SSL_CTX_set_alpn_select_cb, (fw_ssl_ctx *, fw_alpn_cb, void *))                                            \
    M(void, SSL_CTX_set_cert_cb, (fw_ssl_ctx *, fw_cert_cb, void *))                                                   \
    M(int, SSL_CTX_set_session_id_context, (fw_ssl_ctx *, const unsigned char *, unsigned))                            \
    M(void *, SSL_CTX_get_cert_store, (const fw_ssl_ctx *))                                                            \
    M(int, SSL_CTX_add_client_CA, (fw_ssl_ctx *, fw_x509 *))                                                           \
    M(fw_ssl *, SSL_new, (fw_ssl_ctx *))                                                                               \
    M(void, SSL_free, (fw_ssl *))                                                                                      \
    M(void, SSL_set_bio, (fw_ssl *, fw_bio *, fw_bio *))                                                               \
    M(int, SSL_set_fd, (fw_ssl *, int))                                                                                \
    M(void, SSL_set_accept_state, (fw_ssl *))                                                                          \
    M(void, SSL_set_connect_state, (fw_ssl *))                                                                         \
    M(void, SSL_set_verify, (fw_ssl *, int, void *))                                                                   \
    M(int, SSL_do_handshake, (fw_ssl *))                                                                               \
    M(int, SSL_read, (fw_ssl *, void *, int))                                                                          \
    M(int, SSL_write, (fw_ssl *, const void *, int))                                                                   \
    M(int, SSL_shutdown, (fw_ssl *))                                                                                   \
    M(int, SSL_pending, (const fw_ssl *))                                                                              \
    M(int, SSL_get_error, (const fw_ssl *, int))                                                                       \
    M(const char *, SSL_get_servername, (const fw_ssl *, int))                                                         \
    M(fw_ssl_ctx *, SSL_set_SSL_CTX, (fw_ssl *, fw_ssl_ctx *))                                                         \
    M(const char *, SSL_get_version, (const fw_ssl *))                                                                 \
    M(const void *, SSL_get_current_cipher, (const fw_ssl *))                                                          \
    M(const char *, SSL_CIPHER_get_name, (const void *))                                                               \
    M(void, ERR_clear_error, (void))                                                                                   \
    M(unsigned long, ERR_get_error, (void))                                                                            \
    M(const char *, ERR_reason_error_string, (unsigned long))                                                          \
    M(unsigned long, OpenSSL_version_num, (void))                                                                      \
    M(fw_bio *, BIO_new, (const fw_bio_method *))                                                                      \
    M(fw_bio *, BIO_new_mem_buf, (const void *, int))                                                                  \
    M(const fw_bio_method *, BIO_s_mem, (void))                                                                        \
    M(int, BIO_read, (fw_bio *, void *, int))                                                                          \
    M(int, BIO_free, (fw_bio *))                                                                                       \
    M(fw_x509 *, PEM_read_bio_X509, (fw_bio *, fw_x509 **, fw_password_cb, void *))                                    \
    M(int, PEM_write_bio_X509, (fw_bio *, fw_x509 *))                                                                  \
    M(fw_pkey *, PEM_read_bio_PrivateKey, (fw_bio *, fw_pkey **, fw_password_cb, void *))                              \
    M(void, X509_free, (fw_x509 *))                                                                                    \
    M(void, EVP_PKEY_free, (fw_pkey *))                                                                                \
    M(int, X509_STORE_add_cert, (void *, fw_x509 *))

/* NULL where a library does not have it: of SSL_get1_peer_certificate and SSL_get_peer_certificate one is there (they do
 * the same), and SSL_CTX_ctrl or those that stand for it. Without the functions for a BIO of our own the library's own
 * one is used. */
#define FW_OPENSSL_OPTIONAL(M)                                                                                         \
    M(fw_x509 *, SSL_get1_peer_certificate, (const fw_ssl *))                                                          \
    M(fw_x509 *, SSL_get_peer_certificate, (const fw_ssl *))                                                           \
    M(int, SSL_has_pending, (const fw_ssl *))                                                                          \
    M(int, SSL_version, (const fw_ssl *))                                                                              \
    M(fw_ssl_ctx *, SSL_get_SSL_CTX, (const fw_ssl *))                                                                 \
    M(int, SSL_CTX_up_ref, (fw_ssl_ctx *))                                                                             \
    M(int, SSL_CTX_set_ex_data, (fw_ssl_ctx *, int, void *))                                                           \
    M(void *, SSL_CTX_get_ex_data, (const fw_ssl_ctx *, int))                                                          \
    M(const void *, EVP_aes_256_cbc, (void))                                                                           \
    M(const void *, EVP_sha256, (void))                                                                                \
    M(int, EVP_EncryptInit_ex, (void *, const void *, void *, const unsigned char *, const unsigned char *))           \
    M(int, EVP_DecryptInit_ex, (void *, const void *, void *, const unsigned char *, const unsigned char *))           \
    M(int, HMAC_Init_ex, (void *, const void *, int, const void *, void *))                                            \
    M(int, RAND_bytes, (unsigned char *, int))                                                                         \
    M(long, SSL_CTX_ctrl, (fw_ssl_ctx *, int, long, void *))                                                           \
    M(long, SSL_CTX_callback_ctrl, (fw_ssl_ctx *, int, void (*)(void)))                                                \
    M(long, SSL_CTX_set_mode, (fw_ssl_ctx *, long))                                                                    \
    M(long, SSL_CTX_set_session_cache_mode, (fw_ssl_ctx *, long))                                                      \
    M(int, SSL_CTX_set_min_proto_version, (fw_ssl_ctx *, int))                                                         \
    M(int, SSL_CTX_set_max_proto_version, (fw_ssl_ctx *, int))                                                         \
    M(unsigned long, SSL_CTX_add_extra_chain_cert, (fw_ssl_ctx *, fw_x509 *))                                          \
    M(int, SSL_CTX_set1_curves_list, (fw_ssl_ctx *, const char *))                                                     \
    M(void, SSL_CTX_set_tlsext_servername_callback, (fw_ssl_ctx *, int (*)(fw_ssl *, int *, void *)))                  \
    M(fw_bio_method *, BIO_meth_new, (int, const char *))                                                              \
    M(void, BIO_meth_free, (fw_bio_method *))                                                                          \
    M(int, BIO_meth_set_read, (fw_bio_method *, fw_bio_read))                                                          \
    M(int, BIO_meth_set_write, (fw_bio_method *, fw_bio_write))                                                        \
    M(int, BIO_meth_set_ctrl, (fw_bio_method *, fw_bio_ctrl))                                                          \
    M(void, BIO_set_data, (fw_bio *, void *))                                                                          \
    M(void *, BIO_get_data, (fw_bio *))                                                                                \
    M(void, BIO_set_init, (fw_bio *, int))                                                                             \
    M(void, BIO_set_flags, (fw_bio *, int))                                                                            \
    M(void, BIO_clear_flags, (fw_bio *, int))

typedef struct fw_openssl {
#define FW_MEMBER(result, name, arguments) result(*name) arguments;
    FW_OPENSSL_REQUIRED(FW_MEMBER)
    FW_OPENSSL_OPTIONAL(FW_MEMBER)
#undef FW_MEMBER
    fw_bio_method *method; /* of the BIO by which connections read and write; NULL: the library's own is used */
} fw_openssl;

/* The functions of that BIO. OpenSSL calls them with nothing that would lead to the table, and C keeps no globals: so who
 * keeps the table has these functions too, which call fw_tls_bio_read and its like (tls.h). */
typedef struct fw_bio_functions {
    fw_bio_read read;
    fw_bio_write write;
    fw_bio_ctrl ctrl;
} fw_bio_functions;

/* ---- the values of OpenSSL's constants that we use ------------------------------------------------------------- */

enum { /* results of SSL_get_error */
    FW_SSL_ERROR_SSL = 1,
    FW_SSL_ERROR_WANT_READ = 2,
    FW_SSL_ERROR_WANT_WRITE = 3,
    FW_SSL_ERROR_SYSCALL = 5,
    FW_SSL_ERROR_ZERO_RETURN = 6,
};

enum { /* commands of SSL_CTX_ctrl */
    FW_SSL_CTRL_EXTRA_CHAIN_CERT = 14,
    FW_SSL_CTRL_MODE = 33,
    FW_SSL_CTRL_SET_READ_AHEAD = 41,
    FW_SSL_CTRL_SET_SESS_CACHE_MODE = 44,
    FW_SSL_CTRL_SET_TLSEXT_SERVERNAME_CB = 53,
    FW_SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59,
    FW_SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB = 72,
    FW_SSL_CTRL_CLEAR_MODE = 78,
    FW_SSL_CTRL_CHAIN_CERT = 89,
    FW_SSL_CTRL_SET_GROUPS_LIST = 92,
    FW_SSL_CTRL_SET_MIN_PROTO_VERSION = 123,
    FW_SSL_CTRL_SET_MAX_PROTO_VERSION = 124,
};

enum {
    FW_SSL_MODE_ENABLE_PARTIAL_WRITE = 1,
    FW_SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 2,
    FW_SSL_MODE_AUTO_RETRY = 4,
    FW_SSL_MODE_RELEASE_BUFFERS = 16,
};

#define FW_SSL_OP_IGNORE_UNEXPECTED_EOF (UINT64_C(1) << 7)
#define FW_SSL_OP_NO_COMPRESSION (UINT64_C(1) << 17)
#define FW_SSL_OP_PRIORITIZE_CHACHA (UINT64_C(1) << 21)
#define FW_SSL_OP_CIPHER_SERVER_PREFERENCE (UINT64_C(1) << 22)
#define FW_SSL_OP_NO_RENEGOTIATION (UINT64_C(1) << 30)

enum { FW_SSL_APP_DATA = 0 }; /* the place that is the application's in what an object carries along */
enum { FW_SSL_VERIFY_NONE = 0, FW_SSL_VERIFY_PEER = 1, FW_SSL_VERIFY_REQUIRED = 3 };
enum { FW_TLS1_2_VERSION = 0x0303, FW_TLS1_3_VERSION = 0x0304 };
enum { FW_TLSEXT_OK = 0, FW_TLSEXT_ALERT_FATAL = 2 };

/* ---- the table ------------------------------------------------------------------------------------------------- */

/* The names of the functions, NULL behind the last: of the required ones, or of the optional ones. */
const char *const *fw_openssl_names(bool required);

/* Fills the table with addresses in the order of the names: all required ones, then the optional ones, of which some are
 * NULL. Without `bio` the library's own BIO is used. The table lives as long as the process. NULL, or a static sentence
 * that says what is missing. */
const char *fw_openssl_init(fw_openssl *api, void *const *addresses, const fw_bio_functions *bio);

/* SSL_CTX_ctrl, or what stands for it; 0 if nothing does. */
long fw_openssl_ctrl(const fw_openssl *api, fw_ssl_ctx *ctx, int command, long number, void *pointer);

/* What the last error was, in OpenSSL's words, in static memory; the others are forgotten. */
const char *fw_openssl_error(const fw_openssl *api);

#endif
