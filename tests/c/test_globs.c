/* test_globs.c - patterns of paths. */
#include "harness.h"
#include "http/globs.h"

/* In a block that ends where the path ends, so that reading past it is seen. */
static bool matches(const char *glob, const char *path)
{
    const fw_glob one = {.at = glob, .len = (uint32_t)strlen(glob), .value = 1};
    const fw_globs g = {.list = &one, .n = 1};
    const size_t n = strlen(path);
    char *exact = malloc(n != 0 ? n : 1);
    CHECK(exact != NULL);
    memcpy(exact, path, n);
    const bool found = fw_globs_find(&g, exact, n) != NULL;
    free(exact);
    return found;
}

static const struct {
    const char *glob, *path;
    bool matches;
} CASES[] = {
    {"/a", "/a", true},
    {"/a", "/a/", false},
    {"/a", "/ab", false},
    {"/a", "/", false},
    {"/", "", true}, /* http://host */
    {"*", "", true},
    {"/a/*", "/a/", true},
    {"/a/*", "/a/b/c", true}, /* slashes, too */
    {"/a/*", "/a", false},
    {"*/export", "/a/b/export", true},
    {"*/export", "/a/b/exports", false},
    {"/*/b/*/d", "/a/b/b/c/d", true},
    {"/*/b/*/d", "/a/c/b/d", false},
    {"/**", "/x", true},
    {"/a**b", "/ab", true},
    {"/?", "/x", true},
    {"/?", "/", false},
    {"/?", "/xy", false},
    {"/[ab]", "/a", true},
    {"/[ab]", "/c", false},
    {"/[a-c]x", "/bx", true},
    {"/[a-c]x", "/dx", false},
    {"/[!a-c]x", "/dx", true},
    {"/[!a-c]x", "/ax", false},
    {"/[]a]", "/]", true},
    {"/[!]a]", "/]", false},
    {"/[!]a]", "/b", true},
    {"/[a-]", "/-", true},
    {"/[a", "/[a", true}, /* no set */
    {"/[a", "/a", false},
    {"/[!]", "/[!]", true},
    {"/[]", "/[]", true},
    {"/*[0-9]", "/a/7", true},
    {"/*[0-9]", "/7/a", false},
    {"/reports/*", "/%72eports/1", true}, /* decoded */
    {"/a/b", "/a%2Fb", true},
    {"/a b", "/a%20b", true},
    {"/a%", "/a%", true}, /* nothing to decode */
    {"/a%4", "/a%4", true},
    {"/a%zz", "/a%zz", true},
    {"/a%%41", "/a%%41", false},
    {"/a%A", "/a%%41", true},
    {"/%41", "/%41", false},
    {"/\xc3\xbc*", "/%C3%BCber", true},
    {"/*a*a*a*a*a*a*a*a*b", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
};

static void patterns_match_as_those_of_shells_do(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        trying("%s and %s", CASES[i].glob, CASES[i].path);
        CHECK_INT(matches(CASES[i].glob, CASES[i].path), CASES[i].matches);
    }
}

static void a_long_path_takes_no_long_time(void)
{
    enum { LONG = 1 << 16 };
    static char path[LONG + 1];
    memset(path, 'a', LONG);
    CHECK(!matches("*a*a*a*a*a*a*a*a*a*a*a*a*b", path)); /* not in the age of the universe, if it went back to each star */
}

static void the_first_that_matches_counts(void)
{
    const fw_glob list[] = {{"/a/x", 4, 1}, {"/a/*", 4, 2}, {"/a/y", 4, 3}};
    const fw_globs g = {.list = list, .n = 3};
    CHECK_INT(fw_globs_find(&g, "/a/x", 4)->value, 1);
    CHECK_INT(fw_globs_find(&g, "/a/y", 4)->value, 2);
    CHECK(fw_globs_find(&g, "/b", 2) == NULL);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(patterns_match_as_those_of_shells_do),
        T(a_long_path_takes_no_long_time),
        T(the_first_that_matches_counts),
    };
    return RUN_TESTS(TESTS);
}
