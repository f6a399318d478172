/* fields.c - reading the fields of an accepted head. */
#include "http/fields.h"
#include "http/memo.h"

bool fw_field_next(const fw_request *r, enum fw_name name, uint32_t *place, fw_slice *value)
{
    if (!(r->names >> name & 1))
        return false;
    const bool recalled = r->memo_use == FW_MEMO_FULL || r->memo_use == FW_MEMO_BLOCK;
    const fw_field *fields = recalled ? r->memo->fields : r->fields;
    const char *base = recalled ? r->memo->bytes : r->base;
    const uint32_t n = recalled ? r->memo->nfields : r->nfields;
    while (*place < n) {
        const fw_field *f = &fields[(*place)++];
        if (f->id == name && !(f->flags & FW_FIELD_HIDDEN)) {
            *value = (fw_slice){base + f->value.off, f->value.len};
            return true;
        }
    }
    return false;
}

bool fw_field_only(const fw_request *r, enum fw_name name, fw_slice *value)
{
    uint32_t place = 0;
    fw_slice other;
    return fw_field_next(r, name, &place, value) && !fw_field_next(r, name, &place, &other);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Where the item that begins at s[i] ends: at a comma that is in no quotes. */
static size_t item_end(const char *s, size_t n, size_t i)
{
    bool quoted = false;
    for (; i < n && (quoted || s[i] != ','); i++)
        quoted ^= s[i] == '"';
    return i;
}

bool fw_list_next(fw_slice *list, fw_slice *item)
{
    size_t i = 0;
    while (i < list->len && (is_space(list->at[i]) || list->at[i] == ','))
        i++;
    if (i == list->len)
        return false;
    const size_t end = item_end(list->at, list->len, i);
    size_t last = end;
    while (last > i && is_space(list->at[last - 1]))
        last--;
    *item = (fw_slice){list->at + i, last - i};
    list->at += end;
    list->len -= end;
    return true;
}
