/* file_path.c - from the path of a target to the name of a file. The rule is in file_path.h. */
#include "http/file_path.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at s[*at], percent-decoded, and moves on; -1: the escape is broken. */
static int next(const char *s, size_t n, size_t *at)
{
    const size_t i = *at;
    if (fw_likely(s[i] != '%')) {
        *at = i + 1;
        return (unsigned char)s[i];
    }
    const int high = n - i > 2 ? hex_value(s[i + 1]) : -1, low = n - i > 2 ? hex_value(s[i + 2]) : -1;
    *at = i + 3;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

ssize_t fw_file_path_below(const char *path, size_t n, const char *prefix, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++)
        if (at >= n || next(path, n, &at) != (unsigned char)prefix[i])
            return -1;
    if (at >= n)
        return at == n ? (ssize_t)n : -1;
    size_t behind = at;
    return next(path, n, &behind) == '/' ? (ssize_t)at : -1;
}

/* A byte of a segment that may stand in a name. */
static bool in_name(int c)
{
    return c >= 0x20 && c != 0x7f && c != '/' && c != '\\';
}

/* Decodes a segment up to the next slash. Returns the bytes of its name, or -1. */
static ssize_t read_segment(char *to, size_t room, const char *s, size_t n, size_t *at)
{
    size_t len = 0;
    while (*at < n && s[*at] != '/') {
        const int c = next(s, n, at);
        if (!in_name(c) || len == room || len == FW_FILE_NAME_MOST)
            return -1;
        to[len++] = (char)c;
    }
    return len != 0 && to[0] == '.' ? -1 : (ssize_t)len;
}

ssize_t fw_file_path_read(char *to, const char *rest, size_t n)
{
    size_t at = 0, len = 0;
    if (n != 0 && rest[0] != '/')
        return -1; /* an escaped slash behind the prefix */
    while (at < n) {
        at++; /* the slash before this segment */
        if (len != 0)
            to[len++] = '/';
        const ssize_t m = read_segment(to + len, FW_FILE_PATH_MOST - 2 - len, rest, n, &at);
        if (m < 0 || (m == 0 && at < n) || len + (size_t)m >= FW_FILE_PATH_MOST - 2)
            return -1;
        len += (size_t)m;
    }
    to[len] = '\0';
    return (ssize_t)len;
}
