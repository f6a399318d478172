/* beneath.c - opening and reading files that lie below a folder. */
#include "io/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define READ (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#if defined(O_PATH)
#define FOLDER (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif
#define LONGEST 255 /* bytes of a segment */
#define TRIES 3     /* the kernel asks to try again if somebody renames folders meanwhile */

int fw_beneath_folder(const char *path)
{
    const int fd = open(path, FOLDER);
    return fd < 0 ? -errno : fd;
}

/* ---- by the kernel ----------------------------------------------------------------------------------------------- */

#if defined(__linux__)
#if !defined(SYS_openat2)
#define SYS_openat2 437
#endif
enum { NO_MAGICLINKS = 0x02, BENEATH = 0x08, CACHED = 0x20 }; /* linux/openat2.h, which may be older than the kernel */

typedef struct how {
    uint64_t flags, mode, resolve;
} how;

static int open_at(int folder, const char *name, int flags, unsigned resolve)
{
    how h = {.flags = (uint64_t)flags, .resolve = NO_MAGICLINKS | BENEATH | resolve};
    const long fd = syscall(SYS_openat2, folder, name, &h, sizeof h);
    return fd < 0 ? -errno : (int)fd;
}

static bool can(int folder, unsigned resolve)
{
    const int fd = open_at(folder, ".", FOLDER, resolve);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || fd == -EAGAIN;
}

enum fw_beneath fw_beneath_how(int folder)
{
    if (can(folder, CACHED))
        return FW_BENEATH_CACHED;
    return can(folder, 0) ? FW_BENEATH_KERNEL : FW_BENEATH_WALK;
}

static int open_by_kernel(int folder, const char *name)
{
    int fd = -EAGAIN;
    for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
        fd = open_at(folder, name, READ, 0);
    return fd;
}

static int open_cached(int folder, const char *name)
{
    const int fd = open_at(folder, name, READ, CACHED);
    return fd == -EAGAIN ? FW_RETRY : fd;
}
#else
enum fw_beneath fw_beneath_how(int folder)
{
    (void)folder;
    return FW_BENEATH_WALK;
}

static int open_by_kernel(int folder, const char *name)
{
    (void)folder, (void)name;
    return -ENOSYS;
}

static int open_cached(int folder, const char *name)
{
    return open_by_kernel(folder, name);
}
#endif

/* ---- segment by segment ------------------------------------------------------------------------------------------ */

static int open_one(int folder, const char *name, size_t n, int flags)
{
    char segment[LONGEST + 1];
    if (n == 0 || n > LONGEST)
        return -ENOENT;
    memcpy(segment, name, n);
    segment[n] = '\0';
    const int fd = openat(folder, segment, flags | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int walk(int folder, const char *name)
{
    int at = folder;
    for (;;) {
        const char *slash = strchr(name, '/');
        const size_t n = slash != NULL ? (size_t)(slash - name) : strlen(name);
        const int fd = open_one(at, name, n, slash != NULL ? FOLDER : READ);
        if (at != folder)
            close(at);
        if (fd < 0 || slash == NULL)
            return fd;
        at = fd;
        name = slash + 1;
    }
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static void note(fw_file_look *look, const struct stat *st)
{
    look->size = (uint64_t)st->st_size;
    look->modified = st->st_mtime;
#if defined(__APPLE__)
    look->ns = (uint32_t)st->st_mtimespec.tv_nsec;
#else
    look->ns = (uint32_t)st->st_mtim.tv_nsec;
#endif
}

static int look_at(int fd, fw_file_look *look)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    note(look, &st);
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    return S_ISREG(st.st_mode) ? FW_OK : -ENOENT;
}

int fw_beneath_open(int folder, enum fw_beneath how_to, const char *name, bool now, fw_file_look *look)
{
    int fd;
    if (now)
        fd = how_to == FW_BENEATH_CACHED ? open_cached(folder, name) : FW_RETRY;
    else
        fd = how_to == FW_BENEATH_WALK ? walk(folder, name) : open_by_kernel(folder, name);
    if (fd < 0)
        return fd;
    const int rc = look_at(fd, look);
    if (rc == FW_OK)
        return fd;
    close(fd);
    return rc;
}

bool fw_beneath_unchanged(int fd, const fw_file_look *look)
{
    fw_file_look now;
    return look_at(fd, &now) == FW_OK && now.size == look->size && now.modified == look->modified && now.ns == look->ns;
}

static ssize_t read_once(int fd, char *to, size_t n, uint64_t offset, bool now)
{
#if defined(RWF_NOWAIT)
    if (now) {
        struct iovec v = {.iov_base = to, .iov_len = n};
        return preadv2(fd, &v, 1, (off_t)offset, RWF_NOWAIT);
    }
#else
    if (now) {
        errno = EOPNOTSUPP;
        return -1;
    }
#endif
    return pread(fd, to, n, (off_t)offset);
}

ssize_t fw_beneath_read(int fd, char *to, size_t n, uint64_t offset, bool now)
{
    size_t got = 0;
    while (got < n) {
        const ssize_t m = read_once(fd, to + got, n - got, offset + got, now);
        if (m > 0)
            got += (size_t)m;
        else if (m == 0)
            break;
        else if (errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS)
            return got != 0 ? (ssize_t)got : FW_RETRY;
        else if (errno != EINTR)
            return -errno;
    }
    return (ssize_t)got;
}
