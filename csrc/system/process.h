/* process.h - whether this is still the process that a loop was opened in, or a child that fork(2) has made of it.
 *
 * The application may fork, and its child comes back into frames that belong to the parent: it must not answer there.
 * getpid(2) is a system call, which is too dear to be made several times for every request. So the answer is a mark in a
 * page that the kernel empties in a child (MADV_WIPEONFORK, Linux 4.14): one load. Where the system does not do that,
 * the mark is never set, and getpid is asked.
 *
 * It makes no difference who forks: Python, a C extension, a call of clone(2) without CLONE_VM. A child of vfork shares
 * all memory with its parent, and must not return from where it was made anyway.
 */
#ifndef FW_PROCESS_H
#define FW_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fw_process { /* in a page of its own */
    volatile uint32_t here; /* 1: in the process that opened it; 0: in a child, or the system does not tell */
    uint32_t pid;           /* of that process; 0 in a child where the page is emptied */
} fw_process;

/* Notes that the caller's process is the one. FW_OK or -errno; `*out` is set on success only. */
int fw_process_open(fw_process **out);

/* NULL is allowed. */
void fw_process_close(fw_process *p);

/* The answer where the mark does not give it: a child, or a system that does not empty pages. */
bool fw_process_ask(const fw_process *p);

/* True in the process that has opened `p`, false in every child. */
static inline bool fw_process_is_own(const fw_process *p)
{
    return p->here != 0 || fw_process_ask(p);
}

#endif
