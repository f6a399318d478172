/* test_body.c - request bodies: memory, then a file; reading back; a system that fails. */
#include "http/body.h"
#include "faults.h"
#include "harness.h"
#include "spill.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK 1000

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.body_memory = MARK;
    return cfg;
}

static char source[100000];

static void fill(void)
{
    pattern(source, sizeof source);
    for (size_t i = 70; i < sizeof source; i += 71)
        source[i] = '\n';
}

/* Reads everything in bites of `bite` bytes and compares. */
static void check_whole(fw_body *b, size_t n, size_t bite)
{
    static char got[sizeof source];
    size_t have = 0;
    for (;;) {
        ssize_t r = fw_body_read(b, got + have, bite);
        CHECK(r >= 0 && (size_t)r <= bite);
        if (r == 0)
            break;
        have += (size_t)r;
        CHECK_INT(fw_body_left(b), n - have);
    }
    CHECK_INT(have, n);
    CHECK(memcmp(got, source, n) == 0);
    CHECK_INT(fw_body_read(b, got, 1), 0);
}

static void nothing_is_an_empty_body(void)
{
    fw_body b;
    char c;
    fw_body_open(&b);
    CHECK_INT(fw_body_left(&b), 0);
    CHECK_INT(fw_body_read(&b, &c, 1), 0);
    CHECK_INT(fw_body_line(&b, 10), 0);
    fw_body_close(&b);
    fw_body_close(&b);
}

static void a_borrowed_body_is_read_in_place(void)
{
    fw_body b;
    fill();
    fw_body_open(&b);
    fw_body_borrow(&b, source, 500);
    CHECK_INT(fault_calls(FAULT_MEMORY), 0);
    check_whole(&b, 500, 33);
    fw_body_close(&b);
}

static void a_body_grows_and_moves_to_a_file_at_the_mark(void)
{
    const fw_config cfg = config();
    static const size_t TOTALS[] = {1, MARK - 1, MARK, MARK + 1, 10 * MARK, 60000};
    static const size_t STEPS[] = {1, 7, 999, 1000, 1001, 60000};
    fill();
    for (size_t t = 0; t < COUNT(TOTALS); t++) {
        for (size_t s = 0; s < COUNT(STEPS); s++) {
            fw_body b;
            fw_body_open(&b);
            for (size_t at = 0; at < TOTALS[t];) {
                const size_t n = TOTALS[t] - at < STEPS[s] ? TOTALS[t] - at : STEPS[s];
                CHECK_INT(spill_put(&b, source + at, n, &cfg), FW_OK);
                at += n;
                CHECK_INT(b.len, at);
                CHECK((b.fd >= 0) == (at > MARK));
            }
            CHECK_INT(spill(&b, true, &cfg), FW_OK);
            CHECK(!fw_body_due(&b, true, &cfg) && b.stored == (b.fd >= 0 ? b.len : 0));
            check_whole(&b, TOTALS[t], STEPS[s]);
            fw_body_close(&b);
            CHECK(b.fd == -1 && b.own == NULL && b.len == 0);
        }
    }
}

static void an_expected_body_is_received_in_place(void)
{
    const fw_config cfg = config();
    fw_body b;
    size_t room;
    fill();
    fw_body_open(&b);
    CHECK(fw_body_room(&b, &room, &cfg) == NULL);
    CHECK_INT(fw_body_expect(&b, MARK, &cfg), FW_OK);
    for (size_t at = 0; at < MARK;) {
        char *to = fw_body_room(&b, &room, &cfg);
        CHECK(to != NULL && room >= MARK - at);
        const size_t n = at + 300 <= MARK ? 300 : MARK - at;
        memcpy(to, source + at, n);
        fw_body_grew(&b, n);
        at += n;
    }
    check_whole(&b, MARK, 100);
    fw_body_close(&b);
    CHECK_INT(fw_body_expect(&b, MARK + 1, &cfg), FW_OK);
    CHECK(b.own == NULL && fw_body_due(&b, false, &cfg)); /* for a look whether there can be a file */
    CHECK_INT(spill(&b, false, &cfg), FW_OK);
    CHECK(b.fd < 0 && !fw_body_due(&b, false, &cfg));
    CHECK(fw_body_room(&b, &room, &cfg) != NULL && room == fw_body_gather(&cfg));
    fw_body_close(&b);
}

static void a_mark_of_nothing_sends_every_body_to_a_file(void)
{
    fw_config cfg = config();
    cfg.body_memory = 0;
    fw_body b;
    fill();
    fw_body_open(&b);
    CHECK_INT(fw_body_expect(&b, 1, &cfg), FW_OK);
    CHECK_INT(spill_put(&b, source, 1, &cfg), FW_OK);
    CHECK(b.fd >= 0);
    check_whole(&b, 1, 10);
    fw_body_close(&b);
}

static void the_file_has_no_name_and_is_not_inherited(void)
{
    const fw_config cfg = config();
    fill();
    for (int fallback = 0; fallback < 2; fallback++) {
        fw_body b;
        struct stat st;
        if (fallback)
            fault_fail(FAULT_OPEN, 0, 1, EOPNOTSUPP); /* a file system without O_TMPFILE */
        fw_body_open(&b);
        CHECK_INT(spill_put(&b, source, MARK + 1, &cfg), FW_OK);
        CHECK_INT(fault_calls(FAULT_MKSTEMP), fallback);
        CHECK(fstat(b.fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 0777) == 0600);
        CHECK((fcntl(b.fd, F_GETFD) & FD_CLOEXEC) != 0);
        check_whole(&b, MARK + 1, 512);
        fw_body_close(&b);
    }
}

static void lines_are_found_in_memory_and_in_a_file(void)
{
    static const char TEXT[] = "one\ntwo\r\n\n\nlast";
    static const size_t LENGTHS[] = {4, 5, 1, 1, 4};
    for (int in_file = 0; in_file < 2; in_file++) {
        fw_config cfg = config();
        cfg.body_memory = in_file ? 0 : MARK;
        fw_body b;
        char line[32];
        fw_body_open(&b);
        CHECK_INT(spill_put(&b, TEXT, sizeof TEXT - 1, &cfg), FW_OK);
        CHECK_INT(fw_body_line(&b, 0), 0);
        CHECK_INT(fw_body_line(&b, 2), 2);
        for (size_t i = 0; i < COUNT(LENGTHS); i++) {
            CHECK_INT(fw_body_line(&b, SIZE_MAX), LENGTHS[i]);
            CHECK_INT(fw_body_read(&b, line, LENGTHS[i]), LENGTHS[i]);
        }
        CHECK_INT(fw_body_line(&b, SIZE_MAX), 0);
        fw_body_close(&b);
    }
}

static void a_line_longer_than_the_window_is_found(void)
{
    fw_config cfg = config();
    static char text[50000];
    memset(text, 'x', sizeof text);
    text[40000] = '\n';
    cfg.body_memory = 0;
    fw_body b;
    fw_body_open(&b);
    CHECK_INT(spill_put(&b, text, sizeof text, &cfg), FW_OK);
    CHECK_INT(fw_body_line(&b, SIZE_MAX), 40001);
    CHECK_INT(fw_body_line(&b, 40000), 40000);
    fw_body_close(&b);
}

/* ---- failures -------------------------------------------------------------------------------------------------- */

static void no_memory_is_told(void)
{
    const fw_config cfg = config();
    fw_body b;
    fw_body_open(&b);
    fault_fail(FAULT_MEMORY, 0, FOR_EVER, ENOMEM);
    CHECK_INT(fw_body_expect(&b, 10, &cfg), -ENOMEM);
    CHECK_INT(spill_put(&b, "x", 1, &cfg), -ENOMEM);
    CHECK_INT(b.len, 0);
    fw_body_close(&b);
}

static void growth_that_fails_keeps_what_is_there(void)
{
    fw_config cfg = config();
    cfg.body_memory = sizeof source;
    fw_body b;
    fill();
    fw_body_open(&b);
    CHECK_INT(spill_put(&b, source, 4000, &cfg), FW_OK);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(spill_put(&b, source + 4000, 4000, &cfg), -ENOMEM);
    check_whole(&b, 4000, 1000);
    fw_body_close(&b);
}

static void a_file_that_cannot_be_made_is_told(void)
{
    static const int ERRORS[] = {EMFILE, ENFILE, ENOSPC, EACCES, EROFS};
    const fw_config cfg = config();
    fill();
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        for (int declared = 0; declared < 2; declared++) {
            fw_body b;
            fw_body_open(&b);
            fault_fail(FAULT_OPEN, 0, 1, ERRORS[i]);
            fault_fail(FAULT_MKSTEMP, 0, 1, ERRORS[i]);
            if (declared) { /* before a byte of it is here */
                CHECK_INT(fw_body_expect(&b, MARK + 1, &cfg), FW_OK);
                CHECK_INT(spill(&b, false, &cfg), -ERRORS[i]);
            } else {
                CHECK_INT(spill_put(&b, source, MARK, &cfg), FW_OK);
                CHECK_INT(spill_put(&b, source + MARK, 1, &cfg), -ERRORS[i]);
            }
            CHECK(b.fd == -1 && b.job == NULL);
            fw_body_close(&b);
        }
    }
}

static void a_directory_that_is_missing_or_too_long_is_told(void)
{
    fw_config cfg = config();
    char deep[5000];
    fw_body b;
    fw_body_open(&b);
    cfg.temp_dir = "/nonexistent";
    cfg.body_memory = 0;
    CHECK_INT(spill_put(&b, "x", 1, &cfg), -ENOENT);
    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[sizeof deep - 1] = '\0';
    cfg.temp_dir = deep;
    CHECK_INT(spill_put(&b, "x", 1, &cfg), -ENAMETOOLONG);
    fw_body_close(&b);
}

static void a_full_disk_is_told(void)
{
    const fw_config cfg = config();
    fw_body b;
    fill();
    for (unsigned writes = 0; writes < 2; writes++) {
        fw_body_open(&b);
        fault_fail(FAULT_WRITE, writes, 1, ENOSPC);
        int rc = spill_put(&b, source, MARK + 1, &cfg);
        if (writes == 1) {
            CHECK_INT(rc, FW_OK);
            CHECK_INT(spill_put(&b, source, 10, &cfg), FW_OK);
            rc = spill(&b, true, &cfg);
        }
        CHECK_INT(rc, -ENOSPC);
        CHECK(b.fd == -1 && b.stored == writes * (MARK + 1));
        fw_body_close(&b);
    }
}

static void what_comes_in_drops_is_written_in_one_piece(void)
{
    fw_config cfg = config();
    fw_body b;
    fill();
    for (int large = 0; large < 2; large++) {
        cfg.body_memory = large ? 1 << 20 : MARK;
        const size_t gather = fw_body_gather(&cfg);
        fw_body_open(&b);
        CHECK_INT(fw_body_expect(&b, 1 << 30, &cfg), FW_OK);
        CHECK_INT(spill(&b, false, &cfg), FW_OK);
        for (size_t i = 0; i < 4 * gather; i++)
            CHECK_INT(spill_put(&b, source, 1, &cfg), FW_OK);
        CHECK(gather >= 32768 && gather <= cfg.body_memory + 32768);
        CHECK(fault_calls(FAULT_WRITE) <= 5);
        CHECK(b.cap <= gather);
        fw_body_close(&b);
        faults_clear();
    }
}

static void a_body_may_be_closed_while_its_file_is_lent(void)
{
    const fw_config cfg = config();
    fw_body b;
    fill();
    fw_body_open(&b);
    CHECK_INT(fw_body_append(&b, source, MARK + 1), FW_OK);
    CHECK(fw_body_due(&b, false, &cfg));
    fw_job *j = fw_body_lend(&b, &b, &cfg);
    CHECK(j != NULL && j->owner == &b && b.own == NULL && b.fd == -1);
    fw_body_close(&b);
    CHECK(j->owner == NULL && j->dropped && b.job == NULL);
    fw_job_run(j);
    CHECK_INT(j->rc, FW_OK);
    fw_job_close(j);
}

static void short_and_interrupted_calls_are_repeated(void)
{
    const fw_config cfg = config();
    fw_body b;
    fill();
    fw_body_open(&b);
    fault_short(FAULT_WRITE, 0, FOR_EVER, 3);
    CHECK_INT(spill_put(&b, source, MARK + 1, &cfg), FW_OK);
    fault_fail(FAULT_WRITE, 0, 5, EINTR);
    CHECK_INT(spill_put(&b, source + MARK + 1, 500, &cfg), FW_OK);
    CHECK_INT(spill(&b, true, &cfg), FW_OK);
    fault_short(FAULT_PREAD, 0, FOR_EVER, 5);
    check_whole(&b, MARK + 501, 100);
    b.pos = 0;
    CHECK_INT(fw_body_line(&b, SIZE_MAX), 71);
    fault_fail(FAULT_PREAD, 0, 5, EINTR);
    check_whole(&b, MARK + 501, 300);
    fw_body_close(&b);
}

static void a_file_that_cannot_be_read_back_is_told(void)
{
    const fw_config cfg = config();
    fw_body b;
    char got[8];
    fill();
    fw_body_open(&b);
    CHECK_INT(spill_put(&b, source, MARK + 1, &cfg), FW_OK);
    fault_fail(FAULT_PREAD, 0, 2, EIO);
    CHECK_INT(fw_body_read(&b, got, 8), -EIO);
    CHECK_INT(b.pos, 0);
    CHECK_INT(fw_body_line(&b, 8), -EIO);
    CHECK(ftruncate(b.fd, 4) == 0);
    CHECK_INT(fw_body_read(&b, got, 8), -EIO);
    CHECK_INT(fw_body_line(&b, 100), -EIO);
    fw_body_close(&b);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(nothing_is_an_empty_body),
        T(a_borrowed_body_is_read_in_place),
        T(a_body_grows_and_moves_to_a_file_at_the_mark),
        T(an_expected_body_is_received_in_place),
        T(a_mark_of_nothing_sends_every_body_to_a_file),
        T(the_file_has_no_name_and_is_not_inherited),
        T(lines_are_found_in_memory_and_in_a_file),
        T(a_line_longer_than_the_window_is_found),
        T(no_memory_is_told),
        T(growth_that_fails_keeps_what_is_there),
        T(a_file_that_cannot_be_made_is_told),
        T(a_directory_that_is_missing_or_too_long_is_told),
        T(a_full_disk_is_told),
        T(what_comes_in_drops_is_written_in_one_piece),
        T(a_body_may_be_closed_while_its_file_is_lent),
        T(short_and_interrupted_calls_are_repeated),
        T(a_file_that_cannot_be_read_back_is_told),
    };
    return RUN_TESTS(TESTS);
}
