/* test_budget.c - how long a request is worth answering, and what proxies say of it. */
#include "harness.h"
#include "http/budget.h"

#define NOW UINT64_C(1700000000000000) /* us since 1970 */
#define NONE 0xFFFFFFFFu

/* What is left of the budget for a request with these lines, in memory that ends where the head ends; NONE: it has none. */
static uint32_t left(const fw_budgets *b, const char *lines)
{
    fw_config cfg = defaults();
    char *head = malloc(strlen(lines) + 64);
    CHECK(head != NULL);
    const int n = snprintf(head, strlen(lines) + 64, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    char *exact = malloc((size_t)n);
    CHECK(exact != NULL);
    memcpy(exact, head, (size_t)n);
    fw_request *r = fw_request_open(parser(), &cfg);
    CHECK(r != NULL);
    CHECK_INT(fw_request_parse(r, exact, (size_t)n), FW_PARSE_DONE);
    fw_budget_read(b, r);
    uint32_t ms;
    if (!fw_budget_left(b, r, NOW, &ms))
        ms = NONE;
    fw_request_close(r);
    free(exact);
    free(head);
    return ms;
}

static const struct {
    const char *lines;
    uint32_t left;
} OF_TEN_SECONDS[] = {
    {"", 10000},
    {"X-Request-Start: t=1699999998\r\n", 8000},
    {"X-Request-Start: 1699999998\r\n", 8000},
    {"X-Request-Start: t=1699999998.25\r\n", 8250},
    {"X-Request-Start: t=1699999998.2500009\r\n", 8250},
    {"X-Request-Start: t=1699999998250\r\n", 8250},
    {"X-Request-Start: 1699999998250.5\r\n", 8251},
    {"X-Request-Start: t=1699999998250000\r\n", 8250},
    {"X-Request-Start: 1699999998250000000\r\n", 8250},
    {"x-queue-start: t=1699999999\r\n", 9000},
    {"X-Queue-Start: 1699999999\r\nX-Request-Start: 1699999998\r\n", 8000}, /* the earliest */
    {"X-Request-Start: 1699999998\r\nX-Request-Start: 1699999999\r\n", 8000},
    {"X-Request-Start: 1699999999, 1699999998 ,1699999999\r\n", 8000},
    {"X-Request-Start: nonsense,1699999998,\r\n", 8000},
    {"X-Request-Start: 1699999990\r\n", 0},
    {"X-Request-Start: 1699999000\r\n", 0},
    {"X-Request-Start: 1699996400\r\n", 0},
    {"X-Request-Start: 1699996399\r\n", 10000}, /* more than an hour ago: another clock */
    {"X-Request-Start: 1700000005\r\n", 10000}, /* has not been yet */
    {"X-Request-Start: 0\r\n", 10000},
    {"X-Request-Start: \r\n", 10000},
    {"X-Request-Start: t=\r\n", 10000},
    {"X-Request-Start: t\r\n", 10000},
    {"X-Request-Start: ,,\r\n", 10000},
    {"X-Request-Start: -1699999998\r\n", 10000},
    {"X-Request-Start: 1699999998x\r\n", 10000},
    {"X-Request-Start: 1699999998.\r\n", 10000},
    {"X-Request-Start: t=t=1699999998\r\n", 10000},
    {"X-Request-Start: 99999999999999999999\r\n", 10000},
    {"X-Request-Start: 18446744073709551616\r\n", 10000},
    {"X-Request-Starts: 1699999998\r\n", 10000},
    {"X-Wait: 2\r\n", 2000},
    {"X-Wait: 20\r\n", 20000},
    {"X-Wait: 2.5\r\n", 2500},
    {"X-Wait: 2.5s\r\n", 2500},
    {"X-Wait: 2500ms\r\n", 2500},
    {"X-Wait: 0.001\r\n", 1},
    {"X-Wait: 5\r\nX-Wait: 3\r\nX-Wait: 4\r\n", 3000}, /* the least */
    {"X-Wait: 5\r\nX-Request-Start: 1699999998\r\n", 3000},
    {"X-Wait: 1\r\nX-Request-Start: 1699999998\r\n", 0},
    {"X-Wait: 0\r\n", 10000}, /* says nothing */
    {"X-Wait: 0.0\r\n", 10000},
    {"X-Wait: -1\r\n", 10000},
    {"X-Wait: 5m\r\n", 10000},
    {"X-Wait: 5 s\r\n", 10000},
    {"X-Wait: soon\r\n", 10000},
    {"X-Wait: 4294967\r\n", 0xFFFFFFFF},
    {"X-Wait: 9999999999999999999\r\n", 0xFFFFFFFF},
    {"X-Wait-Ms: 5\r\n", 10000},
};

static void fields_of_proxies_tell_what_is_left(void)
{
    const fw_budgets b = {.ms = 10000, .field = {"x-wait", 6, FW_NAME_UNKNOWN}};
    for (size_t i = 0; i < COUNT(OF_TEN_SECONDS); i++) {
        trying("%s", OF_TEN_SECONDS[i].lines);
        CHECK_INT(left(&b, OF_TEN_SECONDS[i].lines), OF_TEN_SECONDS[i].left);
    }
}

static void a_name_says_that_it_has_milliseconds(void)
{
    const fw_budgets b = {.field = {"x-envoy-expected-rq-timeout-ms", 30, FW_NAME_UNKNOWN}};
    CHECK_INT(left(&b, "X-Envoy-Expected-Rq-Timeout-Ms: 2500\r\n"), 2500);
    CHECK_INT(left(&b, "X-Envoy-Expected-Rq-Timeout-Ms: 2500ms\r\n"), 2500);
    CHECK_INT(left(&b, "X-Envoy-Expected-Rq-Timeout-Ms: 2s\r\n"), 2000);
    CHECK_INT(left(&b, "X-Envoy-Expected-Rq-Timeout-Ms: 4294967295\r\n"), 0xFFFFFFFF);
}

static void a_known_name_may_be_the_field(void)
{
    const fw_budgets b = {.field = {"priority", 8, FW_NAME_PRIORITY}};
    CHECK_INT(left(&b, "Priority: 3\r\n"), 3000);
    CHECK_INT(left(&b, "Priority: u=3\r\n"), NONE);
}

static void without_a_budget_a_start_means_nothing(void)
{
    const fw_budgets b = {.field = {"x-wait", 6, FW_NAME_UNKNOWN}};
    CHECK_INT(left(&b, ""), NONE);
    CHECK_INT(left(&b, "X-Request-Start: 1699999998\r\n"), NONE);
    CHECK_INT(left(&b, "X-Wait: 3\r\n"), 3000);
    const fw_budgets only = {.ms = 10000};
    CHECK_INT(left(&only, "X-Wait: 3\r\n"), 10000);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(fields_of_proxies_tell_what_is_left),
        T(a_name_says_that_it_has_milliseconds),
        T(a_known_name_may_be_the_field),
        T(without_a_budget_a_start_means_nothing),
    };
    return RUN_TESTS(TESTS);
}
