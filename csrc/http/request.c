/* request.c - llhttp's callbacks build one request; the judgement over it is in check.c. */
#include "http/request.h"
#include "http/check.h"
#include "http/memo.h"
#include "http/proxy_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_FIELDS 32

enum fw_parse fw_request_refuse(fw_request *r, int status, const char *why)
{
    if (r->status == 0) {
        r->status = status;
        r->why = why;
    }
    return FW_PARSE_REFUSED;
}

enum fw_parse fw_request_refuse_storage(fw_request *r, int error)
{
    switch (-error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return fw_request_refuse(r, 507, "no room to store the request body");
    case EACCES: /* no directory that takes a file: a container may have none */
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG: return fw_request_refuse(r, 507, "no place to store the request body");
    case ENOMEM:
    case EMFILE:
    case ENFILE: return fw_request_refuse(r, 503, "no resources to store the request body");
    default: return fw_request_refuse(r, 500, "the request body could not be stored");
    }
}

/* ---- head callbacks: each returns 0 or FW_HPE_USER after a refusal --------------------------------------------- */

static int refuse_in_callback(fw_request *r, int status, const char *why)
{
    fw_request_refuse(r, status, why);
    return FW_HPE_USER;
}

static fw_request *self(fw_llhttp *h)
{
    return (fw_request *)h; /* the parser is the first member */
}

static uint32_t offset(const fw_request *r, const char *at)
{
    return (uint32_t)(at - r->base);
}

static int on_url(fw_llhttp *h, const char *at, size_t n)
{
    fw_request *r = self(h);
    if (r->target.len == 0)
        r->target.off = offset(r, at);
    r->target.len = offset(r, at + n) - r->target.off;
    return 0;
}

bool fw_request_more_fields(fw_request *r)
{
    uint32_t room = r->room * 2;
    fw_field *fields = realloc(r->fields, room * sizeof *fields);
    if (fields == NULL)
        return false;
    r->fields = fields;
    r->room = room;
    return true;
}

/* A name may come in pieces; pieces of one name touch each other. */
static int on_header_field(fw_llhttp *h, const char *at, size_t n)
{
    fw_request *r = self(h);
    const uint32_t off = offset(r, at);
    if (r->nfields > 0) {
        fw_field *last = &r->fields[r->nfields - 1];
        if (off == last->name.off + last->name.len && last->value.len == 0) {
            last->name.len += (uint32_t)n;
            return last->name.len > r->cfg->limit_field_size
                       ? refuse_in_callback(r, 431, "a header field is too long")
                       : 0;
        }
    }
    if (r->nfields == r->cfg->limit_fields)
        return refuse_in_callback(r, 431, "too many header fields");
    if (r->nfields == r->room && !fw_request_more_fields(r))
        return refuse_in_callback(r, 503, "no memory for the header section");
    if (n > r->cfg->limit_field_size)
        return refuse_in_callback(r, 431, "a header field is too long");
    fw_field *f = &r->fields[r->nfields++];
    f->name.off = off;
    f->name.len = (uint32_t)n;
    f->value.off = off;
    f->value.len = 0;
    f->id = FW_NAME_UNKNOWN;
    f->flags = 0;
    return 0;
}

static int on_header_value(fw_llhttp *h, const char *at, size_t n)
{
    fw_request *r = self(h);
    fw_field *f = &r->fields[r->nfields - 1];
    const uint32_t end = offset(r, at + n);
    if (f->value.len == 0)
        f->value.off = offset(r, at);
    f->value.len = end - f->value.off;
    if (end - f->name.off > r->cfg->limit_field_size)
        return refuse_in_callback(r, 431, "a header field is too long");
    return 0;
}

static int on_headers_complete(fw_llhttp *h)
{
    (void)h;
    return FW_HPE_PAUSED; /* the body is ours: see fw_request_chunks and body.h */
}

static const fw_llhttp_settings HEAD_SETTINGS = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

/* ---- life ------------------------------------------------------------------------------------------------------ */

fw_request *fw_request_open(const fw_llhttp_api *api, const fw_config *cfg)
{
    fw_request *r = aligned_alloc(_Alignof(fw_request), sizeof *r);
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    r->fields = malloc(FIRST_FIELDS * sizeof *r->fields);
    if (r->fields == NULL) {
        free(r);
        return NULL;
    }
    r->room = FIRST_FIELDS;
    r->api = api;
    r->cfg = cfg;
    fw_body_open(&r->body);
    fw_request_reset(r);
    return r;
}

void fw_request_close(fw_request *r)
{
    fw_memo_unpin(r);
    fw_body_close(&r->body);
    free(r->fields);
    free(r);
}

void fw_request_reset(fw_request *r)
{
    fw_memo_unpin(r);
    if (r->body.own != NULL || r->body.spills) /* without either there is neither a file nor a job */
        fw_body_close(&r->body);
    const size_t from = offsetof(fw_request, nfields);
    memset((char *)r + from, 0, sizeof *r - from);
    r->base = NULL;
    fw_body_open(&r->body);
    r->api->init(&r->parser, FW_LLHTTP_REQUEST, &HEAD_SETTINGS);
}

/* ---- verdicts -------------------------------------------------------------------------------------------------- */

static enum fw_parse judge_bad_line(fw_request *r, const char *base, size_t len)
{
    fw_refusal v;
    const enum fw_parse p = fw_check_bad_line(r, base, len, &v);
    return p == FW_PARSE_REFUSED ? fw_request_refuse(r, v.status, v.why) : p;
}

/* A line that is refused is taken over too, as far as it is known: the answer to HEAD has no content, whatever it is. */
static enum fw_parse judge_line(fw_request *r)
{
    fw_line v = {0};
    const enum fw_parse p = fw_check_line(r, &v);
    r->method = v.method;
    r->path = v.path;
    r->query = v.query;
    r->authority = v.authority;
    r->method_id = v.method_id;
    r->minor = v.minor;
    r->asterisk = v.asterisk;
    return p == FW_PARSE_REFUSED ? fw_request_refuse(r, v.refusal.status, v.refusal.why) : p;
}

/* Not for the environ: what we deal with, what is dangerous (httpoxy), and names that share a key with others. */
static bool is_hidden(const fw_request *r, const fw_field *f)
{
    switch (f->id) {
    case FW_NAME_UNKNOWN:
        return r->cfg->header_map == FW_MAP_DROP && memchr(fw_request_at(r, f->name), '_', f->name.len) != NULL;
    case FW_NAME_TRANSFER_ENCODING:
    case FW_NAME_PROXY: return true;
    default: return false;
    }
}

/* Returns the bits of r->names that no known name stands for. */
static uint64_t number_fields(fw_request *r)
{
    uint64_t others = r->cfg->forwarded_always;
    for (uint32_t i = 0; i < r->nfields; i++) {
        fw_field *f = &r->fields[i];
        const char *s = fw_request_at(r, f->value);
        while (f->value.len > 0 && (s[f->value.len - 1] == ' ' || s[f->value.len - 1] == '\t'))
            f->value.len--;
        f->id = (uint8_t)fw_name_find(fw_request_at(r, f->name), f->name.len);
        if (fw_unlikely(is_hidden(r, f))) {
            f->flags |= FW_FIELD_HIDDEN;
            others |= f->id == FW_NAME_UNKNOWN; /* for its underscore */
        }
    }
    return others;
}

static enum fw_parse judge_head(fw_request *r)
{
    enum fw_parse p = judge_line(r);
    if (fw_unlikely(p != FW_PARSE_DONE))
        return p;
    const uint64_t others = number_fields(r);
    fw_fields v = {0};
    p = fw_check_fields(r, &v);
    r->length = v.length;
    r->names = v.names | others;
    r->framing = v.framing;
    r->has_length = v.has_length;
    r->keep_alive = v.keep_alive;
    r->expects = v.expects;
    r->repeats = v.repeats;
    r->upgrade = v.upgrade;
    return p == FW_PARSE_REFUSED ? fw_request_refuse(r, v.refusal.status, v.refusal.why) : p;
}

/* ---- head ------------------------------------------------------------------------------------------------------ */

/* One empty line before the request line is forgiven (RFC 9112 2.2), a second is not. */
static enum fw_parse skip_empty_line(fw_request *r, const char *base, size_t len)
{
    if (r->start == 0 && base[0] == '\r') {
        if (len < 2)
            return FW_PARSE_MORE;
        if (base[1] != '\n')
            return fw_request_refuse(r, 400, "a bare CR before the request line");
        r->start = 2;
        r->fed = 2;
        if (len == 2)
            return FW_PARSE_MORE;
    }
    if (base[r->start] == '\r' || base[r->start] == '\n') {
        if (fw_proxy_header_begins(base, len) == FW_PARSE_DONE)
            return fw_request_refuse(r, 400, fw_check_proxy_header(r->cfg));
        return fw_request_refuse(r, 400, "an empty line where a request line belongs");
    }
    return FW_PARSE_DONE;
}

/* Limits on a head whose end has not come. */
static enum fw_parse check_unfinished(fw_request *r, const char *base, size_t len)
{
    const char *line = base + r->start;
    const size_t have = len - r->start;
    const char *lf = memchr(line, '\n', have);
    if (lf == NULL)
        return have > (size_t)r->cfg->limit_line + 2
                   ? fw_request_refuse(r, 414, "the request line is too long")
                   : FW_PARSE_MORE;
    const size_t line_len = (size_t)(lf - line) + 1;
    if (line_len > (size_t)r->cfg->limit_line + 2)
        return fw_request_refuse(r, 414, "the request line is too long");
    if (have - line_len > r->cfg->limit_header)
        return fw_request_refuse(r, 431, "the header section is too long");
    /* llhttp would wait for the whole HTTP/2 preface, and for fields behind the one line of HTTP/0.9. */
    if (memcmp(line, "PRI ", have < 4 ? have : 4) == 0 || r->api->get_http_major(&r->parser) == 0)
        return judge_bad_line(r, base, len);
    return FW_PARSE_MORE;
}

static bool in_request_line(int code)
{
    return code == FW_HPE_INVALID_METHOD || code == FW_HPE_INVALID_URL || code == FW_HPE_INVALID_CONSTANT ||
           code == FW_HPE_INVALID_VERSION || code == FW_HPE_PAUSED_H2_UPGRADE;
}

static enum fw_parse refuse_parse_error(fw_request *r, int code, const char *base, size_t len)
{
    if (r->status != 0)
        return FW_PARSE_REFUSED;
    /* Major version 0: a line of HTTP/0.9, whatever llhttp takes for fields behind it. */
    if (in_request_line(code) || r->api->get_http_major(&r->parser) == 0 ||
        memchr(base + r->start, '\n', r->fed - r->start) == NULL) {
        r->bad_line = true;
        return judge_bad_line(r, base, len);
    }
    return fw_request_refuse(r, 400, "malformed header section");
}

enum fw_parse fw_request_parse(fw_request *r, const char *base, size_t len)
{
    r->base = base;
    if (fw_unlikely(r->bad_line))
        return judge_bad_line(r, base, len);
    if (fw_unlikely(len == r->fed))
        return FW_PARSE_MORE; /* nothing is new */
    if (r->fed <= 2 && r->fed == r->start) {
        enum fw_parse first = skip_empty_line(r, base, len);
        if (first != FW_PARSE_DONE)
            return first;
    }
    const uint32_t from = r->fed;
    int code = r->api->execute(&r->parser, base + from, len - from);
    if (fw_likely(code == FW_HPE_PAUSED)) {
        r->head_len = offset(r, r->api->get_error_pos(&r->parser));
        r->fed = r->head_len;
        return judge_head(r);
    }
    if (code == FW_HPE_OK) {
        r->fed = (uint32_t)len;
        return check_unfinished(r, base, len);
    }
    r->fed = offset(r, r->api->get_error_pos(&r->parser));
    return refuse_parse_error(r, code, base, len);
}

/* ---- a header block seen before -------------------------------------------------------------------------------- */

/* llhttp reads the request line, and the empty line in place of the block that it has read before. */
static bool parse_line(fw_request *r, const char *base)
{
    const char *lf = memchr(base, '\n', r->cfg->limit_line + 2);
    if (lf == NULL || base[0] == '\r' || base[0] == '\n')
        return false;
    const size_t line = (size_t)(lf - base) + 1;
    return r->api->execute(&r->parser, base, line) == FW_HPE_OK &&
           r->api->execute(&r->parser, "\r\n", 2) == FW_HPE_PAUSED;
}

enum fw_parse fw_request_recall(fw_request *r, fw_memo *m, unsigned use, const char *base)
{
    r->base = base;
    r->names = m->names;
    r->keep_alive = m->keep_alive;
    if (use == FW_MEMO_FULL) {
        r->method = m->method;
        r->target = m->target;
        r->path = m->path;
        r->query = m->query;
        r->method_id = m->method_id;
        r->minor = m->minor;
        r->head_len = m->line_len + m->block_len;
    } else {
        if (!parse_line(r, base))
            goto no_shortcut;
        r->head_len = r->target.off + r->target.len + 11 + m->block_len;
        if (judge_line(r) != FW_PARSE_DONE || r->minor != m->minor || r->authority.len != 0 || r->asterisk)
            goto no_shortcut;
    }
    r->fed = r->head_len;
    m->pins++;
    r->memo = m;
    r->memo_use = (uint8_t)use;
    return FW_PARSE_DONE;
no_shortcut:
    fw_request_reset(r);
    return FW_PARSE_MORE;
}
