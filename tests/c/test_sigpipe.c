/* test_sigpipe.c - SIGPIPE at its default: what a write or sendfile raises is taken, what was there stays. */
#include "observe/batch.h"
#include "harness.h"
#include "io/outq.h"
#include "system/sigpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static bool held_back(void)
{
    sigset_t now;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
    return sigismember(&now, SIGPIPE);
}

static bool pends(void)
{
    sigset_t now;
    CHECK(sigpending(&now) == 0);
    return sigismember(&now, SIGPIPE);
}

/* A pipe that nobody reads. */
static int dead_pipe(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    return ends[1];
}

static void a_write_without_a_reader_raises_nothing(void)
{
    fw_sigpipe s;
    const int fd = dead_pipe();
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++) {
        fw_sigpipe_hold(&s);
        CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
        fw_sigpipe_drop(&s, true);
        CHECK_INT(errno, EPIPE);
        CHECK(!held_back() && !pends());
    }
    close(fd);
}

static void nothing_is_taken_that_did_not_come(void)
{
    fw_sigpipe s;
    signal(SIGPIPE, SIG_DFL);
    fw_sigpipe_hold(&s);
    CHECK(held_back());
    fw_sigpipe_drop(&s, true);
    CHECK(!held_back());
}

/* As in a thread of the application that holds it back itself: its own is left to it. */
static void one_that_was_held_back_before_stays(void)
{
    fw_sigpipe outer, inner;
    const int fd = dead_pipe();
    signal(SIGPIPE, SIG_DFL);
    fw_sigpipe_hold(&outer);
    raise(SIGPIPE);
    fw_sigpipe_hold(&inner);
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    fw_sigpipe_drop(&inner, true);
    CHECK(held_back() && pends());
    fw_sigpipe_drop(&outer, true);
    CHECK(!held_back() && !pends());
    close(fd);
}

static void a_file_goes_to_a_peer_that_has_gone(void)
{
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    int owner, ends[2];
    pair_open(ends, false);
    signal(SIGPIPE, SIG_DFL);
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    CHECK_INT(fw_outq_file(&q, &cache, file, 0, 4096, &owner), FW_OK);
    close(file);
    close(ends[1]);
    CHECK_INT(fw_outq_flush(&q, &cache, ends[0]), -EPIPE);
    CHECK(!held_back() && !pends());
    fw_outq_clear(&q, &cache);
    CHECK(fw_chunk_cache_to_release(&cache) == &owner);
    fw_chunk_cache_clear(&cache);
    close(ends[0]);
}

static void a_batch_of_lines_goes_to_a_pipe_that_nobody_reads(void)
{
    fw_batch b;
    char *end;
    const int fd = dead_pipe();
    signal(SIGPIPE, SIG_DFL);
    CHECK_INT(fw_batch_init(&b, fd), FW_OK);
    char *to = fw_batch_begin(&b, &end);
    to[0] = '\n';
    fw_batch_end(&b, to + 1);
    fw_batch_flush(&b);
    CHECK_INT(b.lost, 1);
    CHECK_INT(b.error, EPIPE);
    CHECK(!held_back() && !pends());
    fw_batch_clear(&b);
    close(fd);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_write_without_a_reader_raises_nothing),
        T(nothing_is_taken_that_did_not_come),
        T(one_that_was_held_back_before_stays),
        T(a_file_goes_to_a_peer_that_has_gone),
        T(a_batch_of_lines_goes_to_a_pipe_that_nobody_reads),
    };
    return RUN_TESTS(TESTS);
}
