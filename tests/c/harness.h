/* harness.h - what every unit test of the core stands on.
 *
 * A test is a function; main hands a table of them to run_tests.  Around each of them the blocks of memory and the
 * descriptors in use are counted, so that a test that forgets something fails by itself.  The first failed CHECK ends
 * the program: what follows would only confuse.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "fw.h"
#include "http/llhttp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test {
    const char *name;
    void (*run)(void);
} test;

#define T(function) {#function, function}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Runs the tests, or those whose names are on the command line.  Returns main's result. */
int run_tests(const test *tests, size_t n, int argc, char **argv);
#define RUN_TESTS(tests) run_tests(tests, COUNT(tests), argc, argv)

_Noreturn void fail_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            FAIL("not so: %s", #condition);                                                                            \
    } while (0)
#define CHECK_INT(found, expected)                                                                                     \
    do {                                                                                                               \
        const long long found_ = (long long)(found), expected_ = (long long)(expected);                                \
        if (found_ != expected_)                                                                                       \
            FAIL("%s is %lld, not %lld", #found, found_, expected_);                                                   \
    } while (0)
#define CHECK_BYTES(found, n, expected)                                                                                \
    check_bytes(__FILE__, __LINE__, #found, found, n, expected, strlen(expected))

void check_bytes(const char *file, int line, const char *what, const void *found, size_t n, const void *expected,
                 size_t m);

/* Says which case of a table or sweep is being tried, should it fail. */
void trying(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The functions of the installed httptools, proved. */
const fw_llhttp_api *parser(void);

/* The core's defaults. */
fw_config defaults(void);

/* Descriptors open in this process. */
int descriptors(void);

/* A connected pair of non-blocking stream sockets; their buffers are made small if `narrow`. */
void pair_open(int ends[2], bool narrow);

/* Sends all of it, or fails; never touched by injected faults. */
void say(int fd, const void *data, size_t n);
static inline void SAY(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* Receives what is there now, at most `room` bytes.  0: the end; -EAGAIN: nothing now; other -errno: broken. */
ssize_t hear(int fd, void *to, size_t room);

/* Fills the memory with letters that tell a displaced block from a right one. */
void pattern(char *to, size_t n);

/* The same numbers on every run. */
uint32_t dice(uint32_t *seed);

#endif
