/* test_outq_file.c - a queued file is the queue's: whoever lent its descriptor may close it. */
#include "harness.h"
#include "io/outq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int file_of(const char *text)
{
    char name[] = "/tmp/test_outq_file.XXXXXX";
    const int fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0);
    CHECK(pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
    return fd;
}

/* The number that the next descriptor gets. */
static int next_number(void)
{
    const int fd = dup(0);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

static void its_bytes_are_sent_though_its_number_is_another_files(void)
{
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    char got[16];
    int owner, ends[2];
    pair_open(ends, false);
    const int lent = file_of("lent"), free_before = next_number();
    CHECK_INT(fw_outq_file(&q, &cache, lent, 0, 4, &owner), FW_OK);
    close(lent);
    const int secret = file_of("secret");
    CHECK_INT(secret, lent);
    CHECK_INT(fw_outq_flush(&q, &cache, ends[0]), FW_OK);
    CHECK_BYTES(got, hear(ends[1], got, sizeof got), "lent");
    CHECK(fw_chunk_cache_to_release(&cache) == &owner);
    CHECK_INT(next_number(), free_before);
    close(secret);
    fw_chunk_cache_clear(&cache);
    close(ends[0]);
    close(ends[1]);
}

static void its_descriptor_is_closed_when_it_is_dropped(void)
{
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    int owner;
    const int lent = file_of("lent"), free_before = next_number();
    for (int way = 0; way < 3; way++) {
        const fw_outq_mark mark = fw_outq_here(&q);
        CHECK_INT(fw_outq_file(&q, &cache, lent, 0, 4, way == 0 ? NULL : &owner), FW_OK);
        CHECK(next_number() != free_before);
        if (way == 1)
            fw_outq_rollback(&q, &cache, mark);
        else
            fw_outq_clear(&q, &cache);
        CHECK(fw_chunk_cache_to_release(&cache) == (way == 0 ? NULL : &owner));
        CHECK_INT(next_number(), free_before);
    }
    close(lent);
    fw_chunk_cache_clear(&cache);
}

static void without_a_descriptor_to_spare_nothing_is_queued(void)
{
    fw_outq q = {0};
    fw_chunk_cache cache = {0};
    int owner;
    struct rlimit before, none;
    const int lent = file_of("lent");
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = (rlim_t)next_number();
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_INT(fw_outq_file(&q, &cache, lent, 0, 4, &owner), -EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(q.head == NULL && q.bytes == 0 && fw_chunk_cache_to_release(&cache) == NULL);
    close(lent);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(its_bytes_are_sent_though_its_number_is_another_files),
        T(its_descriptor_is_closed_when_it_is_dropped),
        T(without_a_descriptor_to_spare_nothing_is_queued),
    };
    return RUN_TESTS(TESTS);
}
