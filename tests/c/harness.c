/* harness.c - running tests, failing, and the sockets and parser that they share. */
#include "harness.h"
#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *current = "";
static char attempt[256];

_Noreturn void fail_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: %s%s", file, line, current, attempt, attempt[0] != '\0' ? ": " : "");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(stderr);
    _exit(1);
}

void trying(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(attempt, sizeof attempt, format, args);
    va_end(args);
}

static void print_bytes(const char *label, const void *bytes, size_t n)
{
    const unsigned char *s = bytes;
    fprintf(stderr, "%s \"", label);
    for (size_t i = 0; i < n && i < 400; i++) {
        if (s[i] == '\r')
            fputs("\\r", stderr);
        else if (s[i] == '\n')
            fputs("\\n", stderr);
        else if (s[i] < ' ' || s[i] > '~')
            fprintf(stderr, "\\x%02x", s[i]);
        else
            fputc(s[i], stderr);
    }
    fprintf(stderr, "\" (%zu bytes)\n", n);
}

void check_bytes(const char *file, int line, const char *what, const void *found, size_t n, const void *expected,
                 size_t m)
{
    if (n == m && (n == 0 || memcmp(found, expected, n) == 0))
        return;
    print_bytes("found   ", found, n);
    print_bytes("expected", expected, m);
    fail_at(file, line, "%s differs", what);
}

int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 512; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void run_test(const test *t)
{
    current = t->name;
    attempt[0] = '\0';
    faults_clear();
    clock_reset();
    const long blocks = blocks_in_use();
    const int open_before = descriptors();
    t->run();
    attempt[0] = '\0';
    if (blocks_in_use() != blocks)
        FAIL("%ld blocks of memory are left behind", blocks_in_use() - blocks);
    if (descriptors() != open_before)
        FAIL("%d descriptors are left behind", descriptors() - open_before);
    printf("ok %s\n", t->name);
    fflush(stdout);
}

int run_tests(const test *tests, size_t n, int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* as the interpreter does: sendfile(2) cannot be told not to raise it */
    for (size_t i = 0; i < n; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], tests[i].name) == 0;
        if (wanted)
            run_test(&tests[i]);
    }
    return 0;
}

const fw_llhttp_api *parser(void)
{
    static fw_llhttp_api api;
    static bool loaded;
    if (loaded)
        return &api;
    const char *path = getenv("FW_HTTPTOOLS"), *missing = NULL;
    if (path == NULL)
        FAIL("FW_HTTPTOOLS does not name httptools' compiled parser");
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL)
        FAIL("%s", dlerror());
    if (fw_llhttp_load(&api, path, &missing) != FW_OK)
        FAIL("%s is missing", missing);
    const char *fault = fw_llhttp_check(&api);
    if (fault != NULL)
        FAIL("%s", fault);
    loaded = true;
    return &api;
}

fw_config defaults(void)
{
    fw_config cfg;
    fw_config_defaults(&cfg);
    cfg.limit_line = 8190;
    cfg.limit_fields = 100;
    cfg.limit_field_size = 8190;
    cfg.limit_header = 65536;
    cfg.body_memory = 1 << 20;
    cfg.response_memory = 64 << 20;
    cfg.max_connections = 10000;
    cfg.min_rate_grace_ms = 5000;
    cfg.timeouts[FW_CLASS_HEADER] = cfg.timeouts[FW_CLASS_BODY] = 30000;
    cfg.timeouts[FW_CLASS_WRITE] = 60000;
    cfg.timeouts[FW_CLASS_KEEPALIVE] = 75000;
    cfg.graceful_ms = 30000;
    cfg.memo = true;
    cfg.temp_dir = "/tmp";
    return cfg;
}

void pair_open(int ends[2], bool narrow)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    int size = 4096; /* the system makes at least this of it */
    for (int i = 0; narrow && i < 2; i++) /* a sweep may make these calls fail: then they are not narrow */
        (void)(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) +
               setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
}

void say(int fd, const void *data, size_t n)
{
    const char *from = data;
    while (n > 0) {
        ssize_t sent = sendto(fd, from, n, MSG_NOSIGNAL, NULL, 0); /* send is wrapped, sendto is not */
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            CHECK(poll(&p, 1, 5000) == 1);
            continue;
        }
        if (sent < 0)
            FAIL("sending to the server: %s", strerror(errno));
        from += sent;
        n -= (size_t)sent;
    }
}

ssize_t hear(int fd, void *to, size_t room)
{
    ssize_t n = recvfrom(fd, to, room, MSG_DONTWAIT, NULL, NULL);
    return n < 0 ? -errno : n;
}

void pattern(char *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)('a' + i % 23);
}

uint32_t dice(uint32_t *seed)
{
    uint32_t x = *seed != 0 ? *seed : 0x9e3779b9u; /* xorshift */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *seed = x;
}
