/* apps.c - stub applications whose responses are too large for one send. */
#include "apps.h"
#include "harness.h"

#define MOST_TURNS 300 /* an event that a sweep has swallowed does not come again */

char app_bytes[APP_LARGE];

/* As a worker without memory: nothing of the response is sent, or it breaks off. */
static void break_off(loop_fixture *s, fw_conn *c)
{
    loop_fixture_finish(s, c, false, true);
}

static bool queue(loop_fixture *s, fw_conn *c, const char *from, size_t n)
{
    app_state *a = s->data;
    if (fw_outq_ref(&c->out, &s->thread->cache, from, n, &a->owned) != FW_OK)
        return false;
    a->owned++;
    return true;
}

void app_large(loop_fixture *s, fw_conn *c)
{
    if (loop_fixture_head(s, c, APP_LARGE) && queue(s, c, app_bytes, APP_LARGE))
        loop_fixture_finish(s, c, c->req->keep_alive, false);
    else
        break_off(s, c);
}

void app_file(loop_fixture *s, fw_conn *c)
{
    app_state *a = s->data;
    if (loop_fixture_head(s, c, APP_LARGE) &&
        fw_outq_file(&c->out, &s->thread->cache, a->file, 0, APP_LARGE, &a->owned) == FW_OK) {
        a->owned++;
        loop_fixture_finish(s, c, c->req->keep_alive, false);
    } else {
        break_off(s, c);
    }
}

void app_stream(loop_fixture *s, fw_conn *c)
{
    app_state *a = s->data;
    if (c->turn == FW_TURN_REQUEST) {
        a->blocks = 0;
        if (!loop_fixture_head(s, c, APP_LARGE)) {
            break_off(s, c);
            return;
        }
    } else {
        CHECK(c->user == &a->token);
        a->left = c->out.bytes > a->left ? c->out.bytes : a->left;
    }
    while (a->blocks < APP_BLOCKS) {
        if (!queue(s, c, app_bytes + a->blocks * APP_BLOCK, APP_BLOCK)) {
            break_off(s, c);
            return;
        }
        a->blocks++;
        int rc = fw_thread_pass(s->thread, c, a->blocks < APP_BLOCKS);
        if (rc == FW_RETRY) {
            fw_thread_suspend(s->thread, c, &a->token);
            return;
        }
        if (rc < 0) {
            break_off(s, c);
            return;
        }
    }
    loop_fixture_finish(s, c, true, false);
}

void app_write(loop_fixture *s, fw_conn *c)
{
    app_state *a = s->data;
    char sink[APP_BLOCK];
    if (!loop_fixture_head(s, c, APP_LARGE) || !queue(s, c, app_bytes, APP_LARGE)) {
        break_off(s, c);
        return;
    }
    a->rc = fw_thread_send(s->thread, c);
    while (a->rc == FW_RETRY) {
        a->rc = fw_thread_wait(s->thread, c);
        a->turns++;
        if (a->rc == FW_RETRY && (a->give_up || a->turns > MOST_TURNS)) {
            if (a->talks_on)
                CHECK_INT(fw_thread_send(s->thread, c), FW_RETRY);
            break_off(s, c);
            return;
        }
        while (a->client >= 0 && hear(a->client, sink, sizeof sink) > 0)
            ;
    }
    loop_fixture_finish(s, c, a->rc == FW_OK, a->rc != FW_OK);
}
