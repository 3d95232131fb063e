/*
 * The control of disk.rs, loaded with LD_PRELOAD: nothing is ever synced, and the program is told that it was. A store that works
 * under it keeps its events in the page cache only, so a power cut must take them.
 *
 * The calls are made with syscall(2), so that nothing here calls itself. Files are opened without the flags by which each
 * write would be synced.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

int fsync(int fd) { return (void)fd, 0; }
int fdatasync(int fd) { return (void)fd, 0; }
int syncfs(int fd) { return (void)fd, 0; }
void sync(void) {}

static int opened(int dirfd, const char *name, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, dirfd, name, flags & ~(O_SYNC | O_DSYNC), mode);
}

#define MODE_OF(flags) mode_t mode = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE_OF(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int dirfd, const char *name, int flags, ...) { MODE_OF(flags) return opened(dirfd, name, flags, mode); }
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
