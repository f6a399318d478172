/* test_conn_moves.c - the table of a connection's moves, and what an illegal move does to a build that is no debug build.
 *
 * conn.c is a part of this program, so that its table and move() can be seen; the archive's is then not linked.
 */
#undef FW_DEBUG
#include "../../csrc/io/conn.c"

#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void every_state_can_be_reached_and_all_but_the_last_left(void)
{
    unsigned reached = 1u << FW_STATE_OPEN, left = 0;
    for (int round = 0; round < FW_STATES; round++) {
        for (int what = 0; what < EVENTS; what++) {
            left |= MOVES[what].from;
            if ((MOVES[what].from & reached) != 0)
                reached |= 1u << MOVES[what].to;
        }
    }
    CHECK_INT(reached, (1u << FW_STATES) - 1);
    CHECK_INT(left, reached & ~(1u << FW_STATE_CLOSED));
}

static void nothing_leads_back_to_the_beginning(void)
{
    for (int what = 0; what < EVENTS; what++)
        CHECK(MOVES[what].from != 0 && MOVES[what].to != FW_STATE_OPEN);
}

static void the_loop_ends_no_connection_that_waits_for_a_thread(void)
{
    CHECK_INT(MOVES[EV_ENDED].from & (1u << FW_STATE_READY | 1u << FW_STATE_SUSPENDED), 0);
}

/* ---- illegal moves ---------------------------------------------------------------------------------------------- */

static bool ended(int client)
{
    char byte;
    return recv(client, &byte, 1, MSG_DONTWAIT) == 0;
}

static void an_illegal_move_closes_an_idle_connection(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    fw_conns *cs = &s.loop->conns;
    CHECK(!move(cs, c, EV_DRAINED));
    CHECK_INT(c->state, FW_STATE_CLOSED);
    CHECK_INT(cs->illegal_moves, 1);
    CHECK_INT(cs->stats.connections, 0);
    CHECK(ended(client));
    CHECK(!move(cs, c, EV_HEAD)); /* closed already: nothing more comes of it */
    CHECK_INT(cs->illegal_moves, 2);
    loop_fixture_run(&s);
    close(client);
    loop_fixture_close(&s);
}

static void an_illegal_move_of_a_waiting_request_or_a_lent_connection_ends_it_when_it_comes_back(void)
{
    const fw_config cfg = defaults();
    for (int lent = 0; lent < 2; lent++) {
        loop_fixture s;
        fw_conn *c;
        loop_fixture_open(&s, &cfg);
        const int client = loop_fixture_pair(&s, false, &c);
        fw_conns *cs = &s.loop->conns;
        SAY(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        fw_conn_event(cs, c, FW_EVENT_IN);
        CHECK_INT(c->state, FW_STATE_READY);
        if (lent)
            CHECK(fw_conn_pull(cs, &s.thread->owner, true) == c);
        const int state = c->state;
        CHECK(!move(cs, c, lent ? EV_PULLED : EV_ENDED));
        CHECK_INT(c->state, state);
        CHECK(c->broken);
        if (lent)
            fw_conn_finish(cs, c, true, false, false);
        else
            CHECK(fw_conn_pull(cs, &s.thread->owner, true) == NULL && cs->stats.gone == 1);
        CHECK_INT(cs->stats.connections, 0);
        CHECK(ended(client));
        close(client);
        loop_fixture_close(&s);
    }
}

static void an_illegal_move_of_a_held_response_leaves_it_in_its_list(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    fw_conns *cs = &s.loop->conns;
    atomic_store(&cs->held_most, FW_HELD);
    SAY(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    fw_conn_event(cs, c, FW_EVENT_IN);
    CHECK(fw_conn_pull(cs, &s.thread->owner, true) == c);
    CHECK_INT(fw_outq_copy(&c->out, &s.thread->cache, "x", 1), FW_OK);
    fw_conn_finish(cs, c, true, false, true);
    CHECK(c->held);
    CHECK(!move(cs, c, EV_PULLED));
    CHECK(c->broken && c->state == FW_STATE_FLUSH);
    fw_conns_release(cs, &s.thread->cache, &cs->stats.bytes_out);
    CHECK_INT(cs->stats.connections, 0);
    CHECK(ended(client));
    close(client);
    loop_fixture_close(&s);
}

static void a_request_that_becomes_ready_is_in_no_other_list(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    fw_conns *cs = &s.loop->conns;
    postpone(cs, c);
    ready(cs, c);
    CHECK_INT(c->state, FW_STATE_CLOSED);
    CHECK_INT(cs->nready, 0);
    CHECK_INT(cs->illegal_moves, 1);
    fw_conns_again(cs);
    fw_conns_reap(cs);
    close(client);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(every_state_can_be_reached_and_all_but_the_last_left),
        T(nothing_leads_back_to_the_beginning),
        T(the_loop_ends_no_connection_that_waits_for_a_thread),
        T(an_illegal_move_closes_an_idle_connection),
        T(an_illegal_move_of_a_waiting_request_or_a_lent_connection_ends_it_when_it_comes_back),
        T(an_illegal_move_of_a_held_response_leaves_it_in_its_list),
        T(a_request_that_becomes_ready_is_in_no_other_list),
    };
    return RUN_TESTS(TESTS);
}
