/* fuzz_tls.c - two ends of TLS with a wire between them that cuts and spoils: the input is the script.
 *
 * A client and a server (tls.c) send, receive, change keys and say goodbye as the script says, and bytes go over the wire in pieces of
 * any size. Through all of it:
 *
 * - what one end receives is what the other one has sent, from its beginning, without a gap and without a wrong byte;
 * - when fw_tls_has_more says that there is no more, nothing is left: neither in the socket nor in the library, for no
 *   event would tell of it;
 * - nothing fails on a wire that does not spoil, and when all has been moved all has arrived, the goodbye too;
 * - on one that does, calls end in one of the ways that tls.h names; no memory and no descriptor stays behind.
 *
 * Keys are made anew by each run, so an input gives the same course and not the same bytes on the wire.
 */
#include "fuzz.h"
#include "tls/context.h"
#include "tls/tls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRIPT_MAX 2048
#define ONCE 40000       /* bytes that are sent at a time, at most */
#define IN_ALL 400000    /* ... and by one end */
#define WIRE 65536
#define SETTLING 4000    /* rounds until everything has been moved */
#define LETTERS 251      /* the period of what is sent */

/* ---- the library ----------------------------------------------------------------------------------------------- */

static fw_openssl own, theirs; /* with a BIO of ours, and with the library's */
static fw_tls_context *servers[2];
static fw_ssl_ctx *clients[2][2]; /* by table, and by version */
static int (*key_update)(fw_ssl *, int);

static int on_read(fw_bio *b, char *to, int room)
{
    return fw_tls_bio_read(&own, b, to, room);
}

static int on_write(fw_bio *b, const char *data, int n)
{
    return fw_tls_bio_write(&own, b, data, n);
}

static long on_ctrl(fw_bio *b, int command, long number, void *pointer)
{
    return fw_tls_bio_ctrl(&own, b, command, number, pointer);
}

static int on_ticket(fw_ssl *ssl, unsigned char *name, unsigned char *iv, void *cipher, void *seal, int sealing)
{
    return fw_tickets_key(&own, ssl, name, iv, cipher, seal, sealing);
}

static void *look_up(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL)
        fprintf(stderr, "this libssl does not have %s\n", name);
    MUST(found != NULL);
    return found;
}

static void fill(void *library, fw_openssl *api, const fw_bio_functions *bio)
{
    void *table[128];
    size_t n = 0;
    for (const char *const *name = fw_openssl_names(true); *name != NULL; name++)
        table[n++] = look_up(library, *name);
    for (const char *const *name = fw_openssl_names(false); *name != NULL; name++)
        table[n++] = dlsym(library, *name);
    MUST(n <= COUNT(table));
    MUST(fw_openssl_init(api, table, bio) == NULL);
}

static size_t taken(fw_bio *b, char *to, size_t room)
{
    const int n = own.BIO_read(b, to, (int)room);
    MUST(n > 0 && (size_t)n < room);
    own.BIO_free(b);
    return (size_t)n;
}

/* A certificate that signs itself, and its key, in PEM: 32 bytes of the key are all that is random. */
static void make_certificate(void *library, char *pem, size_t *pem_len, char *key, size_t *key_len, size_t room)
{
    void *generate = look_up(library, "EVP_PKEY_Q_keygen"), *x509_new = look_up(library, "X509_new"),
         *set_key = look_up(library, "X509_set_pubkey"), *sign = look_up(library, "X509_sign"),
         *before = look_up(library, "X509_getm_notBefore"), *after = look_up(library, "X509_getm_notAfter"),
         *adjust = look_up(library, "X509_gmtime_adj"), *write_key = look_up(library, "PEM_write_bio_PrivateKey"),
         *digest = look_up(library, "EVP_sha256");
    fw_pkey *pair = ((fw_pkey * (*)(void *, const char *, const char *, ...)) generate)(NULL, NULL, "EC", "P-256");
    fw_x509 *x = ((fw_x509 * (*)(void)) x509_new)();
    MUST(pair != NULL && x != NULL);
    MUST(((int (*)(fw_x509 *, fw_pkey *))set_key)(x, pair) == 1);
    ((void *(*)(void *, long))adjust)(((void *(*)(fw_x509 *))before)(x), 0);
    ((void *(*)(void *, long))adjust)(((void *(*)(fw_x509 *))after)(x), 86400);
    MUST(((int (*)(fw_x509 *, fw_pkey *, const void *))sign)(x, pair, ((const void *(*)(void))digest)()) > 0);
    fw_bio *b = own.BIO_new(own.BIO_s_mem());
    MUST(own.PEM_write_bio_X509(b, x) == 1);
    *pem_len = taken(b, pem, room);
    b = own.BIO_new(own.BIO_s_mem());
    MUST(((int (*)(fw_bio *, fw_pkey *, void *, void *, int, void *, void *))write_key)(b, pair, NULL, NULL, 0, NULL, NULL) == 1);
    *key_len = taken(b, key, room);
    own.X509_free(x);
    own.EVP_PKEY_free(pair);
}

static void open_library(void)
{
    static const unsigned char id[32] = {1};
    static const fw_bio_functions bio = {on_read, on_write, on_ctrl};
    const fw_tls_options options = {.ciphers = "ECDHE+AESGCM", .least = FW_TLS1_2_VERSION, .session_id = id};
    fw_tickets tickets = {.n = 1};
    char pem[4096], key[4096];
    size_t pem_len, key_len;
    if (servers[0] != NULL)
        return;
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    key_update = (int (*)(fw_ssl *, int))look_up(library, "SSL_key_update");
    fill(library, &own, &bio);
    fill(library, &theirs, NULL);
    make_certificate(library, pem, &pem_len, key, &key_len, sizeof pem);
    for (int i = 0; i < 2; i++) {
        const fw_openssl *api = i == 0 ? &own : &theirs;
        const char *why;
        fw_tls_fault fault;
        servers[i] = fw_tls_context_new(api, &tickets, on_ticket);
        MUST(servers[i] != NULL);
        MUST(fw_tls_context_add(servers[i], &options, pem, pem_len, key, key_len, "", 0, &fault));
        MUST(fw_tls_check(servers[i], &why) == NULL);
        for (int j = 0; j < 2; j++) {
            fw_ssl_ctx *c = clients[i][j] = api->SSL_CTX_new(api->TLS_method());
            MUST(c != NULL);
            api->SSL_CTX_set_verify(c, FW_SSL_VERIFY_NONE, NULL);
            fw_openssl_ctrl(api, c, FW_SSL_CTRL_SET_MAX_PROTO_VERSION, j == 0 ? FW_TLS1_3_VERSION : FW_TLS1_2_VERSION, NULL);
            fw_openssl_ctrl(api, c, FW_SSL_CTRL_MODE, FW_SSL_MODE_ENABLE_PARTIAL_WRITE |
                            FW_SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
        }
    }
}

/* ---- two ends and the wire ------------------------------------------------------------------------------------- */

typedef struct end {
    fw_tls *tls;
    int wire;         /* our end of its socket */
    size_t queued;    /* bytes that it is to send */
    size_t sent, got; /* bytes of HTTP, as far as this layer knows */
    bool goodbye;     /* it is to say goodbye when all is sent */
    bool over;        /* it will receive no more */
    char on_wire[WIRE]; /* what it has said and the other one has not been given */
    size_t waiting;
} end;

typedef struct world {
    tape script;
    end ends[2]; /* the client, the server */
    bool spoilt; /* the wire has changed something */
} world;

static world all; /* one at a time; too large for the stack */
static char letters[ONCE + LETTERS], room[ONCE];

static void open_end(end *e, const fw_openssl *api, fw_ssl_ctx *ctx, fw_tls_context *context, bool narrow)
{
    int ends[2];
    pair_open(ends, narrow);
    memset(e, 0, offsetof(end, on_wire));
    e->waiting = 0;
    e->wire = ends[1];
    e->tls = context != NULL ? fw_tls_context_open(context, ends[0]) : fw_tls_open(api, ctx, ends[0], false);
    MUST(e->tls != NULL);
}

static void close_end(end *e)
{
    const int fd = e->tls->fd;
    fw_tls_close(e->tls);
    close(fd);
    if (e->wire >= 0)
        close(e->wire);
}

static end *other(world *w, const end *e)
{
    return e == &w->ends[0] ? &w->ends[1] : &w->ends[0];
}

/* What the end has said is taken from its socket, and at most `n` bytes of it go to the other one. */
static size_t move_bytes(world *w, end *e, size_t n)
{
    end *to = other(w, e);
    size_t moved = 0;
    if (e->wire >= 0 && e->waiting < WIRE) {
        const ssize_t said = recvfrom(e->wire, e->on_wire + e->waiting, WIRE - e->waiting, MSG_DONTWAIT, NULL, NULL);
        if (said > 0)
            e->waiting += (size_t)said;
    }
    if (to->wire >= 0 && e->waiting > 0 && n > 0) {
        const ssize_t given = sendto(to->wire, e->on_wire, n < e->waiting ? n : e->waiting, MSG_DONTWAIT | MSG_NOSIGNAL,
                                     NULL, 0);
        if (given > 0) {
            moved = (size_t)given;
            e->waiting -= moved;
            memmove(e->on_wire, e->on_wire + moved, e->waiting);
        }
    }
    return moved;
}

static bool is_empty(int fd)
{
    char one;
    return recvfrom(fd, &one, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) < 0;
}

/* What OpenSSL cannot do once the handshake is over, though the wire is good; the owner closes, and the other side may take
 * that for a wire that was cut. It says no goodbye while it has a part of a ticket or of new keys, and it fails when it is
 * asked for new keys while some of a record waits for room. */
static bool is_beyond_openssl(const end *e)
{
    return e->tls->established && e->tls->why != NULL &&
           (strcmp(e->tls->why, "shutdown while in init") == 0 || strcmp(e->tls->why, "bad length") == 0);
}

static void judge_error(world *w, const end *e, ssize_t n)
{
    MUST(n > -4096 || n == FW_TLS_PLAIN);
    if (n == FW_TLS_PLAIN)
        MUST(e == &w->ends[1] && w->spoilt && !e->tls->established);
    if (is_beyond_openssl(e))
        w->spoilt = true;
    if (!w->spoilt)
        fprintf(stderr, "%s: %zd, %s\n", e == &w->ends[0] ? "client" : "server", n, e->tls->why != NULL ? e->tls->why : "");
    MUST(w->spoilt);
}

/* Receives once. True: something has happened, so that it is worth while to go on. */
static bool receive(world *w, end *e, size_t most)
{
    if (e->over)
        return false;
    const ssize_t n = fw_tls_receive(e->tls, room, most);
    if (n > 0) {
        MUST((size_t)n <= most && e->tls->established);
        MUST(memcmp(room, letters + e->got % LETTERS, (size_t)n) == 0);
        e->got += (size_t)n;
        MUST(e->got <= other(w, e)->sent + other(w, e)->queued);
        if (fw_tls_has_more(e->tls, n))
            return true;
    } else if (n == FW_RETRY) {
        if (fw_tls_has_more(e->tls, n))
            return true;
        if (e->tls->wants_write)
            return false;
    } else {
        if (n < 0)
            judge_error(w, e, n);
        e->over = true;
        return false;
    }
    MUST(is_empty(e->tls->fd) || e->tls->eof);
    const ssize_t again = fw_tls_receive(e->tls, room, most); /* no event, so nothing may be left */
    MUST(again <= 0 || e->tls->eof);
    if (again != FW_RETRY)
        e->over = true;
    return n > 0;
}

static bool send_some(world *w, end *e, size_t most)
{
    if (e->queued == 0) {
        const bool owed = e->goodbye && e->tls->established && !e->tls->shut && !e->tls->broken;
        const int rc = owed ? fw_tls_shut(e->tls) : FW_OK;
        if (rc != FW_OK && rc != FW_RETRY)
            judge_error(w, e, rc);
        return owed && rc == FW_OK;
    }
    /* What follows FW_RETRY is no shorter: always all there is. */
    const size_t n = most < e->queued ? most : e->queued;
    const ssize_t sent = fw_tls_send(e->tls, letters + e->sent % LETTERS, n, false);
    if (sent > 0) {
        MUST((size_t)sent <= n && sent <= FW_RECORD);
        e->sent += (size_t)sent;
        e->queued -= (size_t)sent;
        return true;
    }
    MUST(sent != 0);
    if (sent != FW_RETRY) {
        if (sent != -EPIPE || !w->ends[0].over)
            judge_error(w, e, sent);
        e->queued = 0;
    }
    return false;
}

/* ---- the script ------------------------------------------------------------------------------------------------ */

static void spoil(world *w, end *e)
{
    const unsigned kind = tape_byte(&w->script), where = tape_word(&w->script);
    size_t n;
    w->spoilt = true;
    if (kind % 3 == 0 && e->waiting > 0) {
        e->on_wire[where % e->waiting] ^= (char)(1u << (kind >> 5));
    } else if (kind % 3 == 1) {
        const char *bytes = tape_bytes(&w->script, 1 + where % 32, &n);
        if (n > WIRE - e->waiting)
            n = WIRE - e->waiting;
        memcpy(e->on_wire + e->waiting, bytes, n);
        e->waiting += n;
    } else if (e->waiting > 0) {
        const size_t at = where % e->waiting, gone = e->waiting - at < 8 ? e->waiting - at : 8;
        memmove(e->on_wire + at, e->on_wire + at + gone, e->waiting - at - gone);
        e->waiting -= gone;
    }
}

static void step(world *w)
{
    const unsigned what = tape_byte(&w->script);
    end *e = &w->ends[what & 1];
    const size_t n = what & 0x80 ? tape_word(&w->script) % ONCE : tape_byte(&w->script);
    switch ((what >> 1) % 10) {
    case 0: case 1: case 2: move_bytes(w, e, 1 + n); break;
    case 3: case 4: receive(w, e, 1 + n); break;
    case 5:
        if (!e->goodbye && e->queued + n <= ONCE && e->sent + n < IN_ALL)
            e->queued += n;
        break;
    case 6: case 7: send_some(w, e, e->queued); break;
    case 8:
        if (!e->tls->established)
            break;
        if (what & 0x40)
            key_update(e->tls->ssl, (int)(n & 1)); /* a record without data goes before what is sent next; in 1.3 only */
        else
            e->goodbye = true;
        break;
    default:
        move_bytes(w, e, 0);
        if (what & 0x40)
            spoil(w, e);
    }
}

/* Moves all that there is to be moved; false if that does not come to an end. */
static bool settle(world *w)
{
    for (int i = 0; i < SETTLING; i++) {
        bool moved = false;
        for (int j = 0; j < 2; j++) {
            end *e = &w->ends[j];
            moved |= send_some(w, e, e->queued);
            moved |= move_bytes(w, e, WIRE) > 0;
            moved |= receive(w, other(w, e), sizeof room);
        }
        const bool still = w->ends[0].waiting + w->ends[1].waiting == 0 && is_empty(w->ends[0].wire) && is_empty(w->ends[1].wire);
        if (!moved && (still || w->spoilt)) /* on a wire that spoils one of them may not read any more */
            return true;
    }
    return false;
}

static void finish(world *w)
{
    MUST(settle(w));
    if (!w->spoilt) {
        end *client = &w->ends[0], *server = &w->ends[1];
        MUST(client->tls->established && server->tls->established);
        for (int i = 0; i < 2; i++) {
            w->ends[i].goodbye = true;
            MUST(w->ends[i].queued == 0 || w->ends[i].over);
        }
        MUST(settle(w));
        MUST(w->spoilt || (server->got == client->sent && client->got == server->sent));
        MUST(w->spoilt || (server->over && client->over));
    }
    for (int i = 0; i < 2; i++)
        close_end(&w->ends[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world *w = &all;
    if (size > SCRIPT_MAX)
        return 0;
    open_library();
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)(i % LETTERS);
    w->script = (tape){data, data + size};
    w->spoilt = false;
    const unsigned setting = tape_byte(&w->script);
    const int which = setting & 1;
    const fw_openssl *api = which == 0 ? &own : &theirs;
    open_end(&w->ends[0], api, clients[which][setting >> 1 & 1], NULL, setting & 4);
    open_end(&w->ends[1], api, NULL, servers[which], setting & 8);
    while (tape_left(&w->script) > 0)
        step(w);
    finish(w);
    return 0;
}
