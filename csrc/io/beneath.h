/* beneath.h - opening a file that lies below a folder, and nothing else.
 *
 * Rules:
 *  1. The names come from file_path.h: relative, with no dot segments.
 *  2. Where the kernel can (openat2, Linux 5.6), it resolves the name, and refuses what leads out of the folder. Elsewhere
 *     each segment is opened by itself, and a symbolic link is refused wherever it leads.
 *  3. What is no regular file is not opened for good: a FIFO or a device is closed again, and never waited for.
 */
#ifndef FW_BENEATH_H
#define FW_BENEATH_H

#include "fw.h"

enum fw_beneath {
    FW_BENEATH_CACHED, /* by the kernel, which can also say that it would have to wait for a disk (Linux 5.12) */
    FW_BENEATH_KERNEL, /* by the kernel */
    FW_BENEATH_WALK,   /* segment by segment */
};

/* What a file was when it was looked at. */
typedef struct fw_file_look {
    uint64_t size;
    int64_t modified; /* seconds since 1970 */
    uint32_t ns;      /* ... and the rest of it */
} fw_file_look;

/* Opens a folder; its descriptor or -errno. */
int fw_beneath_folder(const char *path);

/* How files below this folder can be opened. */
enum fw_beneath fw_beneath_how(int folder);

/* Opens a file and looks at it. Its descriptor; FW_RETRY: with `now`, it would have to wait for a disk, or nobody knows
 * whether it would; -EISDIR: it is a folder; -errno. */
int fw_beneath_open(int folder, enum fw_beneath how, const char *name, bool now, fw_file_look *look);

/* Looks again: whether it is as it was. */
bool fw_beneath_unchanged(int fd, const fw_file_look *look);

/* Reads up to `n` bytes from `offset` on, and fewer only at the end of the file or before what is not in memory. FW_RETRY:
 * with `now`, the first of them is not in memory, or nobody knows. -errno. */
ssize_t fw_beneath_read(int fd, char *to, size_t n, uint64_t offset, bool now);

#endif
