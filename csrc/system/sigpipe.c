/* sigpipe.c - holding SIGPIPE back in one thread, for one call. */
#include "system/sigpipe.h"

#include <errno.h>
#include <pthread.h>

void fw_sigpipe_hold(fw_sigpipe *s)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    s->ours = pthread_sigmask(SIG_BLOCK, &pipe, &s->before) == 0 && !sigismember(&s->before, SIGPIPE);
}

void fw_sigpipe_drop(fw_sigpipe *s, bool raised)
{
    if (!s->ours) /* held back by the thread itself (the standby, say), whose business it stays */
        return;
    const int error = errno;
    sigset_t pending;
    if (raised && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE)) {
        sigset_t pipe;
        int taken;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        sigwait(&pipe, &taken);
    }
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    errno = error;
}
