/* canned.h - what the canned servers share: the constant reply, and the scan that finds the end of a request. */
#ifndef CANNED_H
#define CANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IN_SIZE (256 * 1024)
#define BATCH 64        /* replies gathered into one send, at most */
#define MAX_EVENTS 512

struct reply {
    char *bytes;        /* BATCH copies of one reply, back to back */
    size_t length;      /* of one */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct reply make_reply(size_t body, const char *connection)
{
    static const char hello[] = "Hello, World!";
    struct reply reply = {0};
    char head[256];
    size_t copies = body > 4096 ? 1 : BATCH;
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                     "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: canned\r\n%s\r\n",
                     body, connection);
    reply.length = (size_t)n + body;
    reply.bytes = malloc(reply.length * copies);
    if (!reply.bytes)
        die("malloc");
    for (size_t i = 0; i < copies; i++) {
        char *at = reply.bytes + i * reply.length;
        memcpy(at, head, (size_t)n);
        memset(at + n, 'x', body);
        if (body == sizeof hello - 1)
            memcpy(at + n, hello, body);
    }
    return reply;
}

/* Length of the head at `p`, or 0 when its end has not arrived. Sets what the reply depends on. */
static size_t scan_head(const char *p, size_t size, size_t *body, int *closing)
{
    const char *at = p, *end = p + size;

    *body = 0;
    while (at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl)
            return 0;
        size_t line = (size_t)(nl - at);
        if (line <= 1 && at != p)
            return (size_t)(nl + 1 - p);
        if ((*at | 0x20) == 'c') {
            if (line > 15 && !strncasecmp(at, "content-length:", 15))
                *body = strtoul(at + 15, NULL, 10);
            else if (line > 16 && !strncasecmp(at, "connection: close", 17))
                *closing = 1;
        }
        at = nl + 1;
    }
    return 0;
}

#endif
