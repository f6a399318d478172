/* fuzz_spill.c - what a chunked upload costs that passes the memory mark, however its client cuts it.
 *
 * The input is a recipe: runs of chunks of one shape, and the pieces in which their bytes are sent to a loop. Through all
 * of it the body arrives as it was sent, and the cost stays within bounds that do not depend on the recipe:
 *
 * - writes and files: one write for each gathered piece, one file for each body;
 * - receives: as many as the pieces and the receive buffer make necessary;
 * - calls of the parser, which are the unit of work here: none for a small chunk that is here whole, a few for any other;
 * - calls of the parser and receives between two polls, when no other connection gets its turn.
 *
 * All of these are counted, none is timed.
 */
#include "faults.h"
#include "fuzz.h"
#include "loop_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#define HEADER 4       /* bytes of an input in front of the recipe */
#define WIRE 400000    /* bytes of an upload, at most */
#define LINE 64        /* bytes of a chunk beside its data, at most */
#define PIECES 3000    /* sends, at most */
#define GATHER 32768   /* bytes that a write has at least, but for the first and the last of a body */
#define CALLS 4        /* of the parser, for a chunk that it sees: size line, data, end, and a cut */
#define SHORTEST 5     /* bytes of the shortest chunk that the parser sees, line ends included */
#define RECEIVES 16    /* between two polls */

static const char HEAD[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

typedef struct upload {
    char wire[WIRE], body[WIRE];
    size_t nwire, nbody;
    unsigned dear; /* chunks that the parser has to see */
    bool seen;     /* the application has checked the body */
} upload;

static upload up;

/* ---- what is counted ------------------------------------------------------------------------------------------- */

static struct {
    unsigned parsed, parsed_then; /* calls of the parser: in all, and at the last poll */
    unsigned received_then;
    unsigned turn_parsed, turn_received; /* the most between two polls */
} cost;

static int counted_execute(fw_llhttp *h, const char *data, size_t n)
{
    cost.parsed++;
    return parser()->execute(h, data, n);
}

static void at_poll(void *data)
{
    (void)data;
    const unsigned parsed = cost.parsed - cost.parsed_then;
    const unsigned received = fault_calls(FAULT_RECV) - cost.received_then;
    cost.turn_parsed = parsed > cost.turn_parsed ? parsed : cost.turn_parsed;
    cost.turn_received = received > cost.turn_received ? received : cost.turn_received;
    cost.parsed_then = cost.parsed;
    cost.received_then = fault_calls(FAULT_RECV);
}

/* ---- the upload ------------------------------------------------------------------------------------------------ */

static void chunk(size_t size, unsigned zeros, unsigned extension)
{
    char *to = up.wire + up.nwire;
    for (unsigned i = 0; i < zeros; i++)
        *to++ = '0';
    to += snprintf(to, LINE / 2, "%zx", size);
    if (extension > 0) {
        *to++ = ';';
        memset(to, 'e', extension - 1);
        to += extension - 1;
    }
    *to++ = '\r';
    *to++ = '\n';
    for (size_t i = 0; i < size; i++)
        *to++ = up.body[up.nbody++] = (char)('A' + (up.nbody * 7 + up.nbody / 23) % 61);
    if (size > 0) {
        *to++ = '\r';
        *to++ = '\n';
    }
    up.nwire = (size_t)(to - up.wire);
}

static void cook(tape *t, size_t most)
{
    up.nwire = up.nbody = up.dear = 0;
    up.seen = false;
    while (tape_left(t) > 0 && up.nwire < most) {
        const unsigned shape = tape_byte(t), detail = tape_byte(t), times = 1 + tape_word(t);
        const size_t size = (shape & 3) == 1 ? 1 + detail * 257u : 1 + detail % 8;
        const unsigned zeros = (shape & 3) == 2 ? 4 + detail % 10 : 0;
        const unsigned extension = (shape & 3) == 3 ? 2 + (unsigned)size % 7 : 0;
        for (unsigned i = 0; i < times && up.nwire + size + 2 * LINE < most; i++) {
            chunk(extension > size ? extension : size, zeros, extension);
            up.dear += zeros > 0 || extension > 0 || size > FW_RECEIVE / 2;
        }
    }
    chunk(0, 0, 0);
    memcpy(up.wire + up.nwire, "\r\n", 2);
    up.nwire += 2;
}

static void check_body(loop_fixture *s, fw_conn *c)
{
    static char got[WIRE];
    fw_body *b = &c->req->body;
    MUST(b->len == up.nbody && (b->fd >= 0) == (b->len > s->cfg.body_memory));
    MUST(fw_body_read(b, got, sizeof got) == (ssize_t)up.nbody && memcmp(got, up.body, up.nbody) == 0);
    b->pos = 0;
    up.seen = true;
    loop_fixture_answer(s, c);
}

/* Sends the upload in pieces of at most `most` bytes; their number. */
static unsigned play(loop_fixture *s, int client, size_t most, uint32_t seed)
{
    unsigned pieces = 0;
    for (size_t at = 0; at < up.nwire; pieces++) {
        const size_t some = 1 + dice(&seed) % most, left = up.nwire - at;
        const ssize_t n = send(client, up.wire + at, some < left ? some : left, MSG_NOSIGNAL | MSG_DONTWAIT);
        MUST(n > 0 || errno == EAGAIN);
        at += n > 0 ? (size_t)n : 0;
        MUST(loop_fixture_run(s) == FW_NEXT_WAKE);
    }
    return pieces;
}

static void check_cost(unsigned pieces)
{
    const unsigned received = fault_calls(FAULT_RECV);
    const unsigned parsed_most = CALLS * (up.dear + received) + 16;
    const unsigned turn_most = CALLS * (FW_RECEIVE / SHORTEST + RECEIVES) + 16;
    const unsigned files = fault_calls(FAULT_OPEN) + fault_calls(FAULT_MKSTEMP);
    const bool bounded = fault_calls(FAULT_WRITE) <= up.nbody / GATHER + 3 && files <= 2 &&
                         received <= 2 * pieces + up.nwire / FW_RECEIVE + 8 && cost.parsed <= parsed_most &&
                         cost.turn_parsed <= turn_most && cost.turn_received <= RECEIVES + 1;
    if (!bounded) {
        fprintf(stderr, "%zu bytes in %u pieces, %zu decoded: %u receives, %u writes, %u files, %u of %u calls"
                        " of the parser; between two polls %u of %u, %u receives\n",
                up.nwire, pieces, up.nbody, received, fault_calls(FAULT_WRITE), files,
                cost.parsed, parsed_most, cost.turn_parsed, turn_most, cost.turn_received);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t MEMORY[] = {0, 1, 100, 4096, 40000, 65536, 100000, 1 << 20};
    static const size_t MOST[] = {65536, 7, 100, 200000};
    static char got[4096];
    if (size <= HEADER)
        return 0;
    const long blocks = blocks_in_use();
    const size_t most = MOST[data[1] & 3];
    const uint32_t seed = data[2] | (uint32_t)data[3] << 8 | 1;
    tape t = {data + HEADER, data + size};
    cook(&t, most * PIECES / 2 < WIRE ? most * PIECES / 2 : WIRE);

    fw_config cfg = defaults();
    cfg.body_memory = MEMORY[data[0] & 7];
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    fw_llhttp_api counted = *parser();
    counted.execute = counted_execute;
    s.loop->conns.api = &counted;
    s.app = check_body;
    const int client = loop_fixture_pair(&s, false, &c);
    SAY(client, HEAD);
    loop_fixture_run(&s);
    faults_clear();
    memset(&cost, 0, sizeof cost);
    fault_before(FAULT_EPOLL_WAIT, at_poll, NULL);
    const unsigned pieces = play(&s, client, most, seed);
    at_poll(NULL);
    check_cost(pieces);
    MUST(up.seen && hear(client, got, sizeof got) > 0);
    faults_clear();
    close(client);
    loop_fixture_close(&s);
    MUST(blocks_in_use() == blocks);
    return 0;
}
