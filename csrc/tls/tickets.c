/* tickets.c - what OpenSSL asks about tickets, as SSL_CTX_set_tlsext_ticket_key_cb(3) describes it. */
#include "tls/tickets.h"

#include <string.h>

enum { NAME = 16, SECRET = 32, IV = 16 };
_Static_assert(NAME + 2 * SECRET == FW_TICKET_KEY, "a key is a name and two secrets");

static bool has_functions(const fw_openssl *api)
{
    return api->SSL_CTX_callback_ctrl != NULL && api->SSL_CTX_set_ex_data != NULL && api->SSL_CTX_get_ex_data != NULL &&
           api->SSL_get_SSL_CTX != NULL && api->SSL_version != NULL && api->EVP_EncryptInit_ex != NULL &&
           api->EVP_DecryptInit_ex != NULL && api->EVP_aes_256_cbc != NULL && api->EVP_sha256 != NULL &&
           api->HMAC_Init_ex != NULL && api->RAND_bytes != NULL;
}

bool fw_tickets_use(const fw_tickets *t, const fw_openssl *api, fw_ssl_ctx *ctx, fw_ticket_cb callback)
{
    if (t->n == 0)
        return false;
    if (callback != NULL && has_functions(api) &&
        api->SSL_CTX_set_ex_data(ctx, FW_SSL_APP_DATA, (void *)(uintptr_t)t) == 1 &&
        api->SSL_CTX_callback_ctrl(ctx, FW_SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB, (void (*)(void))callback) == 1)
        return true;
    unsigned char first[FW_TICKET_KEY];
    memcpy(first, t->keys[0], sizeof first);
    return api->SSL_CTX_ctrl != NULL &&
           api->SSL_CTX_ctrl(ctx, FW_SSL_CTRL_SET_TLSEXT_TICKET_KEYS, sizeof first, first) == 1;
}

static bool set_seal(const fw_openssl *api, const unsigned char *key, void *seal)
{
    return api->HMAC_Init_ex(seal, key + NAME, SECRET, api->EVP_sha256(), NULL) == 1;
}

static int make(const fw_openssl *api, const unsigned char *key, unsigned char *name, unsigned char *iv, void *cipher,
                void *seal)
{
    memcpy(name, key, NAME);
    return api->RAND_bytes(iv, IV) == 1 &&
                   api->EVP_EncryptInit_ex(cipher, api->EVP_aes_256_cbc(), NULL, key + NAME + SECRET, iv) == 1 &&
                   set_seal(api, key, seal)
               ? 1
               : -1;
}

/* A session of TLS 1.3 is to be resumed once with each ticket (RFC 8446 C.4), so every one is followed by another. */
static bool renews(const fw_openssl *api, fw_ssl *ssl, unsigned place)
{
    return place > 0 || api->SSL_version(ssl) >= FW_TLS1_3_VERSION;
}

int fw_tickets_key(const fw_openssl *api, fw_ssl *ssl, unsigned char *name, unsigned char *iv, void *cipher, void *seal,
                   int sealing)
{
    const fw_tickets *t = api->SSL_CTX_get_ex_data(api->SSL_get_SSL_CTX(ssl), FW_SSL_APP_DATA);
    if (t == NULL || t->n == 0)
        return 0;
    if (sealing)
        return make(api, t->keys[0], name, iv, cipher, seal);
    for (unsigned i = 0; i < t->n; i++) { /* names are no secret: they are compared as any bytes */
        const unsigned char *key = t->keys[i];
        if (memcmp(name, key, NAME) != 0)
            continue;
        if (api->EVP_DecryptInit_ex(cipher, api->EVP_aes_256_cbc(), NULL, key + NAME + SECRET, iv) != 1 ||
            !set_seal(api, key, seal))
            return -1;
        return renews(api, ssl, i) ? 2 : 1;
    }
    return 0;
}
