/* fuzz_proxies.c - what proxies say, of random bytes: fields of a trusted peer, and PROXY headers.
 *
 * The first byte of an input chooses what the rest is. A PROXY header is read at every length: once it is refused it stays
 * so, and once it is complete more bytes change nothing. Of a head, spans must lie in it.
 */
#include "fuzz.h"
#include "http/forwarded.h"
#include "http/proxy_header.h"

#define LONGEST 8192

static const fw_range4 V4[] = {{0x0A000000, 0x0AFFFFFF}, {0x7F000001, 0x7F000001}};
static const fw_range6 V6[] = {{{[15] = 1}, {[15] = 1}}};
static const fw_scheme_field SCHEMES[] = {
    {{"x-forwarded-proto", 17, FW_NAME_X_FORWARDED_PROTO}, "https", 5},
    {{"x-forwarded-ssl", 15, FW_NAME_X_FORWARDED_SSL}, "on", 2},
    {{"x-mine", 6, FW_NAME_UNKNOWN}, "yes", 3},
};
static const fw_lower_name NAMES[] = {{"script_name", 11, FW_NAME_UNKNOWN}};

static bool same(const fw_proxy_header *a, const fw_proxy_header *b)
{
    return a->len == b->len && a->named == b->named && a->tls == b->tls &&
           memcmp(&a->source, &b->source, sizeof a->source) == 0;
}

static void try_header(enum fw_proxy_protocol which, const char *bytes, size_t n)
{
    fw_proxy_header whole, part;
    const enum fw_parse p = fw_proxy_header_read(bytes, n, which, &whole);
    MUST((p == FW_PARSE_REFUSED) == (whole.status != 0));
    MUST(p != FW_PARSE_DONE || (whole.len > 0 && whole.len <= n && whole.len <= FW_PROXY_LONGEST));
    for (size_t cut = 0; cut < n && cut < 300; cut++) {
        const enum fw_parse q = fw_proxy_header_read(bytes, cut, which, &part);
        MUST(q != FW_PARSE_REFUSED || p == FW_PARSE_REFUSED);
        MUST(q != FW_PARSE_DONE || (p == FW_PARSE_DONE && same(&whole, &part)));
    }
}

static void check_span(const fw_request *r, unsigned what, fw_span s)
{
    MUST(!(r->follows & what) || (s.off <= r->head_len && s.len <= r->head_len - s.off));
}

static void try_head(unsigned choice, const char *bytes, size_t n)
{
    fw_forwarding f = {
        .trusted = {.v4 = V4, .n4 = COUNT(V4), .v6 = V6, .n6 = COUNT(V6), .all = (choice & 2) != 0},
        .schemes = SCHEMES,
        .nschemes = COUNT(SCHEMES),
        .names = NAMES,
        .nnames = COUNT(NAMES),
        .any_name = (choice & 4) != 0,
        .follow = (uint8_t)(choice >> 3),
    };
    fw_forwarding_init(&f);
    fw_config cfg = defaults();
    cfg.header_map = (enum fw_header_map)(choice % 3);
    cfg.forwarding = &f;
    cfg.forwarded = fw_forwarding_names(&f);
    cfg.forwarded_always = fw_forwarding_always(&f);
    fw_request *r = fw_request_open(parser(), &cfg);
    MUST(r != NULL);
    if (fw_request_parse(r, bytes, n) == FW_PARSE_DONE) {
        const enum fw_parse p = fw_forwarded_read(&f, true, r);
        MUST((p == FW_PARSE_REFUSED) == (r->status != 0));
        MUST((r->follows & (f.follow | FW_FOLLOW_MOUNT)) == r->follows);
        check_span(r, FW_FOLLOW_HOST, r->followed.host);
        check_span(r, FW_FOLLOW_PREFIX, r->followed.prefix);
        check_span(r, FW_FOLLOW_MOUNT, r->followed.mount);
    }
    fw_request_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > LONGEST)
        return 0;
    const char *bytes = (const char *)data + 1;
    if (data[0] & 1)
        try_header((enum fw_proxy_protocol)(1 + data[0] / 2 % 3), bytes, size - 1);
    else
        try_head(data[0], bytes, size - 1);
    return 0;
}
