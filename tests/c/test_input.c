/* test_input.c - received bytes: whose buffer they are in, what they amount to, and what stays for later. */
#include "faults.h"
#include "harness.h"
#include "io/input.h"
#include "spill.h"
#include "loop_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: cs\r\n\r\n"

typedef struct fixture {
    loop_fixture s;
    fw_conns *cs;
    fw_conn *c;
    int client;
} fixture;

/* A connection that the loop has not looked at: the test calls what conn.c would call. */
static void begin(fixture *f, size_t body_memory)
{
    fw_config cfg = defaults();
    cfg.body_memory = body_memory;
    int ends[2];
    loop_fixture_open(&f->s, &cfg);
    f->cs = &f->s.loop->conns;
    pair_open(ends, false);
    f->c = fw_conn_open(f->cs, ends[0], &f->s.local, NULL, 0);
    CHECK(f->c != NULL);
    f->client = ends[1];
}

static void end(fixture *f)
{
    close(f->client);
    loop_fixture_close(&f->s);
}

static enum fw_input take_in(fixture *f, const char *bytes)
{
    SAY(f->client, bytes);
    CHECK_INT(fw_input_receive(f->cs, f->c), strlen(bytes));
    return fw_input_parse(f->cs, f->c);
}

static unsigned buffers_at_rest(const fw_conns *cs)
{
    unsigned n = 0;
    for (const fw_buffer *b = cs->buffers; b != NULL; b = b->next)
        n++;
    return n;
}

/* ---- buffers --------------------------------------------------------------------------------------------------- */

static void nothing_there_leaves_no_buffer(void)
{
    fixture f;
    begin(&f, 1000);
    CHECK_INT(fw_input_receive(f.cs, f.c), FW_RETRY);
    CHECK(f.c->in == NULL);
    CHECK_INT(buffers_at_rest(f.cs), 1);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_EMPTY);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
    CHECK(shutdown(f.client, SHUT_WR) == 0);
    CHECK_INT(fw_input_receive(f.cs, f.c), 0);
    CHECK(f.c->eof && f.c->in == NULL);
    end(&f);
}

static void a_piece_of_a_head_moves_to_a_small_buffer(void)
{
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "GET /x HTTP/1.1\r\nHo"), FW_INPUT_HEAD);
    CHECK_INT(f.c->in->cap, FW_RECEIVE);
    const char *before = f.c->in->data;
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
    CHECK(f.c->in->data != before && f.c->in->cap == 512);
    CHECK_BYTES(f.c->in->data, f.c->in->len, "GET /x HTTP/1.1\r\nHo");
    CHECK_INT(buffers_at_rest(f.cs), 1);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK); /* nothing more to do */
    CHECK_INT(take_in(&f, "st: cs\r\n\r\n"), FW_INPUT_COMPLETE);
    CHECK_BYTES(fw_request_at(f.c->req, f.c->req->target), f.c->req->target.len, "/x");
    fw_input_next(f.cs, f.c);
    CHECK(f.c->in == NULL && f.c->req == NULL);
    end(&f);
}

static void a_head_larger_than_its_buffer_grows_it(void)
{
    fixture f;
    char field[200];
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "GET /x HTTP/1.1\r\nHost: cs\r\n"), FW_INPUT_HEAD);
    uint32_t length = 26;
    for (int i = 0; i < 60; i++) {
        CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
        length += (uint32_t)snprintf(field, sizeof field, "X-%d: %0150d\r\n", i, i);
        SAY(f.client, field);
        while (f.c->in->len < length)
            CHECK(fw_input_receive(f.cs, f.c) > 0);
        CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_HEAD);
    }
    CHECK(f.c->in->cap < 4 * length);
    CHECK_INT(take_in(&f, "\r\n"), FW_INPUT_COMPLETE);
    CHECK_INT(f.c->req->nfields, 61);
    CHECK_BYTES(fw_request_at(f.c->req, f.c->req->fields[60].name), f.c->req->fields[60].name.len, "X-59");
    end(&f);
}

static void few_buffers_are_kept_at_rest(void)
{
    enum { MANY = 10 };
    fixture f;
    int clients[MANY];
    fw_conn *conns[MANY];
    begin(&f, 1000);
    for (int i = 0; i < MANY; i++) {
        int ends[2];
        pair_open(ends, false);
        clients[i] = ends[1];
        conns[i] = fw_conn_open(f.cs, ends[0], &f.s.local, NULL, 0);
        SAY(clients[i], GET);
        CHECK(fw_input_receive(f.cs, conns[i]) > 0);
        CHECK_INT(fw_input_parse(f.cs, conns[i]), FW_INPUT_COMPLETE);
    }
    for (int i = 0; i < MANY; i++)
        fw_input_clear(f.cs, conns[i]);
    CHECK(buffers_at_rest(f.cs) <= 2);
    for (int i = 0; i < MANY; i++)
        close(clients[i]);
    end(&f);
}

static void what_lies_behind_a_request_stays(void)
{
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, GET GET "GET /half"), FW_INPUT_COMPLETE);
    fw_input_next(f.cs, f.c);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK); /* as when the owner waits: the request moves with its bytes */
    CHECK_BYTES(fw_request_at(f.c->req, f.c->req->target), f.c->req->target.len, "/x");
    fw_input_next(f.cs, f.c);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_HEAD);
    CHECK_INT(take_in(&f, " HTTP/1.1\r\nHost: cs\r\n\r\n"), FW_INPUT_COMPLETE);
    CHECK_BYTES(fw_request_at(f.c->req, f.c->req->target), f.c->req->target.len, "/half");
    end(&f);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------- */

static void a_body_that_is_here_is_borrowed_and_moves_along(void)
{
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 5\r\n\r\nhello" GET), FW_INPUT_COMPLETE);
    const fw_body *b = &f.c->req->body;
    CHECK(b->own == NULL && b->fd < 0);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
    CHECK(b->data > f.c->in->data && b->data < f.c->in->data + f.c->in->len);
    CHECK_BYTES(b->data, b->len, "hello");
    fw_input_next(f.cs, f.c);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
    end(&f);
}

static void a_body_in_memory_is_received_in_place(void)
{
    static char rest[60000];
    fixture f;
    begin(&f, 100000);
    memset(rest, 'r', sizeof rest);
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 60005\r\n\r\nhello"), FW_INPUT_BODY);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
    CHECK_INT(f.c->in->len, f.c->req->head_len); /* what is stored is not kept twice */
    say(f.client, rest, sizeof rest);
    SAY(f.client, GET); /* not part of it, and not read with it */
    unsigned reads = 0;
    while (fw_input_parse(f.cs, f.c) == FW_INPUT_BODY) {
        CHECK(fw_input_receive(f.cs, f.c) > 0);
        CHECK(++reads < 5);
    }
    CHECK_INT(f.c->req->body.len, 60005);
    CHECK(f.c->req->body.own != NULL && memcmp(f.c->req->body.own, "hellor", 6) == 0);
    fw_input_next(f.cs, f.c);
    CHECK(fw_input_receive(f.cs, f.c) == (ssize_t)sizeof GET - 1);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
    end(&f);
}

static void a_body_past_the_mark_is_held_in_memory_until_it_is_worth_a_write(void)
{
    static char rest[200000];
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 200005\r\n\r\nhello"), FW_INPUT_STORE);
    fw_body *b = &f.c->req->body;
    CHECK_INT(b->len, 0); /* nothing of it is taken before it is known that there can be a file */
    CHECK_INT(fault_calls(FAULT_OPEN), 0);
    CHECK_INT(spill(b, false, &f.cs->cfg), FW_OK);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_BODY);
    CHECK_INT(b->len, 5);
    say(f.client, rest, sizeof rest);
    enum fw_input what;
    while ((what = fw_input_parse(f.cs, f.c)) != FW_INPUT_COMPLETE) {
        if (what == FW_INPUT_STORE)
            CHECK_INT(spill(b, f.c->req->whole, &f.cs->cfg), FW_OK);
        else
            CHECK(fw_input_receive(f.cs, f.c) > 0);
        CHECK(b->cap <= fw_body_gather(&f.cs->cfg));
    }
    CHECK(b->fd >= 0 && b->stored == 200005 && b->len == 200005);
    CHECK(fault_calls(FAULT_WRITE) <= 8);
    end(&f);
}

static void a_chunked_body_ends_where_it_ends(void)
{
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"), FW_INPUT_BODY);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK);
    CHECK_INT(take_in(&f, "c\r\n0\r\nT: t\r\n"), FW_INPUT_BODY);
    CHECK_INT(take_in(&f, "\r\n" GET "GET"), FW_INPUT_COMPLETE);
    CHECK_BYTES(f.c->req->body.data, f.c->req->body.len, "abc");
    fw_input_next(f.cs, f.c);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
    CHECK_INT(f.c->req->framing, FW_FRAMING_NONE);
    fw_input_next(f.cs, f.c);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_HEAD);
    end(&f);
}

static void many_requests_behind_a_chunked_body_are_kept(void)
{
    static char bytes[20000];
    fixture f;
    begin(&f, 1000);
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"), FW_INPUT_BODY);
    CHECK_INT(fw_input_compact(f.cs, f.c), FW_OK); /* 512 bytes now, and thousands to come */
    size_t n = (size_t)snprintf(bytes, sizeof bytes, "c\r\n0\r\n\r\n");
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(bytes + n, sizeof bytes - n, "GET /%d HTTP/1.1\r\nHost: cs\r\n\r\n", i);
    CHECK_INT(take_in(&f, bytes), FW_INPUT_COMPLETE);
    for (int i = 0; i < 300; i++) {
        char target[16];
        fw_input_next(f.cs, f.c);
        CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
        snprintf(target, sizeof target, "/%d", i);
        CHECK_BYTES(fw_request_at(f.c->req, f.c->req->target), f.c->req->target.len, target);
    }
    fw_input_next(f.cs, f.c);
    CHECK(f.c->in == NULL);
    end(&f);
}

/* ---- failures -------------------------------------------------------------------------------------------------- */

static void what_is_thrown_away_leaves_nothing(void)
{
    fixture f;
    begin(&f, 1000);
    SAY(f.client, GET);
    CHECK_INT(fw_input_discard(f.cs, f.c), sizeof GET - 1);
    CHECK_INT(fw_input_discard(f.cs, f.c), FW_RETRY);
    CHECK(f.c->in == NULL && f.c->req == NULL);
    fw_input_clear_spares(f.cs);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM);
    CHECK_INT(fw_input_discard(f.cs, f.c), -ENOMEM);
    end(&f);
}

static void no_memory_is_told_wherever_it_is_short(void)
{
    fixture f;
    begin(&f, 1000);
    SAY(f.client, GET);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM); /* the receive buffer */
    CHECK_INT(fw_input_receive(f.cs, f.c), -ENOMEM);
    CHECK(fw_input_receive(f.cs, f.c) > 0);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM); /* the request */
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_EMPTY);
    CHECK(f.c->in != NULL && f.c->in->len > 0);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_COMPLETE);
    fw_input_next(f.cs, f.c);
    CHECK_INT(take_in(&f, "GET /x"), FW_INPUT_HEAD);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM); /* a buffer of its own */
    CHECK_INT(fw_input_compact(f.cs, f.c), -ENOMEM);
    CHECK_BYTES(f.c->in->data, f.c->in->len, "GET /x");
    fw_input_clear(f.cs, f.c);
    fault_fail(FAULT_MEMORY, 0, 1, ENOMEM); /* the body */
    CHECK_INT(take_in(&f, "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 50\r\n\r\n"), FW_INPUT_REFUSED);
    CHECK_INT(f.c->req->status, 503);
    CHECK_INT(fw_input_parse(f.cs, f.c), FW_INPUT_REFUSED); /* and stays so */
    end(&f);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(nothing_there_leaves_no_buffer),
        T(a_piece_of_a_head_moves_to_a_small_buffer),
        T(a_head_larger_than_its_buffer_grows_it),
        T(few_buffers_are_kept_at_rest),
        T(what_lies_behind_a_request_stays),
        T(a_body_that_is_here_is_borrowed_and_moves_along),
        T(a_body_in_memory_is_received_in_place),
        T(a_body_past_the_mark_is_held_in_memory_until_it_is_worth_a_write),
        T(a_chunked_body_ends_where_it_ends),
        T(many_requests_behind_a_chunked_body_are_kept),
        T(what_is_thrown_away_leaves_nothing),
        T(no_memory_is_told_wherever_it_is_short),
    };
    return RUN_TESTS(TESTS);
}
