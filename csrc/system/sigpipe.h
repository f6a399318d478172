/* sigpipe.h - a write whose reader has gone is an error of that write, and never the end of the process.
 *
 * The interpreter ignores SIGPIPE, but an application may give the signal its default effect. send(2) can be told not to
 * raise it; sendfile(2) and write(2) to a pipe cannot. So the thread holds the signal back around such a call, and takes
 * the one that the call has raised. A thread that held it back for good would pass that on to each child of the
 * application, which would then never end by it.
 */
#ifndef FW_SIGPIPE_H
#define FW_SIGPIPE_H

#include "fw.h"

#include <signal.h>

typedef struct fw_sigpipe {
    sigset_t before; /* the thread's mask */
    bool ours;       /* it was not held back: one that pends is that of the call */
} fw_sigpipe;

void fw_sigpipe_hold(fw_sigpipe *s);

/* `raised`: the call may have raised it, as it has failed with EPIPE. Leaves errno as it is. */
void fw_sigpipe_drop(fw_sigpipe *s, bool raised);

#endif
