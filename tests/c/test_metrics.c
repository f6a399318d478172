/* test_metrics.c - counting by method and class, into buckets and by route. */
#include "harness.h"
#include "observe/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fw_metrics *opened(void)
{
    fw_metrics *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->nbounds = 3;
    m->bounds[0] = 1000;
    m->bounds[1] = 2000;
    m->bounds[2] = 5000;
    return m;
}

static void responses_count_by_method_and_class(void)
{
    static const struct {
        uint8_t id;
        int status;
        unsigned method, class;
    } CASES[] = {{1, 200, 1, 2}, {0, 404, 0, 4}, {6, 204, 5, 2}, {28, 503, 6, 5}, {9, 302, 7, 3}, {1, 0, 1, 0}};
    fw_metrics *m = opened();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const fw_request r = {.method = {0, 3}, .method_id = CASES[i].id};
        fw_metrics_answered(m, &r, CASES[i].status, 0);
        CHECK_INT(m->answered[CASES[i].method][CASES[i].class], 1);
        if (CASES[i].status != 0)
            CHECK_INT(m->statuses[CASES[i].status - 100], 1);
    }
    fw_metrics_answered(m, NULL, 200, 0); /* its client is gone, and its request with it */
    CHECK_INT(m->answered[7][2], 1);
    fw_metrics_answered(m, NULL, 7777, 0);
    CHECK_INT(m->answered[7][0], 1);
    free(m);
}

static uint64_t all(const fw_histogram *h)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= FW_BOUNDS; i++)
        n += h->counts[i];
    return n;
}

static void a_quick_request_is_in_the_first_bucket_of_all(void)
{
    fw_metrics *m = opened();
    fw_timing t = {.complete = 100, .pulled = 150};
    fw_metrics_handed_over(m, &t, 600, true);
    CHECK_INT(m->quick, 1);
    CHECK_INT(m->queue.sum, 50);
    CHECK_INT(m->application.sum, 450);
    CHECK_INT(m->send.sum, 0);
    CHECK_INT(m->total.sum, 500);
    CHECK_INT(all(&m->total), 0);
    free(m);
}

static void a_slow_request_is_in_the_bucket_of_each_time(void)
{
    fw_metrics *m = opened();
    fw_timing t = {.complete = 1000, .pulled = 2500, .handed_over = 7500, .waited = 500};
    fw_metrics_handed_over(m, &t, 8000, false);
    CHECK_INT(m->quick, 0);
    CHECK_INT(m->queue.counts[1], 1);       /* 1500 */
    CHECK_INT(m->application.counts[2], 1); /* 4500: waiting for the client is none of it */
    CHECK_INT(all(&m->send), 0);
    fw_metrics_sent(m, &t, 9000);
    CHECK_INT(m->send.counts[1], 1); /* 1500 and 500 */
    CHECK_INT(m->total.counts[3], 1); /* 8000, above all bounds */
    CHECK_INT(m->queue.sum + m->application.sum + m->send.sum, m->total.sum);
    free(m);
}

static void a_bound_belongs_to_its_bucket(void)
{
    fw_metrics *m = opened();
    fw_timing t = {.complete = 1000, .pulled = 3000};
    fw_metrics_handed_over(m, &t, 8000, true);
    CHECK_INT(m->queue.counts[1], 1);
    CHECK_INT(m->application.counts[2], 1);
    free(m);
}

static void routes_have_places_and_the_last_is_for_all_others(void)
{
    fw_metrics *m = opened();
    char name[32];
    CHECK_INT(fw_metrics_route(m, "", 0), 0);
    for (int i = 0; i < 150; i++) {
        const int n = snprintf(name, sizeof name, "/r%d", i);
        CHECK_INT(fw_metrics_route(m, name, (size_t)n), i < FW_ROUTES ? i + 1 : FW_ROUTES);
    }
    CHECK_INT(fw_metrics_route(m, "/r1", 3), 2);
    CHECK_INT(strcmp(m->routes[FW_ROUTES - 1].name, "other"), 0);
    const fw_request r = {.method = {0, 3}, .method_id = 1};
    fw_metrics_answered(m, &r, 200, 2);
    CHECK_INT(m->routes[1].answered[1][2], 1);
    CHECK_INT(m->answered[1][2], 1);
    fw_timing t = {.complete = 1, .pulled = 1, .route = 2};
    fw_metrics_handed_over(m, &t, 11, true);
    CHECK_INT(m->routes[1].application.counts[0], 1);
    free(m);
}

static void a_long_name_is_cut_between_two_characters(void)
{
    fw_metrics *m = opened();
    char name[200];
    memset(name, 'x', sizeof name);
    memcpy(name + FW_ROUTE_NAME - 2, "\xc3\xa4", 2); /* its second byte has no room */
    CHECK_INT(fw_metrics_route(m, name, sizeof name), 1);
    CHECK_INT(strlen(m->routes[0].name), FW_ROUTE_NAME - 2);
    CHECK_INT(fw_metrics_route(m, name, sizeof name), 1);
    free(m);
}

static void refusals_count_by_reason_and_class(void)
{
    fw_metrics *m = opened();
    CHECK_INT(fw_metrics_reason(414), FW_REFUSED_LINE_SIZE);
    CHECK_INT(fw_metrics_reason(418), FW_REFUSED_OTHER);
    fw_metrics_refused(m, NULL, 503, FW_REFUSED_QUEUE);
    CHECK_INT(m->refused[FW_REFUSED_QUEUE], 1);
    CHECK_INT(m->refused_requests[7][5], 1);
    free(m);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(responses_count_by_method_and_class),
        T(a_quick_request_is_in_the_first_bucket_of_all),
        T(a_slow_request_is_in_the_bucket_of_each_time),
        T(a_bound_belongs_to_its_bucket),
        T(routes_have_places_and_the_last_is_for_all_others),
        T(a_long_name_is_cut_between_two_characters),
        T(refusals_count_by_reason_and_class),
    };
    return RUN_TESTS(tests);
}
