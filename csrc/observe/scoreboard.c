/* scoreboard.c - writing and reading a worker's board. */
#include "observe/scoreboard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

_Static_assert(sizeof(fw_stats) == (FW_BOARD_COUNTERS - 1) * sizeof(uint64_t), "a counter is missing on the board");
_Static_assert(sizeof(fw_board_call) == 512 && offsetof(fw_board_call, method) == 32, "scoreboard.py reads this");
_Static_assert(offsetof(fw_board, counters) == 24 && offsetof(fw_board, latency) == 144 && offsetof(fw_board, draining) == 248 &&
                   sizeof(fw_board) == 256,
               "scoreboard.py reads this");

static const uint32_t BOUNDS_US[FW_BOARD_BUCKETS - 1] = {
    2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

static void begin(_Atomic uint32_t *seq)
{
    atomic_store_explicit(seq, atomic_load_explicit(seq, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void end(_Atomic uint32_t *seq)
{
    atomic_store_explicit(seq, atomic_load_explicit(seq, memory_order_relaxed) + 1, memory_order_release);
}

size_t fw_board_size(unsigned threads)
{
    return sizeof(fw_board) + threads * sizeof(fw_board_call);
}

void fw_board_init(fw_board *b, uint32_t pid, unsigned threads)
{
    begin(&b->seq);
    b->layout = FW_BOARD_LAYOUT;
    b->pid = pid;
    b->threads = threads;
    end(&b->seq);
}

static void put(char *to, size_t room, const char *from, size_t n)
{
    n = n < room ? n : room - 1;
    memcpy(to, from, n);
    to[n] = '\0';
}

static void put_client(fw_board_call *e, const struct sockaddr *client)
{
    const void *from = NULL;
    if (client->sa_family == AF_INET)
        from = &((const struct sockaddr_in *)(const void *)client)->sin_addr;
    else if (client->sa_family == AF_INET6)
        from = &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr;
    e->client[0] = '\0';
    if (from != NULL)
        inet_ntop(client->sa_family, from, e->client, sizeof e->client);
}

void fw_board_show(fw_board_call *e, uint32_t tid, const struct sockaddr *client, const fw_request *r, uint64_t since,
                   uint64_t limit)
{
    begin(&e->seq);
    e->phase = FW_PHASE_APPLICATION;
    e->since = since;
    e->number++;
    e->tid = tid;
    e->limit = limit;
    e->method[0] = e->target[0] = '\0';
    if (r != NULL) {
        put(e->method, sizeof e->method, fw_request_at(r, r->method), r->method.len);
        put(e->target, sizeof e->target, fw_request_at(r, r->target), r->target.len);
    }
    put_client(e, client);
    end(&e->seq);
}

void fw_board_phase(fw_board_call *e, enum fw_phase phase, uint64_t since)
{
    begin(&e->seq);
    e->phase = phase;
    e->since = since;
    end(&e->seq);
}

void fw_board_limit(fw_board_call *e, uint64_t limit)
{
    begin(&e->seq);
    e->limit = limit;
    end(&e->seq);
}

void fw_board_hide(fw_board_call *e)
{
    begin(&e->seq);
    e->phase = FW_PHASE_NONE;
    end(&e->seq);
}

void fw_board_count(fw_board *b, const fw_stats *stats, uint32_t waiting, const uint64_t latency[FW_BOARD_BUCKETS],
                    uint64_t now)
{
    begin(&b->seq);
    memcpy(b->counters, stats, sizeof *stats);
    b->counters[FW_BOARD_COUNTERS - 1] = waiting;
    memcpy(b->latency, latency, sizeof b->latency);
    b->written = now;
    end(&b->seq);
}

unsigned fw_board_bucket(uint64_t us)
{
    unsigned i = 0;
    while (i < FW_BOARD_BUCKETS - 1 && us > BOUNDS_US[i])
        i++;
    return i;
}
