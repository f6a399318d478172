/* test_batch.c - whole lines in each write, and nothing but lines lost when the system refuses. */
#include "observe/batch.h"
#include "faults.h"
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char got[1 << 20];

static int temporary(void)
{
    char path[] = "/tmp/fastwsgi-batch-XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

static void add(fw_batch *b, const char *line)
{
    char *end, *to = fw_batch_begin(b, &end);
    const size_t n = strlen(line);
    if ((size_t)(end - to) < n) {
        fw_batch_end(b, NULL);
        return;
    }
    memcpy(to, line, n);
    fw_batch_end(b, to + n);
}

static size_t contents(int fd)
{
    const ssize_t n = pread(fd, got, sizeof got, 0);
    CHECK(n >= 0);
    return (size_t)n;
}

static void lines_are_written_together(void)
{
    fw_batch b;
    const int fd = temporary();
    CHECK_INT(fw_batch_init(&b, fd), FW_OK);
    faults_clear();
    fw_batch_flush(&b);
    CHECK_INT(fault_calls(FAULT_WRITE), 0);
    add(&b, "one\n");
    add(&b, "two\n");
    CHECK_INT(fw_batch_len(&b), 8);
    fw_batch_flush(&b);
    CHECK_INT(fault_calls(FAULT_WRITE), 1);
    CHECK_INT(fw_batch_len(&b), 0);
    add(&b, "three\n");
    fw_batch_flush(&b);
    CHECK_BYTES(got, contents(fd), "one\ntwo\nthree\n");
    fw_batch_clear(&b);
    close(fd);
}

static void a_short_write_and_an_interruption_are_gone_on_with(void)
{
    fw_batch b;
    const int fd = temporary();
    CHECK_INT(fw_batch_init(&b, fd), FW_OK);
    faults_clear();
    fault_short(FAULT_WRITE, 0, 1, 2);
    add(&b, "whole\n");
    fw_batch_flush(&b);
    fault_fail(FAULT_WRITE, 0, 2, EINTR);
    add(&b, "too\n");
    fw_batch_flush(&b);
    faults_clear();
    CHECK_BYTES(got, contents(fd), "whole\ntoo\n");
    CHECK_INT(b.lost, 0);
    fw_batch_clear(&b);
    close(fd);
}

static void what_the_system_refuses_is_lost_and_counted(void)
{
    static const int ERRORS[] = {ENOSPC, EAGAIN, EPIPE, EIO};
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        fw_batch b;
        const int fd = temporary();
        trying("%s", strerror(ERRORS[i]));
        CHECK_INT(fw_batch_init(&b, fd), FW_OK);
        faults_clear();
        fault_fail(FAULT_WRITE, 0, FOR_EVER, ERRORS[i]);
        add(&b, "one\n");
        add(&b, "two\n");
        fw_batch_flush(&b);
        faults_clear();
        CHECK_INT(b.lost, 2);
        CHECK_INT(b.error, ERRORS[i]);
        CHECK_INT(fw_batch_len(&b), 0);
        add(&b, "three\n");
        fw_batch_flush(&b);
        CHECK_BYTES(got, contents(fd), "three\n");
        fw_batch_clear(&b);
        close(fd);
    }
}

static void what_a_reader_does_not_take_is_kept_and_written_later(void)
{
    static char line[4000];
    fw_batch b;
    int ends[2];
    size_t n = 0;
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(fw_batch_init(&b, ends[1]), FW_OK);
    faults_clear();
    while (!atomic_load(&b.waits)) {
        add(&b, line);
        fw_batch_flush(&b);
        n++;
    }
    add(&b, "last\n");
    fw_batch_flush(&b);
    CHECK(fw_batch_len(&b) != 0);
    CHECK_INT(b.lost, 0);
    CHECK(read(ends[0], got, sizeof got) > 0);
    fw_batch_flush(&b);
    CHECK(!atomic_load(&b.waits));
    CHECK_INT(fw_batch_len(&b), 0);
    const ssize_t rest = read(ends[0], got, sizeof got);
    CHECK(rest > 5 && memcmp(got + rest - 5, "last\n", 5) == 0);
    while (!atomic_load(&b.waits)) {
        add(&b, line);
        fw_batch_flush(&b);
    }
    add(&b, "never\n");
    fw_batch_finish(&b, 1);
    CHECK_INT(b.lost, 2);
    CHECK_INT(b.error, ENOBUFS);
    CHECK_INT(fw_batch_len(&b), 0);
    fw_batch_clear(&b);
    close(ends[0]);
    close(ends[1]);
}

static void the_rest_of_a_torn_line_is_not_the_next_one(void)
{
    fw_batch b;
    const int fd = temporary();
    CHECK_INT(fw_batch_init(&b, fd), FW_OK);
    faults_clear();
    struct rlimit before, six = {0};
    getrlimit(RLIMIT_FSIZE, &before);
    six.rlim_cur = 6;
    six.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &six);
    add(&b, "one\n");
    add(&b, "second\n");
    add(&b, "third\n");
    fw_batch_flush(&b);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_INT(b.lost, 2);
    CHECK_INT(b.error, EFBIG);
    add(&b, "next\n");
    fw_batch_flush(&b);
    CHECK_BYTES(got, contents(fd), "one\nse\nnext\n");
    fw_batch_clear(&b);
    close(fd);
}

static void a_pipe_gets_whole_lines_of_which_nobody_else_writes_into_one(void)
{
    fw_batch b;
    int ends[2];
    char line[1001];
    CHECK(pipe(ends) == 0);
    memset(line, 'x', sizeof line);
    line[999] = '\n';
    line[1000] = '\0';
    CHECK_INT(fw_batch_init(&b, ends[1]), FW_OK);
    CHECK_INT(b.share, PIPE_BUF);
    faults_clear();
    for (int i = 0; i < 10; i++)
        add(&b, line);
    fw_batch_flush(&b);
    CHECK_INT(fault_calls(FAULT_WRITE), 3); /* 4, 4 and 2 lines */
    CHECK_INT(read(ends[0], got, sizeof got), 10000);
    fw_batch_clear(&b);
    close(ends[0]);
    close(ends[1]);
}

static void a_line_longer_than_that_goes_by_itself(void)
{
    fw_batch b;
    int ends[2];
    static char line[PIPE_BUF + 3];
    CHECK(pipe(ends) == 0);
    memset(line, 'x', sizeof line);
    line[sizeof line - 2] = '\n';
    line[sizeof line - 1] = '\0';
    CHECK_INT(fw_batch_init(&b, ends[1]), FW_OK);
    faults_clear();
    add(&b, "short\n");
    add(&b, line);
    add(&b, "short\n");
    fw_batch_flush(&b);
    CHECK_INT(fault_calls(FAULT_WRITE), 3);
    CHECK_INT(read(ends[0], got, sizeof got), 12 + (long long)strlen(line));
    fw_batch_clear(&b);
    close(ends[0]);
    close(ends[1]);
}

static void the_buffer_does_not_grow(void)
{
    fw_batch b;
    static char line[10001];
    const int fd = temporary();
    memset(line, 'x', sizeof line);
    line[9999] = '\n';
    line[10000] = '\0';
    CHECK_INT(fw_batch_init(&b, fd), FW_OK);
    for (int i = 0; i < 30; i++)
        add(&b, line);
    CHECK_INT(fw_batch_len(&b), FW_BATCH_MOST / 10000 * 10000);
    CHECK_INT(b.lost, 30 - FW_BATCH_MOST / 10000);
    CHECK_INT(b.error, ENOBUFS);
    fw_batch_flush(&b);
    CHECK_INT(contents(fd), FW_BATCH_MOST / 10000 * 10000);
    fw_batch_clear(&b);
    close(fd);
}

static void without_memory_there_is_none(void)
{
    fw_batch b;
    for (unsigned i = 0; i < 2; i++) {
        faults_clear();
        fault_fail(FAULT_MEMORY, i, 1, ENOMEM);
        CHECK_INT(fw_batch_init(&b, 1), -ENOMEM);
    }
    faults_clear();
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(lines_are_written_together),
        T(a_short_write_and_an_interruption_are_gone_on_with),
        T(what_the_system_refuses_is_lost_and_counted),
        T(what_a_reader_does_not_take_is_kept_and_written_later),
        T(the_rest_of_a_torn_line_is_not_the_next_one),
        T(a_pipe_gets_whole_lines_of_which_nobody_else_writes_into_one),
        T(a_line_longer_than_that_goes_by_itself),
        T(the_buffer_does_not_grow),
        T(without_memory_there_is_none),
    };
    return RUN_TESTS(TESTS);
}
