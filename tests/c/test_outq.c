/* test_outq.c - the output queue: order, partial writes, owners given back once, and a system that fails. */
#include "faults.h"
#include "harness.h"
#include "io/outq.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct fixture {
    fw_outq q;
    fw_chunk_cache cache;
    int ends[2]; /* the queue writes to the first */
} fixture;

static void begin(fixture *f, bool narrow)
{
    *f = (fixture){0};
    pair_open(f->ends, narrow);
}

static void end(fixture *f)
{
    fw_outq_clear(&f->q, &f->cache);
    CHECK(f->q.bytes == 0 && f->q.head == NULL && f->q.tail == NULL);
    while (fw_chunk_cache_to_release(&f->cache) != NULL)
        ;
    fw_chunk_cache_clear(&f->cache);
    for (int i = 0; i < 2; i++)
        if (f->ends[i] >= 0)
            close(f->ends[i]);
}

/* Flushes and reads in turn until all has gone; returns what the other side got. */
static size_t carry(fixture *f, char *to, size_t room)
{
    size_t got = 0;
    for (int turn = 0; turn < 100000; turn++) {
        int rc = fw_outq_flush(&f->q, &f->cache, f->ends[0]);
        CHECK(rc == FW_OK || rc == FW_RETRY);
        CHECK((rc == FW_OK) == (f->q.head == NULL) && (rc == FW_OK) == (f->q.bytes == 0));
        ssize_t n;
        while ((n = hear(f->ends[1], to + got, room - got)) > 0)
            got += (size_t)n;
        if (rc == FW_OK)
            return got;
    }
    FAIL("the queue does not empty");
}

static int temp_file(const char *bytes, size_t n)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
    return fd;
}

static int released_count(fixture *f, const void *owner)
{
    int n = 0;
    for (const void *o; (o = fw_chunk_cache_to_release(&f->cache)) != NULL;) {
        CHECK(o == owner);
        n++;
    }
    return n;
}

/* ---- queueing -------------------------------------------------------------------------------------------------- */

static void small_copies_share_a_chunk_and_one_send(void)
{
    fixture f;
    char got[64];
    begin(&f, false);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "one ", 4), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "two ", 4), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "", 0), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "three", 5), FW_OK);
    CHECK_INT(f.q.bytes, 13);
    CHECK(f.q.head == f.q.tail);
    faults_clear();
    CHECK_BYTES(got, carry(&f, got, sizeof got), "one two three");
    CHECK_INT(fault_calls(FAULT_SEND), 1);
    CHECK_INT(fault_calls(FAULT_SENDMSG), 0);
    end(&f);
}

static void an_empty_chunk_is_used_again(void)
{
    fixture f;
    char got[64];
    begin(&f, false);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, "again", 5), FW_OK);
        CHECK_BYTES(got, carry(&f, got, sizeof got), "again");
        CHECK_INT(f.cache.nfree, 1);
    }
    memset(fw_outq_reserve(&f.q, &f.cache, FW_CHUNK), 'x', FW_CHUNK); /* all of it */
    fw_outq_commit(&f.q, FW_CHUNK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "y", 1), FW_OK);
    CHECK_INT(fault_calls(FAULT_MEMORY), 2);
    end(&f);
}

static void the_cache_keeps_a_bounded_number_of_chunks(void)
{
    fixture f;
    static char block[FW_CHUNK];
    begin(&f, false);
    for (int i = 0; i < 200; i++)
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, block, sizeof block), FW_OK);
    fw_outq_clear(&f.q, &f.cache);
    CHECK(f.cache.nfree <= 64);
    end(&f);
}

static void a_copy_larger_than_a_chunk_is_whole(void)
{
    fixture f;
    static char big[5 * FW_CHUNK], got[sizeof big + 1];
    pattern(big, sizeof big);
    begin(&f, true);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, big, sizeof big), FW_OK);
    CHECK_INT(carry(&f, got, sizeof got), sizeof big);
    CHECK(memcmp(big, got, sizeof big) == 0);
    CHECK_INT(f.cache.nfree, 0);
    end(&f);
}

static void order_is_kept_over_copies_references_and_files(void)
{
    fixture f;
    static char got[1 << 20];
    static char expected[1 << 20];
    static char block[40000];
    int owner;
    size_t want = 0;
    pattern(block, sizeof block);
    const int file = temp_file(block, sizeof block);
    begin(&f, true);
    for (int i = 0; i < 4; i++) {
        char text[16];
        size_t n = (size_t)snprintf(text, sizeof text, "<%d>", i);
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, text, n), FW_OK);
        memcpy(expected + want, text, n);
        want += n;
        CHECK_INT(fw_outq_ref(&f.q, &f.cache, block + i, 30000, &owner), FW_OK);
        memcpy(expected + want, block + i, 30000);
        want += 30000;
        CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 100 * i, 20000, &owner), FW_OK);
        memcpy(expected + want, block + 100 * i, 20000);
        want += 20000;
    }
    CHECK_INT(f.q.bytes, want);
    CHECK_INT(carry(&f, got, sizeof got), want);
    CHECK(memcmp(got, expected, want) == 0);
    CHECK_INT(released_count(&f, &owner), 8);
    close(file);
    end(&f);
}

static void more_pieces_than_one_writev_takes(void)
{
    fixture f;
    static char got[4096];
    int owner;
    begin(&f, false);
    for (int i = 0; i < 300; i++)
        CHECK_INT(fw_outq_ref(&f.q, &f.cache, "0123456789", 10, &owner), FW_OK);
    CHECK_INT(carry(&f, got, sizeof got), 3000);
    CHECK(memcmp(got, "012345678901234", 15) == 0 && got[2999] == '9');
    CHECK_INT(released_count(&f, &owner), 300);
    end(&f);
}

static void what_is_reserved_and_not_used_is_not_sent(void)
{
    fixture f;
    char got[64];
    begin(&f, false);
    CHECK(fw_outq_reserve(&f.q, &f.cache, 100) != NULL);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), FW_OK);
    CHECK_INT(hear(f.ends[1], got, sizeof got), -EAGAIN);
    char *to = fw_outq_reserve(&f.q, &f.cache, FW_CHUNK);
    memcpy(to, "abc", 3);
    fw_outq_commit(&f.q, 3);
    CHECK(fw_outq_reserve(&f.q, &f.cache, FW_CHUNK) != NULL); /* no room: a second chunk, left empty */
    CHECK_BYTES(got, carry(&f, got, sizeof got), "abc");
    end(&f);
}

static void a_rollback_drops_what_came_after_the_mark(void)
{
    fixture f;
    char got[64];
    int owner;
    static char big[3 * FW_CHUNK];
    begin(&f, false);
    fw_outq_mark empty = fw_outq_here(&f.q);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "lost", 4), FW_OK);
    fw_outq_rollback(&f.q, &f.cache, empty);
    CHECK(f.q.head == NULL && f.q.bytes == 0);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "kept", 4), FW_OK);
    fw_outq_mark mark = fw_outq_here(&f.q);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, " lost", 5), FW_OK);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, big, sizeof big, &owner), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, big, sizeof big), FW_OK);
    fw_outq_rollback(&f.q, &f.cache, mark);
    CHECK_INT(f.q.bytes, 4);
    CHECK_INT(released_count(&f, &owner), 1);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, " too", 4), FW_OK);
    CHECK(f.q.head == f.q.tail);
    CHECK_BYTES(got, carry(&f, got, sizeof got), "kept too");
    end(&f);
}

static void clearing_gives_every_owner_back(void)
{
    fixture f;
    int owner;
    const int file = temp_file("file", 4);
    begin(&f, false);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, "ref", 3, &owner), FW_OK);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
    fw_outq_clear(&f.q, &f.cache);
    CHECK_INT(released_count(&f, &owner), 2);
    close(file);
    end(&f);
}

static void no_memory_queues_nothing(void)
{
    fixture f;
    int owner;
    begin(&f, false);
    fault_fail(FAULT_MEMORY, 0, FOR_EVER, ENOMEM);
    CHECK(fw_outq_reserve(&f.q, &f.cache, 10) == NULL);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "x", 1), -ENOMEM);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, "x", 1, &owner), -ENOMEM);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, 0, 0, 1, &owner), -ENOMEM);
    CHECK(f.q.head == NULL && f.q.bytes == 0);
    CHECK_INT(released_count(&f, &owner), 0);
    end(&f);
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static void one_byte_at_a_time_arrives_whole(void)
{
    fixture f;
    char got[256];
    int owner;
    const int file = temp_file("a small file", 12);
    begin(&f, false);
    for (int call = FAULT_SEND; call <= FAULT_SENDFILE; call++)
        fault_short((enum fault)call, 0, FOR_EVER, 1);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "head, ", 6), FW_OK);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, "reference, ", 11, &owner), FW_OK);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 2, 10, &owner), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, ", tail", 6), FW_OK);
    CHECK_BYTES(got, carry(&f, got, sizeof got), "head, reference, small file, tail");
    CHECK_INT(released_count(&f, &owner), 2);
    close(file);
    end(&f);
}

static void an_interrupted_send_is_repeated(void)
{
    fixture f;
    char got[256];
    int owner;
    const int file = temp_file("file", 4);
    begin(&f, false);
    for (int call = FAULT_SEND; call <= FAULT_SENDFILE; call++)
        fault_fail((enum fault)call, 0, 3, EINTR);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "a", 1), FW_OK);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, "b", 1, &owner), FW_OK);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "c", 1), FW_OK);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), FW_OK);
    CHECK_INT(fault_hits(FAULT_SEND) + fault_hits(FAULT_SENDMSG) + fault_hits(FAULT_SENDFILE), 9);
    CHECK_BYTES(got, hear(f.ends[1], got, sizeof got), "abfilec");
    CHECK_INT(released_count(&f, &owner), 2);
    close(file);
    end(&f);
}

static void a_full_socket_means_later(void)
{
    static const int ERRORS[] = {EAGAIN, EWOULDBLOCK};
    fixture f;
    char got[64];
    int owner;
    const int file = temp_file("file", 4);
    begin(&f, false);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        fault_fail(FAULT_SEND, 0, 1, ERRORS[i]);
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, "x", 1), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), FW_RETRY);
        CHECK_INT(f.q.bytes, 1);
        CHECK_BYTES(got, carry(&f, got, sizeof got), "x");
        fault_fail(FAULT_SENDFILE, 0, 1, ERRORS[i]);
        CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), FW_RETRY);
        CHECK_INT(f.q.bytes, 4);
        CHECK_BYTES(got, carry(&f, got, sizeof got), "file");
    }
    CHECK_INT(released_count(&f, &owner), 2);
    close(file);
    end(&f);
}

static void a_broken_socket_is_an_error_and_keeps_the_queue(void)
{
    static const int ERRORS[] = {EPIPE, ECONNRESET, ENOTCONN, ETIMEDOUT, ENOBUFS, ENOMEM};
    fixture f;
    int owner;
    const int file = temp_file("file", 4);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        begin(&f, false);
        for (int call = FAULT_SEND; call <= FAULT_SENDFILE; call++)
            fault_fail((enum fault)call, 0, 1, ERRORS[i]);
        CHECK_INT(fw_outq_ref(&f.q, &f.cache, "x", 1, &owner), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -ERRORS[i]);
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, "y", 1), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -ERRORS[i]);
        CHECK_INT(released_count(&f, &owner), 0);
        fw_outq_clear(&f.q, &f.cache);
        CHECK_INT(released_count(&f, &owner), 1);
        CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -ERRORS[i]);
        end(&f);
    }
    close(file);
}

static void a_peer_that_has_gone_raises_no_signal(void)
{
    fixture f;
    begin(&f, false);
    signal(SIGPIPE, SIG_DFL);
    close(f.ends[1]);
    f.ends[1] = -1;
    CHECK_INT(fw_outq_copy(&f.q, &f.cache, "x", 1), FW_OK);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -EPIPE);
    CHECK_INT(fw_outq_ref(&f.q, &f.cache, "y", 1, NULL), FW_OK);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -EPIPE);
    end(&f);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void a_file_that_sendfile_refuses_is_read(void)
{
    static const int ERRORS[] = {EINVAL, ENOSYS, ENOTSUP};
    static char bytes[3 * FW_CHUNK + 5], got[sizeof bytes + 64];
    fixture f;
    int owner;
    pattern(bytes, sizeof bytes);
    const int file = temp_file(bytes, sizeof bytes);
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        begin(&f, true);
        fault_fail(FAULT_SENDFILE, 0, FOR_EVER, ERRORS[i]);
        fault_short(FAULT_PREAD, 0, 3, 7);
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, "<", 1), FW_OK);
        CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 1, sizeof bytes - 1, &owner), FW_OK);
        CHECK_INT(fw_outq_copy(&f.q, &f.cache, ">", 1), FW_OK);
        CHECK_INT(carry(&f, got, sizeof got), sizeof bytes + 1);
        CHECK(got[0] == '<' && got[sizeof bytes] == '>' && memcmp(got + 1, bytes + 1, sizeof bytes - 1) == 0);
        CHECK_INT(released_count(&f, &owner), 1);
        end(&f);
    }
    close(file);
}

static void reading_a_file_may_be_interrupted_or_fail(void)
{
    fixture f;
    char got[16];
    int owner;
    const int file = temp_file("file", 4);
    begin(&f, false);
    fault_fail(FAULT_SENDFILE, 0, FOR_EVER, EINVAL);
    fault_fail(FAULT_PREAD, 0, 2, EINTR);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
    CHECK_BYTES(got, carry(&f, got, sizeof got), "file");
    fault_fail(FAULT_PREAD, 0, 1, EIO);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -EIO);
    fw_outq_clear(&f.q, &f.cache);
    fw_chunk_cache_clear(&f.cache);
    fault_fail(FAULT_MEMORY, 1, 1, ENOMEM); /* the file's piece, then the chunk it is read into */
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 4, &owner), FW_OK);
    CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -ENOMEM);
    CHECK_INT(released_count(&f, &owner), 2);
    close(file);
    end(&f);
}

static void a_file_shorter_than_promised_is_an_error(void)
{
    fixture f;
    int owner;
    const int file = temp_file("file", 4);
    for (int by_reading = 0; by_reading < 2; by_reading++) {
        begin(&f, false);
        if (by_reading)
            fault_fail(FAULT_SENDFILE, 0, FOR_EVER, EINVAL);
        CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 5, &owner), FW_OK);
        CHECK_INT(fw_outq_flush(&f.q, &f.cache, f.ends[0]), -EIO);
        fw_outq_clear(&f.q, &f.cache);
        CHECK_INT(released_count(&f, &owner), 1);
        end(&f);
        faults_clear();
    }
    close(file);
}

static void an_empty_file_sends_nothing(void)
{
    fixture f;
    char got[16];
    int owner;
    const int file = temp_file("", 0);
    begin(&f, false);
    CHECK_INT(fw_outq_file(&f.q, &f.cache, file, 0, 0, &owner), FW_OK);
    CHECK_INT(carry(&f, got, sizeof got), 0);
    CHECK_INT(released_count(&f, &owner), 1);
    close(file);
    end(&f);
}

/* Random pieces, short and interrupted writes: the bytes come in order, the count is right, owners come back. */
static void random_queues_arrive_in_order(void)
{
    static char source[100000], got[400000], expected[400000];
    pattern(source, sizeof source);
    const int file = temp_file(source, sizeof source);
    uint32_t seed = 11;
    for (int round = 0; round < 60; round++) {
        fixture f;
        int owner, owned = 0;
        size_t want = 0;
        begin(&f, true);
        fault_short(FAULT_SEND, 0, dice(&seed) % 50, 1 + dice(&seed) % 3000);
        fault_short(FAULT_SENDMSG, 0, dice(&seed) % 50, 1 + dice(&seed) % 3000);
        fault_fail(FAULT_SENDFILE, dice(&seed) % 3, dice(&seed) % 3, round % 2 != 0 ? EINVAL : EINTR);
        for (uint32_t pieces = dice(&seed) % 12; pieces > 0; pieces--) {
            const size_t at = dice(&seed) % 50000, n = dice(&seed) % 25000;
            switch (dice(&seed) % 4) {
            case 0: CHECK_INT(fw_outq_copy(&f.q, &f.cache, source + at, n), FW_OK); break;
            case 1: CHECK_INT(fw_outq_copy(&f.q, &f.cache, source + at, n % 50), FW_OK); break;
            case 2:
                CHECK_INT(fw_outq_ref(&f.q, &f.cache, source + at, n, &owner), FW_OK);
                owned++;
                break;
            default:
                CHECK_INT(fw_outq_file(&f.q, &f.cache, file, (off_t)at, n, &owner), FW_OK);
                owned++;
            }
            const size_t added = f.q.bytes - want;
            memcpy(expected + want, source + at, added);
            want += added;
        }
        CHECK_INT(carry(&f, got, sizeof got), want);
        CHECK(memcmp(got, expected, want) == 0);
        CHECK_INT(released_count(&f, &owner), owned);
        end(&f);
    }
    close(file);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(small_copies_share_a_chunk_and_one_send),
        T(an_empty_chunk_is_used_again),
        T(the_cache_keeps_a_bounded_number_of_chunks),
        T(a_copy_larger_than_a_chunk_is_whole),
        T(order_is_kept_over_copies_references_and_files),
        T(more_pieces_than_one_writev_takes),
        T(what_is_reserved_and_not_used_is_not_sent),
        T(a_rollback_drops_what_came_after_the_mark),
        T(clearing_gives_every_owner_back),
        T(no_memory_queues_nothing),
        T(one_byte_at_a_time_arrives_whole),
        T(an_interrupted_send_is_repeated),
        T(a_full_socket_means_later),
        T(a_broken_socket_is_an_error_and_keeps_the_queue),
        T(a_peer_that_has_gone_raises_no_signal),
        T(a_file_that_sendfile_refuses_is_read),
        T(reading_a_file_may_be_interrupted_or_fail),
        T(a_file_shorter_than_promised_is_an_error),
        T(an_empty_file_sends_nothing),
        T(random_queues_arrive_in_order),
    };
    return RUN_TESTS(TESTS);
}
