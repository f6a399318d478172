/* names.c - the field names we know. */
#include "http/names.h"

#define LONGEST 26
#define ROOM 32

typedef struct known {
    char text[ROOM];
    uint8_t len;
} known;

static const known KNOWN[FW_NAME_COUNT] = {
    {"", 0},
#define ROW(unused, id, text) {text, sizeof(text) - 1},
    FW_NAMES(ROW, 0)
#undef ROW
};

/* FIRST[n] is the first name of at least n bytes: one more than there are shorter ones. */
#define SHORTER(n, id, text) +(sizeof(text) - 1 < (n))
#define F(n) 1 FW_NAMES(SHORTER, n)
static const uint8_t FIRST[LONGEST + 2] = {
    F(0),  F(1),  F(2),  F(3),  F(4),  F(5),  F(6),  F(7),  F(8),  F(9),  F(10), F(11), F(12), F(13),
    F(14), F(15), F(16), F(17), F(18), F(19), F(20), F(21), F(22), F(23), F(24), F(25), F(26), F(27),
};

enum fw_name fw_name_find(const char *s, size_t n)
{
    if (n > LONGEST)
        return FW_NAME_UNKNOWN;
    const char first = (char)(s[0] | 0x20);
    for (unsigned i = FIRST[n]; i < FIRST[n + 1]; i++)
        if (KNOWN[i].text[0] == first && fw_name_same(s, KNOWN[i].text, n))
            return (enum fw_name)i;
    return FW_NAME_UNKNOWN;
}

const char *fw_name_text(enum fw_name name, size_t *n)
{
    *n = KNOWN[name].len;
    return KNOWN[name].text;
}
