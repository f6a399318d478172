/* test_file_path.c - which paths belong to a prefix, and which of them are names of files. */
#include "harness.h"
#include "http/file_path.h"

/* In a block that ends where the path ends, so that reading past it is seen. */
static char *exact(const char *text, size_t n)
{
    char *copy = malloc(n != 0 ? n : 1);
    CHECK(copy != NULL);
    memcpy(copy, text, n);
    return copy;
}

static ssize_t below(const char *path, const char *prefix)
{
    char *copy = exact(path, strlen(path));
    const ssize_t n = fw_file_path_below(copy, strlen(path), prefix, strlen(prefix));
    free(copy);
    return n;
}

static const struct {
    const char *path, *prefix;
    int taken;
} PREFIXES[] = {
    {"/static/a", "/static", 7}, {"/static", "/static", 7},     {"/static/", "/static", 7},
    {"/statics", "/static", -1}, {"/stati", "/static", -1},     {"", "/static", -1},
    {"/%73tatic/a", "/static", 9}, {"/static%2fa", "/static", 7}, {"/static%2", "/static", -1},
    {"/static%", "/static", -1}, {"/stat%zz", "/static", -1},   {"/a", "", 0},
    {"", "", 0},                 {"/a%2Fb/c", "/a/b", 6},       {"/static%2", "/static%2", -1},
};

static void a_path_belongs_to_a_prefix_however_it_is_spelled(void)
{
    for (size_t i = 0; i < COUNT(PREFIXES); i++) {
        trying("%s below %s", PREFIXES[i].path, PREFIXES[i].prefix);
        CHECK_INT(below(PREFIXES[i].path, PREFIXES[i].prefix), PREFIXES[i].taken);
    }
}

static const struct {
    const char *rest, *name; /* NULL: refused */
} NAMES[] = {
    {"", ""}, {"/", ""}, {"/a", "a"}, {"/a/b.c", "a/b.c"}, {"/a/", "a/"}, {"/%61%2Ecss", "a.css"}, {"/a..b", "a..b"},
    {"/\xc3\xbc", "\xc3\xbc"}, {"/a%20b", "a b"}, {"/a%25", "a%"}, {"/a;b", "a;b"}, {"/a..", "a.."},
    {"//", NULL}, {"//a", NULL}, {"/a//b", NULL}, {"/a//", NULL}, {"/.", NULL}, {"/..", NULL}, {"/./a", NULL},
    {"/a/../b", NULL}, {"/.git", NULL}, {"/a/.b", NULL}, {"/%2e", NULL}, {"/%2E%2e/a", NULL}, {"/..;/a", NULL},
    {"/a%2fb", NULL}, {"%2fa", NULL}, {"/a%5cb", NULL}, {"/a\\b", NULL}, {"/a%00", NULL}, {"/a%0a", NULL},
    {"/a%7f", NULL}, {"/a%", NULL}, {"/a%4", NULL}, {"/a%zz", NULL}, {"/%00", NULL},
};

static void a_name_has_one_spelling(void)
{
    char name[FW_FILE_PATH_MOST];
    for (size_t i = 0; i < COUNT(NAMES); i++) {
        trying("%s", NAMES[i].rest);
        const size_t n = strlen(NAMES[i].rest);
        char *copy = exact(NAMES[i].rest, n);
        const ssize_t len = fw_file_path_read(name, copy, n);
        free(copy);
        CHECK_INT(len, NAMES[i].name == NULL ? -1 : (ssize_t)strlen(NAMES[i].name));
        CHECK(len < 0 || strcmp(name, NAMES[i].name) == 0);
    }
}

static void long_names_are_refused_and_pass_no_bound(void)
{
    char rest[4096], *name = malloc(FW_FILE_PATH_MOST);
    CHECK(name != NULL);
    for (size_t segment = 1; segment < 300; segment++) {
        for (size_t n = 900; n < 1200; n += 7) {
            for (size_t i = 0; i < n; i++)
                rest[i] = i % (segment + 1) == 0 ? '/' : 'x';
            const ssize_t len = fw_file_path_read(name, rest, n);
            CHECK(len < FW_FILE_PATH_MOST);
            CHECK(segment <= FW_FILE_NAME_MOST || len < 0);
        }
    }
    memset(rest, 'x', sizeof rest);
    rest[0] = '/';
    CHECK_INT(fw_file_path_read(name, rest, FW_FILE_NAME_MOST + 1), FW_FILE_NAME_MOST);
    CHECK_INT(fw_file_path_read(name, rest, FW_FILE_NAME_MOST + 2), -1);
    free(name);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_path_belongs_to_a_prefix_however_it_is_spelled),
        T(a_name_has_one_spelling),
        T(long_names_are_refused_and_pass_no_bound),
    };
    return RUN_TESTS(TESTS);
}
