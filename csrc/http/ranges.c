/* ranges.c - the parts of a file that a request asks for. */
#include "http/ranges.h"
#include "http/wire.h"

/* The number at the front of `s`, which moves on. A number beyond all files stays there. False: there is none. */
static bool read_number(fw_slice *s, uint64_t *value)
{
    const uint64_t most = UINT64_MAX / 16;
    const size_t before = s->len;
    *value = 0;
    for (; s->len != 0 && s->at[0] >= '0' && s->at[0] <= '9'; s->at++, s->len--)
        *value = *value > most ? *value : *value * 10 + (uint64_t)(s->at[0] - '0');
    return s->len != before;
}

static bool skip_dash(fw_slice *s)
{
    if (s->len == 0 || s->at[0] != '-')
        return false;
    s->at++;
    s->len--;
    return true;
}

/* Reads one range: "first-last", "first-" or "-length". False: it is none. One that the file does not have is empty. */
static bool read_range(fw_slice s, uint64_t size, fw_range *to)
{
    uint64_t first = 0, last = UINT64_MAX;
    const bool from = read_number(&s, &first);
    if (!skip_dash(&s))
        return false;
    const bool until = read_number(&s, &last);
    if (s.len != 0 || (!from && !until) || (from && until && last < first))
        return false;
    if (!from) {
        to->n = last < size ? last : size;
        to->first = size - to->n;
        return true;
    }
    to->first = first;
    if (!until || last >= size)
        last = size - 1; /* of an empty file it has no part */
    to->n = first < size ? last - first + 1 : 0;
    return true;
}

enum fw_ranges_verdict fw_ranges_read(fw_ranges *to, fw_slice value, uint64_t size)
{
    fw_slice item;
    fw_range one;
    uint64_t sum = 0;
    unsigned all = 0;
    to->n = 0;
    if (value.len < 6 || !fw_wire_same(value.at, 5, "bytes") || value.at[5] != '=')
        return FW_RANGES_NONE;
    value = (fw_slice){value.at + 6, value.len - 6};
    while (fw_list_next(&value, &item)) {
        if (++all > FW_RANGES_MOST || !read_range(item, size, &one))
            return FW_RANGES_NONE;
        if (one.n == 0)
            continue;
        to->list[to->n++] = one;
        sum += one.n;
    }
    if (all == 0 || sum > size)
        return FW_RANGES_NONE;
    return to->n != 0 ? FW_RANGES_SOME : FW_RANGES_UNSATISFIABLE;
}
