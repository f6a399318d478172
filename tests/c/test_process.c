/* test_process.c - the mark that a fork takes away. */
#include "harness.h"
#include "process.h"

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

static void where_no_mark_can_be_set_the_system_is_asked(void)
{
    fw_process *p = NULL;
    CHECK_INT(fw_process_open(&p), FW_OK);
    p->here = 0;
    CHECK(fw_process_is_own(p));
    CHECK_INT(asked_in_a_child(p), 2);
    fw_process_close(p);
    fw_process_close(NULL);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(only_the_process_that_opened_it_is_its_own),
        T(where_no_mark_can_be_set_the_system_is_asked),
    };
    return RUN_TESTS(TESTS);
}
