/* conditions.c - what a request makes its answer depend on. */
#include "http/conditions.h"
#include "http/http_date.h"

#include <string.h>

/* A tag is compared byte by byte, `weak`: whether W/ stands before it or not (RFC 9110 8.8.3.2). */
static bool is_tag(fw_slice given, const fw_slice *etag, bool weak)
{
    if (weak && given.len > 2 && memcmp(given.at, "W/", 2) == 0) {
        given.at += 2;
        given.len -= 2;
    }
    return given.len == etag->len && memcmp(given.at, etag->at, etag->len) == 0;
}

/* Whether one of the tags in all fields of that name is ours, or "*" stands for any. */
static bool has_tag(const fw_request *r, enum fw_name name, const fw_slice *etag, bool weak)
{
    uint32_t place = 0;
    fw_slice value, item;
    while (fw_field_next(r, name, &place, &value)) {
        if (value.len == 1 && value.at[0] == '*')
            return true;
        while (fw_list_next(&value, &item))
            if (is_tag(item, etag, weak))
                return true;
    }
    return false;
}

/* The one date of that name; a field that is no date, or repeated, is ignored (RFC 9110 13.1.3). */
static bool has_date(const fw_request *r, enum fw_name name, int64_t now, int64_t *date)
{
    fw_slice value;
    return fw_field_only(r, name, &value) && fw_http_date_read(value.at, value.len, now, date);
}

static bool has(const fw_request *r, enum fw_name name)
{
    return r->names >> name & 1;
}

enum fw_condition fw_conditions(const fw_request *r, const fw_validators *v)
{
    int64_t date;
    if (has(r, FW_NAME_IF_MATCH)) {
        if (!has_tag(r, FW_NAME_IF_MATCH, &v->etag, false))
            return FW_CONDITION_FAILS;
    } else if (has_date(r, FW_NAME_IF_UNMODIFIED_SINCE, v->now, &date) && v->modified > date) {
        return FW_CONDITION_FAILS;
    }
    if (has(r, FW_NAME_IF_NONE_MATCH))
        return has_tag(r, FW_NAME_IF_NONE_MATCH, &v->etag, true) ? FW_CONDITION_NOT_MODIFIED : FW_CONDITION_HOLDS;
    if (has_date(r, FW_NAME_IF_MODIFIED_SINCE, v->now, &date) && v->modified <= date)
        return FW_CONDITION_NOT_MODIFIED;
    return FW_CONDITION_HOLDS;
}

/* A date has to be exactly ours, and a tag strong: what is missing is to fit what is there (RFC 9110 13.1.5). */
bool fw_conditions_range(const fw_request *r, const fw_validators *v)
{
    fw_slice value;
    int64_t date;
    if (!has(r, FW_NAME_IF_RANGE))
        return true;
    if (!fw_field_only(r, FW_NAME_IF_RANGE, &value))
        return false;
    if (is_tag(value, &v->etag, false))
        return true;
    return fw_http_date_read(value.at, value.len, v->now, &date) && date == v->modified;
}
