/* memo.c - heads seen before. */
#include "http/memo.h"

#include <stdlib.h>
#include <string.h>

static uint64_t word(const char *s)
{
    uint64_t w;
    memcpy(&w, s, sizeof w);
    return w;
}

/* Blocks differ in length, at the end (cookies, caches) and in the middle. */
static unsigned slot_of(const char *block, size_t n)
{
    uint64_t h = n;
    if (n >= 24)
        h ^= word(block + n - 12) * 31 ^ word(block + n / 2) * 17 ^ word(block + n / 3);
    h *= UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned)(h >> 58);
}
_Static_assert(FW_MEMOS == 64, "slot_of yields six bits");

static bool same_block(const fw_memo *m, const char *block, size_t n)
{
    return m->block_len != 0 && n >= m->block_len && memcmp(block, m->bytes + m->line_len, m->block_len) == 0;
}

fw_memo *fw_memo_find(fw_memos *t, unsigned hint, const char *data, size_t n, unsigned origin, enum fw_memo_use *use)
{
    const char *lf = memchr(data, '\n', n);
    if (lf == NULL)
        return NULL;
    const size_t line = (size_t)(lf - data) + 1, rest = n - line;
    fw_memo *m = hint != 0 ? &t->slots[hint - 1] : &t->slots[slot_of(data + line, rest)];
    if (m->user == NULL || m->origin != origin || !same_block(m, data + line, rest))
        return NULL;
    *use = line == m->line_len && memcmp(data, m->bytes, line) == 0 ? FW_MEMO_FULL : FW_MEMO_BLOCK;
    return m;
}

static bool worth_remembering(const fw_request *r)
{
    return r->framing == FW_FRAMING_NONE && !r->has_length && !r->expects && !r->asterisk && !r->upgrade &&
           r->authority.len == 0 && r->start == 0 && r->head_len <= FW_MEMO_LONGEST;
}

/* The log tells fields of a head that is not parsed again, and files are chosen by them. */
static bool keep_fields(fw_memo *m, const fw_request *r)
{
    if (fw_likely(r->cfg->access == NULL && r->cfg->statics == NULL))
        return true;
    fw_field *fields = realloc(m->fields, (r->nfields + 1) * sizeof *fields);
    if (fields == NULL)
        return false;
    memcpy(fields, r->fields, r->nfields * sizeof *fields);
    m->fields = fields;
    m->nfields = r->nfields;
    return true;
}

static bool overwrite(fw_memos *t, fw_memo *m, const fw_request *r, uint32_t line_len, unsigned origin)
{
    if (m->pins != 0 || (m->user != NULL && t->nto_release >= FW_MEMOS))
        return false;
    if (m->user != NULL)
        t->to_release[t->nto_release++] = m->user;
    m->user = NULL;
    m->block_len = 0;
    if (m->cap < r->head_len) {
        char *bytes = realloc(m->bytes, r->head_len);
        if (bytes == NULL)
            return false;
        m->bytes = bytes;
        m->cap = r->head_len;
    }
    if (!keep_fields(m, r))
        return false;
    memcpy(m->bytes, r->base, r->head_len);
    m->line_len = line_len;
    m->block_len = r->head_len - line_len;
    m->origin = origin;
    m->method = r->method;
    m->target = r->target;
    m->path = r->path;
    m->query = r->query;
    m->names = r->names;
    m->method_id = r->method_id;
    m->minor = r->minor;
    m->keep_alive = r->keep_alive;
    if (fw_unlikely((m->follows = r->follows) != 0))
        m->followed = r->followed;
    return true;
}

unsigned fw_memo_note(fw_memos *t, fw_request *r, unsigned origin)
{
    if (!worth_remembering(r))
        return 0;
    const uint32_t line_len = r->target.off + r->target.len + 11; /* " HTTP/1.1" CRLF */
    const char *block = r->base + line_len;
    const uint32_t block_len = r->head_len - line_len;
    const unsigned slot = slot_of(block, block_len);
    fw_memo *m = &t->slots[slot];
    if (m->block_len == block_len && m->origin == origin && m->minor == r->minor &&
        same_block(m, block, block_len)) {
        if (m->user == NULL && m->pins == 0 && overwrite(t, m, r, line_len, origin)) {
            m->pins++;
            r->memo = m;
            r->memo_use = FW_MEMO_FILL;
        }
        return slot + 1;
    }
    return overwrite(t, m, r, line_len, origin) ? slot + 1 : 0;
}

static void shift(fw_span *s, uint32_t by)
{
    s->off += by; /* modulo 2^32: to the left, too */
}

void fw_memo_followed(fw_request *r)
{
    const fw_memo *m = r->memo;
    r->follows = m->follows;
    if (!(m->follows & (FW_FOLLOW_ADDRESS | FW_FOLLOW_PREFIX | FW_FOLLOW_MOUNT | FW_FOLLOW_START | FW_FOLLOW_BUDGET)))
        return; /* all else is in what was built from the head */
    const uint32_t by = r->head_len - m->block_len - m->line_len;
    r->followed = m->followed;
    shift(&r->followed.host, by);
    shift(&r->followed.prefix, by);
    shift(&r->followed.mount, by);
}

void fw_memo_unpin(fw_request *r)
{
    if (r->memo != NULL)
        r->memo->pins--;
    r->memo = NULL;
    r->memo_use = FW_MEMO_NONE;
}

void *fw_memo_to_release(fw_memos *t)
{
    return t->nto_release != 0 ? t->to_release[--t->nto_release] : NULL;
}

void fw_memos_clear(fw_memos *t)
{
    for (unsigned i = 0; i < FW_MEMOS; i++) {
        fw_memo *m = &t->slots[i];
        if (m->user != NULL)
            t->to_release[t->nto_release++] = m->user;
        free(m->bytes);
        free(m->fields);
        memset(m, 0, sizeof *m);
    }
}
