/* codings.c - the content codings that a client accepts. */
#include "http/codings.h"
#include "http/wire.h"

#include <string.h>

#define MOST 1000 /* a weight of 1 */
#define UNSAID (-1)

static const char *const NAMES[FW_CODINGS] = {"zstd", "br", "gzip", "identity"};
static const char *const ENDINGS[FW_CODINGS] = {".zst", ".br", ".gz", ""};

const char *fw_coding_name(enum fw_coding c)
{
    return NAMES[c];
}

const char *fw_coding_ending(enum fw_coding c)
{
    return ENDINGS[c];
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* "q=0.5" as thousandths; what is none counts as 0: a client that is misunderstood can read the file as it is. */
static int read_weight(const char *s, size_t n)
{
    if (n < 3 || (s[0] | 0x20) != 'q' || s[1] != '=' || n > 7 || (s[2] != '0' && s[2] != '1'))
        return 0;
    int weight = (s[2] - '0') * MOST, worth = 100;
    if (n > 3 && s[3] != '.')
        return 0;
    for (size_t i = 4; i < n; i++, worth /= 10) {
        if (s[i] < '0' || s[i] > '9')
            return 0;
        weight += (s[i] - '0') * worth;
    }
    return weight <= MOST ? weight : 0;
}

/* Splits an item into the name and its weight. */
static int weight_of(fw_slice *item)
{
    const char *semicolon = memchr(item->at, ';', item->len);
    if (semicolon == NULL)
        return MOST;
    const char *s = semicolon + 1, *end = item->at + item->len;
    item->len = (size_t)(semicolon - item->at);
    while (item->len != 0 && is_space(item->at[item->len - 1]))
        item->len--;
    while (s < end && is_space(*s))
        s++;
    return read_weight(s, (size_t)(end - s));
}

static int coding_of(fw_slice name)
{
    if (name.len == 6 && fw_wire_same(name.at, 6, "x-gzip"))
        return FW_CODING_GZIP; /* RFC 9110 8.4.1.3 */
    for (int c = 0; c < FW_CODINGS; c++)
        if (fw_wire_same(name.at, name.len, NAMES[c]))
            return c;
    return FW_CODINGS;
}

static void read_weights(const fw_request *r, int weights[FW_CODINGS + 1])
{
    uint32_t place = 0;
    fw_slice value, item;
    while (fw_field_next(r, FW_NAME_ACCEPT_ENCODING, &place, &value)) {
        while (fw_list_next(&value, &item)) {
            const int weight = weight_of(&item);
            const bool any = item.len == 1 && item.at[0] == '*';
            const int c = any ? FW_CODINGS : coding_of(item);
            if (any || c < FW_CODINGS)
                weights[c] = weight;
        }
    }
}

void fw_codings_read(const fw_request *r, fw_coding_order *to)
{
    int weights[FW_CODINGS + 1] = {UNSAID, UNSAID, UNSAID, UNSAID, UNSAID}; /* the last is that of "*" */
    to->n = 0;
    if (!(r->names >> FW_NAME_ACCEPT_ENCODING & 1))
        return;
    read_weights(r, weights);
    const int identity = weights[FW_CODING_IDENTITY] != UNSAID ? weights[FW_CODING_IDENTITY] : 0;
    for (int c = 0; c < FW_CODING_IDENTITY; c++) {
        if (weights[c] == UNSAID)
            weights[c] = weights[FW_CODINGS] != UNSAID ? weights[FW_CODINGS] : 0;
        if (weights[c] == 0 || weights[c] < identity)
            continue;
        unsigned i = to->n++;
        for (; i > 0 && weights[to->list[i - 1]] < weights[c]; i--)
            to->list[i] = to->list[i - 1];
        to->list[i] = (uint8_t)c;
    }
}
