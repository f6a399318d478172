/* test_siblings.c - who takes a connection: two workers on one listener, and a page that the test writes the others in. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 4
#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

typedef struct page {
    fw_siblings_page *page;
    int bells[SLOTS];
} page;

static void page_open(page *p)
{
    CHECK((p->page = calloc(1, fw_siblings_size(SLOTS))) != NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        CHECK((p->bells[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
}

static void page_close(page *p)
{
    for (unsigned i = 0; i < SLOTS; i++)
        close(p->bells[i]);
    free(p->page);
}

/* A sibling that the test plays. */
static fw_sibling *play(page *p, unsigned slot, uint32_t connections, bool away)
{
    fw_siblings s = {0};
    fw_siblings_init(&s, p->page, p->bells, slot);
    s.own->pid = 1;
    s.own->connections = connections;
    s.own->away = away;
    return s.own;
}

static bool rung(const page *p, unsigned slot)
{
    uint64_t n;
    return read(p->bells[slot], &n, sizeof n) == sizeof n;
}

/* ---- the choice ------------------------------------------------------------------------------------------------ */

static void the_best_is_free_and_has_the_fewest_connections(void)
{
    static const struct {
        uint32_t mine;
        bool away;
        struct {
            uint32_t connections;
            bool away;
        } others[3];
        int expected;
    } cases[] = {
        {0, false, {{0, false}, {0, false}, {0, false}}, -1},
        {1, false, {{0, false}, {0, false}, {0, false}}, -1},
        {2, false, {{1, false}, {1, false}, {1, false}}, -1},
        {2, false, {{1, false}, {0, false}, {1, false}}, 2},
        {9, false, {{5, false}, {3, false}, {4, false}}, 2},
        {9, false, {{0, true}, {7, false}, {8, false}}, 2},
        {9, false, {{0, true}, {8, false}, {9, false}}, -1},
        {9, false, {{0, true}, {0, true}, {0, true}}, -1},
        {0, true, {{50, false}, {0, true}, {60, false}}, 1},
        {0, true, {{0, true}, {0, true}, {0, true}}, -1},
        {2, true, {{1, true}, {1, true}, {0, true}}, 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        page p;
        fw_siblings s = {0};
        trying("case %zu", i);
        page_open(&p);
        fw_siblings_init(&s, p.page, p.bells, 0);
        fw_siblings_enter(&s);
        fw_siblings_set_away(&s, cases[i].away);
        for (unsigned k = 0; k < 3; k++)
            play(&p, k + 1, cases[i].others[k].connections, cases[i].others[k].away);
        CHECK_INT(fw_siblings_choose(&s, cases[i].mine, 1000), cases[i].expected);
        page_close(&p);
    }
}

static void a_sibling_that_does_not_accept_is_not_chosen(void)
{
    page p;
    fw_siblings s = {0};
    page_open(&p);
    fw_siblings_init(&s, p.page, p.bells, 3);
    fw_sibling *other = play(&p, 1, 0, false);
    CHECK_INT(fw_siblings_choose(&s, 9, 1000), 1);
    other->pid = 0;
    CHECK_INT(fw_siblings_choose(&s, 9, 1000), -1);
    page_close(&p);
}

static void a_sibling_that_does_not_hear_is_not_chosen_until_it_has_heard(void)
{
    page p;
    fw_siblings s = {0}, deaf = {0};
    page_open(&p);
    fw_siblings_init(&s, p.page, p.bells, 0);
    fw_siblings_init(&deaf, p.page, p.bells, 1);
    play(&p, 1, 0, false);
    fw_siblings_ring(&s, 1, 1000);
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_MS - 1), 1);
    fw_siblings_ring(&s, 1, 1000 + FW_LEAVE_MS - 1); /* the first ring counts */
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_MS), -1);
    fw_siblings_set_away(&s, true); /* somebody who cannot serve it himself is more patient */
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_MS), 1);
    play(&p, 2, 100, false);
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_MS), 2);
    p.page->slots[2].pid = 0;
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_AWAY_MS), -1);
    fw_siblings_set_away(&s, false);
    fw_siblings_hear(&deaf, p.bells[1]);
    CHECK_INT(fw_siblings_choose(&s, 9, 1000 + FW_LEAVE_AWAY_MS), 1);
    page_close(&p);
}

static void a_bell_that_nobody_hears_does_not_block(void)
{
    page p;
    int ends[2];
    fw_siblings s = {0};
    page_open(&p);
    CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    const int before = p.bells[1];
    p.bells[1] = ends[1]; /* where there is no eventfd */
    fw_siblings_init(&s, p.page, p.bells, 0);
    play(&p, 1, 0, false);
    for (int i = 0; i < 10000; i++)
        fw_siblings_ring(&s, 1, 1000);
    p.bells[1] = before;
    close(ends[0]);
    close(ends[1]);
    page_close(&p);
}

/* ---- loops ----------------------------------------------------------------------------------------------------- */

static void share(loop_fixture *s, page *p, unsigned slot)
{
    CHECK_INT(fw_loop_share(s->loop, p->page, p->bells, slot, p->bells[slot]), FW_OK);
}

static void take(loop_fixture *s, unsigned clients, int *fds)
{
    for (unsigned i = 0; i < clients; i++) {
        fds[i] = loop_fixture_client(s);
        loop_fixture_run(s);
    }
}

/* Lets time pass. The first run ends where the loop waits, and only then is the clock read. */
static void pass(loop_fixture *s, unsigned ms)
{
    clock_advance(ms);
    loop_fixture_run(s);
    loop_fixture_run(s);
}

static void close_all(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

static uint32_t connections_shown(const page *p, unsigned slot)
{
    return p->page->slots[slot].connections;
}

static void connections_are_shown_while_they_are_open(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    page_open(&p);
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 2);
    CHECK_INT(p.page->slots[2].pid, 0);
    loop_fixture_run(&s);
    CHECK_INT(p.page->slots[2].pid, getpid());
    int fds[3];
    take(&s, 3, fds);
    CHECK_INT(connections_shown(&p, 2), 3);
    close_all(fds, 3);
    loop_fixture_run(&s);
    CHECK_INT(connections_shown(&p, 2), 0);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    CHECK_INT(p.page->slots[2].pid, 0);
    loop_fixture_close(&s);
    page_close(&p);
}

static void what_is_left_is_taken_by_whoever_is_rung(void)
{
    const fw_config cfg = defaults();
    loop_fixture a, b;
    page p;
    int fds[3];
    page_open(&p);
    loop_fixture_open(&a, &cfg);
    loop_fixture_open(&b, &cfg);
    CHECK_INT(fw_loop_listen(b.loop, a.listener, true), 1);
    share(&a, &p, 0);
    loop_fixture_run(&a);
    take(&a, 2, fds);
    CHECK_INT(connections_shown(&p, 0), 2);
    share(&b, &p, 1);
    b.loop->siblings.takes_part = true; /* it runs, but does not poll yet */
    p.page->slots[1].pid = 1;
    take(&a, 1, fds + 2);
    CHECK_INT(connections_shown(&p, 0), 2);
    CHECK(!a.loop->accepting && a.loop->left_at != 0);
    loop_fixture_run(&b);
    CHECK_INT(connections_shown(&p, 1), 1);
    CHECK_INT(p.page->slots[1].rung_at, 0);
    pass(&a, FW_LEAVE_MS);
    CHECK(a.loop->accepting && a.loop->left_at == 0);
    CHECK_INT(connections_shown(&p, 0), 2);
    close_all(fds, 3);
    loop_fixture_close(&b);
    loop_fixture_close(&a);
    page_close(&p);
}

static void what_nobody_comes_for_is_taken_after_all(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fds[5];
    page_open(&p);
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    play(&p, 1, 0, false);
    loop_fixture_run(&s);
    take(&s, 3, fds);
    CHECK_INT(connections_shown(&p, 0), 2);
    pass(&s, FW_LEAVE_MS - 1);
    CHECK_INT(connections_shown(&p, 0), 2);
    pass(&s, 1);
    CHECK_INT(connections_shown(&p, 0), 3);
    take(&s, 2, fds + 3); /* the sibling is deaf: these wait for nothing */
    CHECK_INT(connections_shown(&p, 0), 5);
    CHECK(rung(&p, 1) && !rung(&p, 1));
    close_all(fds, 5);
    loop_fixture_close(&s);
    page_close(&p);
}

static void one_that_is_away_waits_longer_and_not_once_it_is_back(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fds[2];
    page_open(&p);
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    play(&p, 1, 0, false);
    loop_fixture_run(&s);
    for (int back = 0; back < 2; back++) {
        fw_siblings_set_away(&s.loop->siblings, true);
        take(&s, 1, fds + back);
        pass(&s, FW_LEAVE_MS);
        CHECK_INT(connections_shown(&p, 0), back);
        fw_siblings_set_away(&s.loop->siblings, !back);
        pass(&s, back ? FW_LEAVE_MS : FW_LEAVE_AWAY_MS);
        CHECK_INT(connections_shown(&p, 0), back + 1);
        p.page->slots[1].rung_at = 0;
    }
    close_all(fds, 2);
    loop_fixture_close(&s);
    page_close(&p);
}

static void nothing_is_timed_unless_something_was_left(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fds[2];
    page_open(&p);
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    play(&p, 1, 0, false);
    loop_fixture_run(&s);
    take(&s, 2, fds); /* after the second it would leave the next one, but there is none */
    CHECK(s.loop->accepting && s.loop->retry_at == 0 && !rung(&p, 1));
    fw_siblings_ring(&s.loop->siblings, 0, 1); /* nor after a bell for nothing */
    loop_fixture_run(&s);
    CHECK(s.loop->accepting && s.loop->retry_at == 0 && !rung(&p, 1));
    CHECK_INT(p.page->slots[0].rung_at, 0);
    close_all(fds, 2);
    loop_fixture_close(&s);
    page_close(&p);
}

static void a_stop_serves_what_was_left(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fds[3];
    char got[4096];
    bool end;
    page_open(&p);
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    play(&p, 1, 0, false);
    loop_fixture_run(&s);
    take(&s, 3, fds);
    CHECK_INT(connections_shown(&p, 0), 2);
    SAY(fds[2], GET);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    const size_t n = loop_fixture_hear(&s, fds[2], got, sizeof got, 99, &end);
    CHECK(end && responses_in(got, n) == 1);
    close_all(fds, 3);
    loop_fixture_close(&s);
    page_close(&p);
}

static void a_stop_tries_again_when_there_was_no_room_to_pass_on(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fd, ends[2];
    page_open(&p);
    CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends), 0);
    while (send(ends[0], "full", 4, 0) == 4)
        ;
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    fw_loop_connect(s.loop, ends[0], ends[1]);
    play(&p, 1, 9, false);
    loop_fixture_run(&s);
    take(&s, 1, &fd);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    loop_fixture_run(&s);
    CHECK_INT(connections_shown(&p, 0), 1); /* there is no room for it */
    CHECK(s.loop->pass_at > s.loop->conns.now);
    close(fd);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    loop_fixture_close(&s);
    close(ends[0]);
    close(ends[1]);
    page_close(&p);
}

static void a_worker_that_is_full_is_not_left_anything(void)
{
    fw_config cfg = defaults();
    loop_fixture s;
    page p;
    int fds[2];
    page_open(&p);
    cfg.max_connections = 1;
    loop_fixture_open(&s, &cfg);
    share(&s, &p, 0);
    loop_fixture_run(&s);
    take(&s, 2, fds);
    CHECK_INT(p.page->slots[0].pid, 0);
    close(fds[0]);
    loop_fixture_run(&s);
    CHECK_INT(connections_shown(&p, 0), 1); /* the other one */
    close(fds[1]);
    loop_fixture_run(&s);
    CHECK_INT(p.page->slots[0].pid, getpid());
    loop_fixture_close(&s);
    page_close(&p);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(the_best_is_free_and_has_the_fewest_connections),
        T(a_sibling_that_does_not_accept_is_not_chosen),
        T(a_sibling_that_does_not_hear_is_not_chosen_until_it_has_heard),
        T(a_bell_that_nobody_hears_does_not_block),
        T(connections_are_shown_while_they_are_open),
        T(what_is_left_is_taken_by_whoever_is_rung),
        T(what_nobody_comes_for_is_taken_after_all),
        T(one_that_is_away_waits_longer_and_not_once_it_is_back),
        T(nothing_is_timed_unless_something_was_left),
        T(a_stop_serves_what_was_left),
        T(a_stop_tries_again_when_there_was_no_room_to_pass_on),
        T(a_worker_that_is_full_is_not_left_anything),
    };
    return RUN_TESTS(tests);
}
