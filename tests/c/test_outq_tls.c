/* test_outq_tls.c - the queue goes out in records, and one that is tried again is the same bytes.
 *
 * OpenSSL is a stand-in here that holds its caller to the rule of SSL_write: after it has asked for another try, that
 * begins with the same bytes and is no shorter (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER: from any address).
 */
#include "harness.h"
#include "io/outq.h"

#include <fcntl.h>
#include <unistd.h>

#define MOST 400000

static struct {
    char heard[MOST];
    size_t n;
    char pending[FW_RECORD]; /* what was to be tried again */
    size_t npending;
    unsigned refusals;  /* of the next so many writes */
    unsigned records;
    int broken;         /* the kind of error that every write ends with, or 0 */
    unsigned random;
    int released;
} peer;

static unsigned roll(unsigned n)
{
    peer.random = peer.random * 1103515245u + 12345u;
    return (peer.random >> 16) % n;
}

static int stand_in_write(fw_ssl *ssl, const void *data, int n)
{
    (void)ssl;
    CHECK(n > 0 && n <= FW_RECORD);
    CHECK((size_t)n >= peer.npending && memcmp(data, peer.pending, peer.npending) == 0);
    if (peer.broken != 0)
        return -1;
    if (peer.refusals != 0) {
        peer.refusals--;
        if (peer.npending == 0) {
            memcpy(peer.pending, data, (size_t)n);
            peer.npending = (size_t)n;
        }
        return -1;
    }
    const size_t taken = peer.npending != 0 ? peer.npending : (size_t)n; /* a record, and no more */
    CHECK(peer.n + taken <= MOST);
    memcpy(peer.heard + peer.n, data, taken);
    peer.n += taken;
    peer.npending = 0;
    peer.records++;
    return (int)taken;
}

static int stand_in_error(const fw_ssl *ssl, int result)
{
    (void)ssl, (void)result;
    return peer.broken != 0 ? peer.broken : FW_SSL_ERROR_WANT_WRITE;
}

static void stand_in_clear(void)
{
}

static unsigned long stand_in_get(void)
{
    return 0;
}

static fw_openssl stand_in(void)
{
    memset(&peer, 0, sizeof peer);
    return (fw_openssl){
        .SSL_write = stand_in_write,
        .SSL_get_error = stand_in_error,
        .ERR_clear_error = stand_in_clear,
        .ERR_get_error = stand_in_get,
        .method = (fw_bio_method *)&peer, /* there is one; nobody looks at it */
    };
}

static int file_of(const char *data, size_t n)
{
    char name[] = "/tmp/test_outq_tls.XXXXXX";
    const int fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0);
    CHECK(write(fd, data, n) == (ssize_t)n);
    return fd;
}

static void release(fw_chunk_cache *cache)
{
    while (fw_chunk_cache_to_release(cache) != NULL)
        peer.released++;
}

static void head_and_body_are_one_record(void)
{
    const fw_openssl api = stand_in();
    fw_tls tls = {.api = &api, .established = true};
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    int owner;
    const int file = file_of("a file", 6);
    CHECK_INT(fw_outq_copy(&q, &cache, "head ", 5), FW_OK);
    CHECK_INT(fw_outq_ref(&q, &cache, "body ", 5, &owner), FW_OK);
    CHECK_INT(fw_outq_file(&q, &cache, file, 0, 6, &owner), FW_OK);
    CHECK_INT(fw_outq_copy(&q, &cache, " end", 4), FW_OK);
    CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), FW_OK);
    CHECK_BYTES(peer.heard, peer.n, "head body a file end");
    CHECK_INT(peer.records, 1);
    CHECK(q.head == NULL && q.tail == NULL && q.bytes == 0);
    release(&cache);
    CHECK_INT(peer.released, 2);
    close(file);
    fw_chunk_cache_clear(&cache);
}

static void large_blocks_are_sent_from_where_they_are(void)
{
    static char block[5 * FW_RECORD + 100];
    const fw_openssl api = stand_in();
    fw_tls tls = {.api = &api, .established = true};
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    int owner;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    CHECK_INT(fw_outq_ref(&q, &cache, block, sizeof block, &owner), FW_OK);
    CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), FW_OK);
    CHECK(peer.n == sizeof block && memcmp(peer.heard, block, sizeof block) == 0);
    CHECK_INT(peer.records, 6);
    CHECK(cache.free == NULL); /* nothing has been joined */
    release(&cache);
    fw_chunk_cache_clear(&cache);
}

static void what_is_tried_again_is_the_same(void)
{
    static char all[MOST];
    for (unsigned seed = 1; seed <= 300; seed++) {
        trying("seed %u", seed);
        const fw_openssl api = stand_in();
        fw_tls tls = {.api = &api, .established = true};
        fw_outq q = {0};
        fw_chunk_cache cache = {0};
        size_t n = 0;
        int owner, owned = 0, files[40], nfiles = 0;
        peer.random = seed;
        for (size_t i = 0; i < sizeof all; i++)
            all[i] = (char)roll(256);
        for (int turn = 0; turn < 40; turn++) {
            const size_t size = roll(3) == 0 ? roll(40000) : roll(300);
            if (n + size > MOST)
                break;
            switch (roll(4)) {
            case 0: /* of any owner's */
                CHECK_INT(fw_outq_ref(&q, &cache, all + n, size, &owner), FW_OK);
                owned++;
                break;
            case 1:
                files[nfiles] = file_of(all, n + size);
                CHECK_INT(fw_outq_file(&q, &cache, files[nfiles++], (off_t)n, size, &owner), FW_OK);
                owned++;
                break;
            default: CHECK_INT(fw_outq_copy(&q, &cache, all + n, size), FW_OK);
            }
            n += size;
            CHECK(q.bytes == n - peer.n);
            if (roll(3) == 0)
                fw_outq_compact(&q, &cache);
            if (roll(2) == 0) {
                peer.refusals = roll(3);
                const int rc = fw_outq_flush_tls(&q, &cache, &tls);
                CHECK(rc == FW_OK || rc == FW_RETRY);
                CHECK(q.bytes == n - peer.n);
            }
        }
        peer.refusals = 0;
        CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), FW_OK);
        CHECK(peer.n == n && memcmp(peer.heard, all, n) == 0);
        CHECK(q.head == NULL && q.tail == NULL && q.bytes == 0);
        release(&cache);
        CHECK_INT(peer.released, owned);
        fw_chunk_cache_clear(&cache);
        while (nfiles > 0)
            close(files[--nfiles]);
    }
}

static void a_file_that_is_shorter_ends_behind_what_it_has(void)
{
    const fw_openssl api = stand_in();
    fw_tls tls = {.api = &api, .established = true};
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    const int file = file_of("short", 5);
    CHECK_INT(fw_outq_copy(&q, &cache, "head ", 5), FW_OK);
    CHECK_INT(fw_outq_file(&q, &cache, file, 0, 9, NULL), FW_OK);
    CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), -EIO);
    CHECK_BYTES(peer.heard, peer.n, "head short");
    fw_outq_clear(&q, &cache);
    fw_chunk_cache_clear(&cache);
    close(file);
}

static void an_error_is_told_and_stays(void)
{
    const struct {
        int kind, error, rc;
    } all[] = {
        {FW_SSL_ERROR_SSL, 0, -EPROTO},
        {FW_SSL_ERROR_SSL, ECONNRESET, -ECONNRESET},
        {FW_SSL_ERROR_ZERO_RETURN, 0, -EPIPE},
    };
    for (size_t i = 0; i < COUNT(all); i++) {
        trying("kind %d, errno %d", all[i].kind, all[i].error);
        const fw_openssl api = stand_in();
        fw_tls tls = {.api = &api, .established = true, .error = all[i].error};
        fw_outq q = {0};
        fw_chunk_cache cache = {0};
        peer.broken = all[i].kind;
        CHECK_INT(fw_outq_copy(&q, &cache, "lost", 4), FW_OK);
        CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), all[i].rc);
        peer.broken = 0;
        if (all[i].kind != FW_SSL_ERROR_ZERO_RETURN) /* nothing is said after it, not even a goodbye */
            CHECK_INT(fw_outq_flush_tls(&q, &cache, &tls), -EPIPE);
        fw_outq_clear(&q, &cache);
        fw_chunk_cache_clear(&cache);
    }
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(head_and_body_are_one_record),
        T(large_blocks_are_sent_from_where_they_are),
        T(what_is_tried_again_is_the_same),
        T(a_file_that_is_shorter_ends_behind_what_it_has),
        T(an_error_is_told_and_stays),
    };
    return RUN_TESTS(tests);
}
