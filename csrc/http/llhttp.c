/* llhttp.c - finds llhttp's functions in the installed httptools and proves that they are what we declared. */
#include "http/llhttp.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static const char *const NAMES[] = {
    "llhttp_init",          "llhttp_execute",          "llhttp_resume",     "llhttp_get_errno",
    "llhttp_get_error_pos", "llhttp_get_error_reason", "llhttp_get_method", "llhttp_get_http_major",
    "llhttp_get_http_minor", "llhttp_method_name",
};
#define NFUNCS (sizeof NAMES / sizeof NAMES[0])

_Static_assert(sizeof(fw_llhttp_api) == NFUNCS * sizeof(void *), "one name per function of the table");

int fw_llhttp_load(fw_llhttp_api *api, const char *path, const char **missing)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (handle == NULL) {
        *missing = path;
        return -ENOENT;
    }
    void *found[NFUNCS];
    for (size_t i = 0; i < NFUNCS; i++) {
        found[i] = dlsym(handle, NAMES[i]);
        if (found[i] == NULL) {
            *missing = NAMES[i];
            dlclose(handle);
            return -ENOSYS;
        }
    }
    memcpy(api, found, sizeof found); /* POSIX: object and function pointers convert */
    return FW_OK;
}

/* ---- the self-check ------------------------------------------------------------------------------------------- */

#define CANARY 0xA5
#define CHECK_ROOM 4096

/* The probe: what the callbacks saw, spelled as one line per event. */
typedef struct probe {
    fw_llhttp parser; /* first: callbacks get its address */
    unsigned char canary[CHECK_ROOM];
    char seen[512];
    size_t len;
    bool pause_at_head;
} probe;

static void note(probe *p, char tag, const char *at, size_t n)
{
    if (n > sizeof p->seen || p->len + n + 2 > sizeof p->seen)
        return;
    p->seen[p->len++] = tag;
    if (n > 0)
        memcpy(p->seen + p->len, at, n);
    p->len += n;
    p->seen[p->len++] = '\n';
}

#define DATA_PROBE(name, tag)                                                                                          \
    static int name(fw_llhttp *h, const char *at, size_t n)                                                            \
    {                                                                                                                  \
        note((probe *)h, tag, at, n);                                                                                  \
        return 0;                                                                                                      \
    }
DATA_PROBE(probe_url, 'u')
DATA_PROBE(probe_field, 'f')
DATA_PROBE(probe_value, 'v')
DATA_PROBE(probe_ext, 'x')
DATA_PROBE(probe_body, 'b')

static int probe_headers_complete(fw_llhttp *h)
{
    probe *p = (probe *)h;
    note(p, 'H', "", 0);
    return p->pause_at_head ? FW_HPE_PAUSED : 0;
}

static int probe_message_complete(fw_llhttp *h)
{
    note((probe *)h, 'M', "", 0);
    return FW_HPE_PAUSED;
}

static int probe_chunk_header(fw_llhttp *h)
{
    note((probe *)h, 'C', "", 0);
    return FW_HPE_PAUSED;
}

static const fw_llhttp_settings PROBE_SETTINGS = {
    .on_url = probe_url,
    .on_header_field = probe_field,
    .on_header_value = probe_value,
    .on_chunk_extension_name = probe_ext,
    .on_headers_complete = probe_headers_complete,
    .on_chunk_header = probe_chunk_header,
    .on_body = probe_body,
    .on_message_complete = probe_message_complete,
};

static void probe_reset(const fw_llhttp_api *api, probe *p, bool pause_at_head)
{
    memset(p, CANARY, sizeof *p);
    p->len = 0;
    p->pause_at_head = pause_at_head;
    memset(&p->parser, 0, sizeof p->parser);
    api->init(&p->parser, FW_LLHTTP_REQUEST, &PROBE_SETTINGS);
}

static bool canary_intact(const probe *p)
{
    for (size_t i = 0; i < sizeof p->canary; i++)
        if (p->canary[i] != CANARY)
            return false;
    return true;
}

static bool saw(const probe *p, const char *expected)
{
    return p->len == strlen(expected) && memcmp(p->seen, expected, p->len) == 0;
}

static bool named(const fw_llhttp_api *api, int method, const char *expected)
{
    const char *name = api->method_name(method);
    return name != NULL && strcmp(name, expected) == 0;
}

static const char *check_head(const fw_llhttp_api *api, probe *p)
{
    static const char HEAD[] = "PUT /a?b HTTP/1.1\r\nHost: x.y\r\nA: \r\n\r\nNEXT";
    const size_t head_len = sizeof HEAD - 1 - 4;
    probe_reset(api, p, true);
    if (!canary_intact(p))
        return "llhttp_init writes past the block reserved for the parser";
    if (api->execute(&p->parser, HEAD, sizeof HEAD - 1) != FW_HPE_PAUSED)
        return "llhttp_execute does not pause when on_headers_complete asks for it";
    if (api->get_errno(&p->parser) != FW_HPE_PAUSED || api->get_error_pos(&p->parser) != HEAD + head_len)
        return "llhttp does not stop at the end of the head";
    if (!saw(p, "u/a?b\nfHost\nvx.y\nfA\nH\n") && !saw(p, "u/a?b\nfHost\nvx.y\nfA\nv\nH\n"))
        return "llhttp's callbacks do not fire as declared for a head";
    if (api->get_method(&p->parser) != 4 || !named(api, 4, "PUT") || !named(api, FW_METHOD_GET, "GET") ||
        !named(api, FW_METHOD_HEAD, "HEAD") || !named(api, FW_METHOD_CONNECT, "CONNECT") ||
        !named(api, FW_METHOD_OPTIONS, "OPTIONS"))
        return "llhttp numbers its methods differently";
    if (api->get_http_major(&p->parser) != 1 || api->get_http_minor(&p->parser) != 1)
        return "llhttp reports another HTTP version than it was sent";
    return canary_intact(p) ? NULL : "llhttp writes past the block reserved for the parser";
}

static const char *check_chunks(const fw_llhttp_api *api, probe *p)
{
    static const char CHUNKED[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3;e\r\nabc\r\n0\r\nT: t\r\n\r\n";
    static const char EXPECTED[] = "u/\nfTransfer-Encoding\nvchunked\nH\nxe\nC\nbabc\nC\nfT\nvt\nM\n";
    const char *end = CHUNKED + sizeof CHUNKED - 1, *at = CHUNKED;
    probe_reset(api, p, false);
    for (int pauses = 0; pauses < 3; pauses++) { /* behind each size line, and at the end */
        if (api->execute(&p->parser, at, (size_t)(end - at)) != FW_HPE_PAUSED)
            return "llhttp does not pause where a chunk begins";
        at = api->get_error_pos(&p->parser);
        if (pauses < 2 && (at < CHUNKED + 2 || at > end || memcmp(at - 2, "\r\n", 2) != 0))
            return "llhttp does not stop behind the size line of a chunk";
        api->resume(&p->parser);
    }
    if (!saw(p, EXPECTED))
        return "llhttp's callbacks do not fire as declared for a chunked body";
    if (at != end)
        return "llhttp does not stop at the end of a chunked body";
    return canary_intact(p) ? NULL : "llhttp writes past the block reserved for the parser";
}

static const char *check_errors(const fw_llhttp_api *api, probe *p)
{
    static const struct {
        const char *input;
        int code;
    } BAD[] = {
        {"BREW / HTTP/1.1\r\n", FW_HPE_INVALID_METHOD},
        {"GET / HTTP/3.1\r\n", FW_HPE_INVALID_VERSION},
        {"GET \x01 HTTP/1.1\r\n", FW_HPE_INVALID_URL},
        {"GET / HTPP/1.1\r\n", FW_HPE_INVALID_CONSTANT},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        probe_reset(api, p, true);
        if (api->execute(&p->parser, BAD[i].input, strlen(BAD[i].input)) != BAD[i].code)
            return "llhttp numbers its errors differently";
        if (api->get_error_reason(&p->parser) == NULL)
            return "llhttp gives no reason for an error";
    }
    return NULL;
}

const char *fw_llhttp_check(const fw_llhttp_api *api)
{
    probe p;
    const char *fault = check_head(api, &p);
    if (fault == NULL)
        fault = check_chunks(api, &p);
    if (fault == NULL)
        fault = check_errors(api, &p);
    return fault;
}
