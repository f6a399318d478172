/* escape.c - foreign bytes in a line of text. Its unit test is in test_access_log.c, whose lines hold them. */
#include "observe/escape.h"

#include <string.h>

/* 1: stands for itself; 2: does so within quotes; 0: is escaped. */
static const uint8_t PLAIN[256] = {
    [' '] = 2, ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1, [')'] = 1, ['*'] = 1,
    ['+'] = 1, [','] = 1, ['-'] = 1, ['.'] = 1, ['/'] = 1, ['0'] = 1, ['1'] = 1,  ['2'] = 1, ['3'] = 1, ['4'] = 1,
    ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, [':'] = 1, [';'] = 1,  ['<'] = 1, ['='] = 1, ['>'] = 1,
    ['?'] = 1, ['@'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1, ['H'] = 1,
    ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1,  ['P'] = 1, ['Q'] = 1, ['R'] = 1,
    ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1,  ['Z'] = 1, ['['] = 1, [']'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1,  ['e'] = 1, ['f'] = 1, ['g'] = 1,
    ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1,  ['o'] = 1, ['p'] = 1, ['q'] = 1,
    ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1,  ['y'] = 1, ['z'] = 1, ['{'] = 1,
    ['|'] = 1, ['}'] = 1, ['~'] = 1,
};

static char *escape_one(char *to, uint8_t c, bool json)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    *to++ = '\\';
    if (json && (c == '"' || c == '\\')) {
        *to++ = (char)c;
        return to;
    }
    if (json) {
        memcpy(to, "u00", 3);
        to += 3;
    } else {
        *to++ = 'x';
    }
    *to++ = DIGITS[c >> 4];
    *to++ = DIGITS[c & 15];
    return to;
}

/* Has a high bit if one of the eight bytes does not stand for itself within quotes. A borrow may reach into the byte
 * behind such a one: then there is one anyway. */
static inline uint64_t suspects(const char *s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t w;
    memcpy(&w, s, 8);
    return w | (w - ones * 0x20) | ((w ^ ones * '"') - ones) | ((w ^ ones * '\\') - ones) | ((w ^ ones * 0x7f) - ones);
}

/* All of it stands for itself; a text of less than eight bytes is not looked at. */
static bool is_plain(const char *s, size_t len)
{
    uint64_t found = 0;
    if (len < 8)
        return false;
    for (size_t i = 0; i + 8 < len; i += 8)
        found |= suspects(s + i);
    found |= suspects(s + len - 8);
    return (found & UINT64_C(0x8080808080808080)) == 0;
}

char *fw_escape(char *to, const char *s, size_t n, enum fw_escapes how)
{
    if (how != FW_ESCAPE_WORD && is_plain(s, n)) {
        memcpy(to, s, n);
        return to + n;
    }
    const uint8_t wanted = how == FW_ESCAPE_WORD ? 1 : 3;
    for (size_t i = 0; i < n; i++)
        if (fw_likely((PLAIN[(uint8_t)s[i]] & wanted) != 0))
            *to++ = s[i];
        else
            to = escape_one(to, (uint8_t)s[i], how == FW_ESCAPE_JSON);
    return to;
}
