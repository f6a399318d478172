/* client.c - the strict client. */
#include "client.h"

#include <sys/socket.h>
#include <unistd.h>

void client_open(client *c, int fd, bool tcp)
{
    c->fd = fd;
    c->judge_head = NULL;
    c->tcp = tcp;
    c->shut = c->ended = c->reset = c->final = c->plain = false;
    c->queued = c->nhead = 0;
    c->left = c->at = 0;
    c->seq = 0;
}

void client_close(client *c, bool reset)
{
    if (c->fd < 0)
        return;
    if (reset || c->tcp) { /* always so on TCP: no address may stay behind to wait */
        const struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(c->fd);
    c->fd = -1;
}

void client_queue(client *c, const char *bytes, size_t n)
{
    if (n > sizeof c->queue - c->queued)
        n = sizeof c->queue - c->queued;
    memcpy(c->queue + c->queued, bytes, n);
    c->queued += n;
}

void client_send(client *c, size_t most)
{
    if (c->fd < 0 || c->shut || c->queued == 0)
        return;
    /* sendto and recvfrom: send and recv are the core's and may be made to fail */
    const ssize_t n = sendto(c->fd, c->queue, most < c->queued ? most : c->queued, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    if (n <= 0)
        return;
    c->queued -= (size_t)n;
    memmove(c->queue, c->queue + n, c->queued);
}

bool client_begins(const client *c, const char *text)
{
    return c->nhead >= strlen(text) && memcmp(c->head, text, strlen(text)) == 0;
}

uint64_t client_number(const client *c, const char *field, uint64_t none)
{
    char line[64];
    snprintf(line, sizeof line, "\r\n%s: ", field);
    const char *at = memmem(c->head, c->nhead, line, strlen(line));
    if (at == NULL)
        return none;
    at += strlen(line);
    MUST(memmem(at, (size_t)(c->head + c->nhead - at), line, strlen(line)) == NULL);
    MUST(*at >= '0' && *at <= '9');
    return strtoull(at, NULL, 10);
}

bool client_closes(const client *c)
{
    static const char CLOSE[] = "\r\nConnection: close\r\n";
    return memmem(c->head, c->nhead, CLOSE, sizeof CLOSE - 1) != NULL;
}

static void head_complete(client *c)
{
    MUST(!c->final);
    if (client_begins(c, "HTTP/1.1 100 ")) {
        MUST(c->nhead == strlen("HTTP/1.1 100 Continue\r\n\r\n"));
        return;
    }
    const uint64_t length = client_number(c, "Content-Length", UINT64_MAX);
    const uint64_t seq = client_number(c, "X-Seq", UINT64_MAX);
    MUST(length != UINT64_MAX);
    c->left = length;
    c->at = 0;
    if (seq != UINT64_MAX) {
        MUST(client_begins(c, "HTTP/1.1 200 OK\r\n"));
        MUST(seq == c->seq++);
        c->plain = false;
        return;
    }
    MUST(client_begins(c, "HTTP/1.1 4") || client_begins(c, "HTTP/1.1 5"));
    MUST(client_closes(c));
    c->final = c->plain = true;
}

static void judge(client *c, const char *bytes, size_t n)
{
    while (n > 0) {
        if (c->left > 0) {
            const size_t some = n < c->left ? n : (size_t)c->left;
            for (size_t i = 0; i < some && !c->plain; i++)
                MUST(bytes[i] == (char)('a' + (c->at + i) % LETTERS));
            c->at += some;
            c->left -= some;
            bytes += some;
            n -= some;
            continue;
        }
        MUST(c->nhead < sizeof c->head);
        c->head[c->nhead++] = *bytes++;
        n--;
        if (c->nhead >= 4 && memcmp(c->head + c->nhead - 4, "\r\n\r\n", 4) == 0) {
            if (c->judge_head != NULL)
                c->judge_head(c);
            else
                head_complete(c);
            c->nhead = 0;
        }
    }
}

void client_hear(client *c, size_t most)
{
    char bytes[16384];
    while (c->fd >= 0 && !c->ended && most > 0) {
        const ssize_t n = hear(c->fd, bytes, most < sizeof bytes ? most : sizeof bytes);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            c->ended = true;
            c->reset = n < 0;
            return;
        }
        judge(c, bytes, (size_t)n);
        most -= (size_t)n;
    }
}
