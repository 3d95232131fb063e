/*
 * Makes one call that changes the files below one directory fail. Loaded with LD_PRELOAD; `trial.rs` says which call.
 *
 *   BUSWAY_FAULTS_DIR    the directory, as the kernel names it (canonical, no slash at the end)
 *   BUSWAY_FAULTS_AT     the call that fails, counted from 1; 0: none. Then the number of calls is said at the end.
 *   BUSWAY_FAULTS_KIND   eio, enospc: the call does nothing and fails; short: a write is carried out by half
 *   BUSWAY_FAULTS_FULL   a file: while it is there, no write makes a file longer (ENOSPC), and others go through
 *
 * Calls are writes, changes of length, syncs, and opens that make a file. What is said goes to standard output, in one write:
 * "FAULT <file>" right before the call returns its error, so that it comes before whatever the program says of it; "CALLS <n>"
 * at the end. Syncs are counted and not carried out: nothing here loses power, and so a trial takes milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8 && sizeof(off_t) == 8, "the shim is written for 64-bit Linux");

enum { PARTS_MAX = 1024 };

static char directory[PATH_MAX], full[PATH_MAX];
static size_t directory_len;
static long target, calls;
static int error_number, halves;

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("BUSWAY_FAULTS_DIR"), *at = getenv("BUSWAY_FAULTS_AT"), *kind = getenv("BUSWAY_FAULTS_KIND");
    const char *switched = getenv("BUSWAY_FAULTS_FULL");
    if (!dir || !at || !kind || strlen(dir) >= PATH_MAX || (switched && strlen(switched) >= PATH_MAX)) return;
    target = atol(at);
    error_number = strcmp(kind, "enospc") == 0 ? ENOSPC : EIO;
    halves = strcmp(kind, "short") == 0;
    if (switched) strcpy(full, switched);
    strcpy(directory, dir);
    directory_len = strlen(dir);
}

__attribute__((destructor)) static void end(void) {
    char line[48];
    int len = snprintf(line, sizeof line, "CALLS %ld\n", __atomic_load_n(&calls, __ATOMIC_SEQ_CST));
    if (directory_len) syscall(SYS_write, 1, line, (size_t)len);
}

/* The name below the directory, by the kernel's word; NULL for a file elsewhere. */
static const char *below(int fd, char *path) {
    char link[40];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = directory_len ? syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1) : -1;
    errno = before;
    if (len < 0) return NULL;
    path[len] = 0;
    if (strncmp(path, directory, directory_len) != 0) return NULL;
    if (path[directory_len] == 0) return ".";
    return path[directory_len] == '/' ? path + directory_len + 1 : NULL;
}

static void say_fault(const char *name) {
    char line[PATH_MAX + 16];
    int len = snprintf(line, sizeof line, "FAULT %s\n", name);
    syscall(SYS_write, 1, line, (size_t)len);
}

/* Counts a call, and says whether it is the one. */
static int is_next(const char *name) {
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != target) return 0;
    say_fault(name);
    return 1;
}

static int fails(int fd) {
    char path[PATH_MAX];
    const char *name = below(fd, path);
    if (!name || !is_next(name)) return 0;
    errno = error_number;
    return 1;
}

/* ---- writing ---- */

static ssize_t carry_out(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    if (flags) return syscall(SYS_pwritev2, fd, parts, count, at, 0L, flags);
    return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0L);
}

static ssize_t carry_out_half(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    struct iovec some[PARTS_MAX];
    size_t len = 0, left;
    int used = 0;
    for (int i = 0; i < count; i++) len += parts[i].iov_len;
    for (left = len / 2; used < count && used < PARTS_MAX && left > 0; used++) {
        some[used] = parts[used];
        if (some[used].iov_len > left) some[used].iov_len = left;
        left -= some[used].iov_len;
    }
    return carry_out(fd, some, used, at, flags);
}

static int makes_longer(int fd, const struct iovec *parts, int count, off_t at) {
    struct stat about;
    int before = errno, is_full = full[0] && faccessat(AT_FDCWD, full, F_OK, 0) == 0;
    errno = before;
    if (!is_full || at < 0 || fstat(fd, &about) != 0) return 0;
    off_t end = at;
    for (int i = 0; i < count; i++) end += (off_t)parts[i].iov_len;
    return end > about.st_size;
}

static ssize_t tried_write(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    char path[PATH_MAX];
    const char *name = below(fd, path);
    if (!name) return carry_out(fd, parts, count, at, flags);
    if (makes_longer(fd, parts, count, at)) return say_fault(name), errno = ENOSPC, -1;
    if (!is_next(name)) return carry_out(fd, parts, count, at, flags);
    if (halves) return carry_out_half(fd, parts, count, at, flags);
    return errno = error_number, -1;
}

static ssize_t tried_bytes(int fd, const void *bytes, size_t len, off_t at) {
    struct iovec part = {(void *)bytes, len};
    return tried_write(fd, &part, 1, at, 0);
}

ssize_t write(int fd, const void *bytes, size_t len) { return tried_bytes(fd, bytes, len, -1); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return tried_write(fd, parts, count, -1, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return tried_bytes(fd, bytes, len, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return tried_write(fd, parts, count, at, 0); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return tried_write(fd, parts, count, at, flags);
}
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pwritev64v2(int, const struct iovec *, int, off_t, int) __attribute__((alias("pwritev2")));

/* ---- syncs and lengths; half of one is an error ---- */

static int tried_sync(int fd, long call) {
    char path[PATH_MAX];
    if (!below(fd, path)) return (int)syscall(call, fd);
    return fails(fd) ? -1 : 0;
}

int fsync(int fd) { return tried_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return tried_sync(fd, SYS_fdatasync); }
int ftruncate(int fd, off_t len) { return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len); }
int fallocate(int fd, int mode, off_t at, off_t len) {
    return fails(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}
int posix_fallocate(int fd, off_t at, off_t len) { return fallocate(fd, 0, at, len) == 0 ? 0 : errno; }
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));

/* ---- files that are made ---- */

static int tried_open(int dirfd, const char *name, int flags, mode_t mode) {
    struct stat about;
    int before = errno, is_new = directory_len && (flags & O_CREAT) && fstatat(dirfd, name, &about, 0) != 0;
    errno = before;
    if (is_new && strncmp(name, directory, directory_len) == 0 && is_next(name + directory_len + 1))
        return errno = error_number, -1;
    return (int)syscall(SYS_openat, dirfd, name, flags, mode);
}

#define MODE_OF(flags) mode_t mode = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE_OF(flags) return tried_open(AT_FDCWD, name, flags, mode); }
int openat(int dirfd, const char *name, int flags, ...) { MODE_OF(flags) return tried_open(dirfd, name, flags, mode); }
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
