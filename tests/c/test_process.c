/* test_process.c - the mark that a fork takes away. */
#include "harness.h"
#include "system/process.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child answers, by its exit code. */
static int asked_in_a_child(const fw_process *p)
{
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(fw_process_is_own(p) ? 1 : 2);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_the_process_that_opened_it_is_its_own(void)
{
    fw_process *p = NULL;
    CHECK_INT(fw_process_open(&p), FW_OK);
    CHECK(fw_process_is_own(p));
    CHECK_INT(asked_in_a_child(p), 2);
    CHECK(fw_process_is_own(p)); /* a child takes nothing from its parent */
    fw_process_close(p);
}

static void a_child_may_have_one_of_its_own_and_a_grandchild_is_another_process(void)
{
    fw_process *p = NULL;
    CHECK_INT(fw_process_open(&p), FW_OK);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        fw_process *own = NULL;
        bool right = fw_process_open(&own) == FW_OK && fw_process_is_own(own) && !fw_process_is_own(p);
        right = right && asked_in_a_child(own) == 2 && asked_in_a_child(p) == 2;
        _exit(right ? 0 : 1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    fw_process_close(p);
}

/* In memory that a child has a copy of, as where the system does not empty pages. */
static void where_no_mark_can_be_set_the_system_is_asked(void)
{
    const fw_process p = {.here = 0, .pid = (uint32_t)getpid()};
    CHECK(fw_process_is_own(&p));
    CHECK_INT(asked_in_a_child(&p), 2);
    CHECK(fw_process_is_own(&p));
    fw_process_close(NULL);
}

static void *fork_here(void *p)
{
    CHECK_INT(asked_in_a_child(p), 2);
    CHECK(fw_process_is_own(p));
    return NULL;
}

static void any_thread_may_fork(void)
{
    fw_process *p = NULL;
    pthread_t thread;
    CHECK_INT(fw_process_open(&p), FW_OK);
    CHECK_INT(pthread_create(&thread, NULL, fork_here, p), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    fw_process_close(p);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(only_the_process_that_opened_it_is_its_own),
        T(a_child_may_have_one_of_its_own_and_a_grandchild_is_another_process),
        T(where_no_mark_can_be_set_the_system_is_asked),
        T(any_thread_may_fork),
    };
    return RUN_TESTS(TESTS);
}
