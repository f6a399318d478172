/* test_statics.c - files that lie below a folder: who opens them in which way, and who waits for a disk. */
#include "io/statics.h"
#include "faults.h"
#include "harness.h"
#include "http/ranges.h"
#include "threads_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define LARGE 700000

static char place[64], got[1 << 20], large[LARGE];
static fw_static folder = {.prefix = "/s", .prefix_len = 2, .folder = -1};
static const fw_media_type TYPES[] = {{".bin", "a/b", true}, {".css", "text/css", false}};
static const fw_statics STATICS = {.list = &folder, .n = 1, .types = TYPES, .ntypes = COUNT(TYPES), .index = "index.html"};

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void make_place(void)
{
    char path[128];
    snprintf(place, sizeof place, "/tmp/fw-static-XXXXXX");
    CHECK(mkdtemp(place) != NULL);
    snprintf(path, sizeof path, "%s/d", place);
    CHECK(mkdir(path, 0700) == 0);
    write_file("a.css", "small", 5);
    write_file("d/index.html", "index", 5);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 % 251);
    write_file("large.bin", large, LARGE);
    snprintf(path, sizeof path, "%s/link", place);
    CHECK(symlink("a.css", path) == 0);
    snprintf(path, sizeof path, "%s/out", place);
    CHECK(symlink("/etc/passwd", path) == 0);
    snprintf(path, sizeof path, "%s/way", place);
    CHECK(symlink("d", path) == 0);
    snprintf(path, sizeof path, "%s/fifo", place);
    CHECK(mkfifo(path, 0600) == 0);
}

static void remove_place(void)
{
    static const char *const NAMES[] = {"a.css", "d/index.html", "d", "large.bin", "link", "out", "way", "fifo", ""};
    char path[128];
    for (size_t i = 0; i < COUNT(NAMES); i++) {
        snprintf(path, sizeof path, "%s/%s", place, NAMES[i]);
        CHECK(remove(path) == 0);
    }
}

static fw_config served(enum fw_beneath how)
{
    fw_config cfg = defaults();
    folder.folder = fw_beneath_folder(place);
    CHECK(folder.folder >= 0);
    folder.how = how;
    cfg.statics = &STATICS;
    return cfg;
}

static void end(void)
{
    close(folder.folder);
    folder.folder = -1;
    faults_clear();
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int opened(enum fw_beneath how, const char *name)
{
    fw_file_look look;
    const int fd = fw_beneath_open(folder.folder, how, name, false, &look);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? FW_OK : fd;
}

static void every_way_finds_what_is_there_and_nothing_else(void)
{
    make_place();
    served(FW_BENEATH_WALK);
    const enum fw_beneath best = fw_beneath_how(folder.folder);
    const enum fw_beneath ways[] = {FW_BENEATH_WALK, best};
    for (size_t i = 0; i < COUNT(ways); i++) {
        const bool walks = ways[i] == FW_BENEATH_WALK;
        trying("way %d", (int)ways[i]);
        CHECK_INT(opened(ways[i], "a.css"), FW_OK);
        CHECK_INT(opened(ways[i], "d/index.html"), FW_OK);
        CHECK_INT(opened(ways[i], "d"), -EISDIR);
        CHECK_INT(opened(ways[i], "nothing"), -ENOENT);
        CHECK_INT(opened(ways[i], "a.css/x"), -ENOTDIR);
        CHECK_INT(opened(ways[i], "fifo"), -ENOENT);
        CHECK(opened(ways[i], "out") < 0);
        CHECK_INT(opened(ways[i], "link"), walks ? -ELOOP : FW_OK);
        CHECK_INT(opened(ways[i], "way/index.html"), walks ? -ENOTDIR : FW_OK);
    }
    end();
    remove_place();
}

static void a_file_is_seen_to_have_changed(void)
{
    fw_file_look look;
    char byte;
    make_place();
    served(FW_BENEATH_WALK);
    const int fd = fw_beneath_open(folder.folder, FW_BENEATH_WALK, "a.css", false, &look);
    CHECK(fd >= 0 && look.size == 5);
    CHECK(fw_beneath_unchanged(fd, &look));
    CHECK_INT(fw_beneath_read(fd, &byte, 1, 4, false), 1);
    CHECK_INT(fw_beneath_read(fd, &byte, 1, 5, false), 0);
    write_file("a.css", "more of it", 10);
    CHECK(!fw_beneath_unchanged(fd, &look));
    close(fd);
    end();
    remove_place();
}

/* ---- over a connection ------------------------------------------------------------------------------------------- */

static const char *reply(loop_fixture *s, int client, const char *request)
{
    SAY(client, request);
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 1, NULL);
    const char *end_of_head = strstr(got, "\r\n\r\n");
    CHECK(n != 0 && end_of_head != NULL);
    return end_of_head + 4;
}

static void files_are_served_in_every_way(void)
{
    make_place();
    for (int how = FW_BENEATH_CACHED; how <= FW_BENEATH_WALK; how++) {
        const fw_config cfg = served((enum fw_beneath)how);
        loop_fixture s;
        loop_fixture_open(&s, &cfg);
        const int client = loop_fixture_client(&s);
        trying("way %d", how);
        CHECK(strcmp(reply(&s, client, GET("/s/a.css")), "small") == 0);
        CHECK(memcmp(reply(&s, client, GET("/s/large.bin")), large, LARGE) == 0);
        CHECK(strcmp(reply(&s, client, GET("/s/d/")), "index") == 0);
        reply(&s, client, GET("/s/d"));
        CHECK(strstr(got, "\r\nLocation: /s/d/\r\n") != NULL);
        CHECK(strcmp(reply(&s, client, GET("/s/nothing")), "not found\n") == 0);
        CHECK_INT(s.requests, 0);
        close(client);
        loop_fixture_close(&s);
        end();
    }
    remove_place();
}

static void a_system_at_its_limits_is_no_missing_file(void)
{
    make_place();
    const fw_config cfg = served(FW_BENEATH_CACHED);
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_client(&s);
    reply(&s, client, GET("/s/a.css"));
    fault_fail(FAULT_PREAD, 0, FOR_EVER, EIO); /* a large file is read before it is sent only where it is not in memory */
    CHECK(memcmp(reply(&s, client, GET("/s/large.bin")), large, LARGE) == 0);
    faults_clear();
    close(client);
    loop_fixture_close(&s);
    end();
    remove_place();
}

/* With every allocation failing in turn, a connection is answered or closed, and nothing leaks. */
static void without_memory_the_connection_ends(void)
{
    static const char *const REQUESTS[] = {GET("/s/a.css"), GET("/s/large.bin"), GET("/s/d"),
                                           "GET /s/large.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9,100-99999\r\n\r\n"};
    make_place();
    for (int how = FW_BENEATH_CACHED; how <= FW_BENEATH_WALK; how += 2) {
        for (size_t r = 0; r < COUNT(REQUESTS); r++) {
            for (unsigned n = 0; n < 12; n++) {
                const fw_config cfg = served((enum fw_beneath)how);
                loop_fixture s;
                bool ended = false;
                trying("way %d, request %zu, allocation %u", how, r, n);
                loop_fixture_open(&s, &cfg);
                const int client = loop_fixture_client(&s);
                loop_fixture_run(&s);
                SAY(client, REQUESTS[r]);
                fault_fail(FAULT_MEMORY, n, 1, ENOMEM);
                const size_t heard = loop_fixture_hear(&s, client, got, sizeof got, 1, &ended);
                CHECK(ended || heard != 0);
                close(client);
                loop_fixture_close(&s);
                end();
            }
        }
    }
    remove_place();
}

/* ---- with threads: the disk is held ------------------------------------------------------------------------------ */

static atomic_bool held;
static atomic_uint stands;

static void stand(void *data)
{
    (void)data;
    atomic_fetch_add(&stands, 1);
    while (atomic_load(&held))
        sched_yield();
}

static void hold_disk(void)
{
    atomic_store(&held, true);
    atomic_store(&stands, 0);
    fault_before(FAULT_OPENAT, stand, NULL);
}

static bool none_is_there(const threads_fixture *m)
{
    return m->loop->conns.stats.connections == 0;
}

static void a_held_disk_holds_its_own_connection_alone(void)
{
    make_place();
    const fw_config cfg = served(FW_BENEATH_WALK);
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    hold_disk();
    const int client = threads_fixture_client(&m), other = threads_fixture_client(&m);
    SAY(client, GET("/s/a.css"));
    while (atomic_load(&stands) == 0)
        sched_yield();
    for (int i = 0; i < 20; i++) {
        ask(other, "/who");
        CHECK_INT(answered(other, NULL, 0), 200);
    }
    atomic_store(&held, false);
    CHECK_INT(answered(client, NULL, 0), 200);
    for (int i = 0; i < 10; i++) {
        SAY(client, GET("/s/large.bin"));
        CHECK_INT(answered(client, NULL, 0), 200);
    }
    close(client);
    close(other);
    threads_fixture_close(&m);
    end();
    remove_place();
}

static void a_client_may_leave_while_its_file_is_opened(void)
{
    make_place();
    const fw_config cfg = served(FW_BENEATH_WALK);
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    const int client = threads_fixture_client(&m);
    SAY(client, GET("/s/a.css"));
    while (atomic_load(&stands) == 0)
        sched_yield();
    const struct linger reset = {1, 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(client);
    AWAIT(&m, none_is_there);
    atomic_store(&held, false);
    threads_fixture_close(&m);
    end();
    remove_place();
}

static void a_stop_waits_for_no_disk(void)
{
    make_place();
    const fw_config cfg = served(FW_BENEATH_WALK);
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    hold_disk();
    const int clients[] = {threads_fixture_client(&m), threads_fixture_client(&m), threads_fixture_client(&m)};
    for (size_t i = 0; i < COUNT(clients); i++)
        SAY(clients[i], GET("/s/a.css"));
    while (atomic_load(&stands) < 2)
        sched_yield();
    atomic_store(&held, false);
    threads_fixture_close(&m);
    for (size_t i = 0; i < COUNT(clients); i++)
        close(clients[i]);
    end();
    remove_place();
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

static void ranges_lie_in_the_file(void)
{
    static const char *const ASKED[] = {"bytes=0-0", "bytes=-1", "bytes=5-", "bytes=0-99999", "bytes=-0", "bytes=1-,-1",
                                        "bytes=18446744073709551615-", "bytes=0-18446744073709551616", "bytes=,,1-2,,"};
    for (size_t i = 0; i < COUNT(ASKED); i++) {
        for (uint64_t size = 0; size < 12; size++) {
            fw_ranges r;
            trying("%s of %llu", ASKED[i], (unsigned long long)size);
            const enum fw_ranges_verdict v = fw_ranges_read(&r, (fw_slice){ASKED[i], strlen(ASKED[i])}, size);
            CHECK((v == FW_RANGES_SOME) == (r.n != 0) || v == FW_RANGES_NONE);
            for (unsigned k = 0; v == FW_RANGES_SOME && k < r.n; k++)
                CHECK(r.list[k].n != 0 && r.list[k].first < size && r.list[k].n <= size - r.list[k].first);
        }
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(every_way_finds_what_is_there_and_nothing_else),
        T(a_file_is_seen_to_have_changed),
        T(files_are_served_in_every_way),
        T(a_system_at_its_limits_is_no_missing_file),
        T(without_memory_the_connection_ends),
        T(a_held_disk_holds_its_own_connection_alone),
        T(a_client_may_leave_while_its_file_is_opened),
        T(a_stop_waits_for_no_disk),
        T(ranges_lie_in_the_file),
    };
    return RUN_TESTS(TESTS);
}
