/* process.c - the mark that a fork takes away. */
#include "system/process.h"
#include "fw.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    const long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

/* True if a child of this process will find the page empty. */
static bool wiped_on_fork(void *page, size_t n)
{
#if defined(MADV_WIPEONFORK)
    return madvise(page, n, MADV_WIPEONFORK) == 0;
#else
    (void)page;
    (void)n;
    return false;
#endif
}

int fw_process_open(fw_process **out)
{
    const size_t n = page_size();
    void *page = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    fw_process *p = page;
    p->pid = (uint32_t)getpid();
    p->here = wiped_on_fork(page, n);
    *out = p;
    return FW_OK;
}

void fw_process_close(fw_process *p)
{
    if (p != NULL)
        munmap(p, page_size());
}

bool fw_process_ask(const fw_process *p)
{
    return p->pid == (uint32_t)getpid();
}
