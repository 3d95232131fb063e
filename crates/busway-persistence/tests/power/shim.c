/*
 * Records what a program does to the files below one directory, in order, so that a power cut can be played at any
 * point of it. Loaded with LD_PRELOAD; `log.rs` reads what it writes and `volume.rs` says what survives.
 *
 *   BUSWAY_POWER_DIR      the directory, as the kernel names it (canonical, no slash at the end)
 *   BUSWAY_POWER_LOG      the file that the entries are appended to, outside of the directory
 *   BUSWAY_POWER_ACKS     a file outside of the directory: a write of "ACK n\n" to it becomes an entry
 *   BUSWAY_POWER_SWALLOW  1: a sync is carried out and not recorded. The control: the program believes that it synced.
 *
 * It keeps no table of descriptors: /proc/self/fd says at each call which file a descriptor is, whoever opened it and
 * however it was duplicated. A file is its inode number, so that two descriptors of one file are one file.
 *
 * Each call is carried out and recorded under one mutex, so that the log has the order in which things happened; a write
 * that waits for a running sync comes after it, which is the strict reading. Nothing here allocates. The calls are made
 * with syscall(2), so that nothing here calls itself.
 *
 * What it cannot see: stores through a shared mapping, stdio (fopen), system calls made without libc. What it can
 * see and does not model (links, exchanged names, splice, holes) ends the program with a message. sync_file_range and
 * msync promise nothing about a file that is written by calls, and are left alone; so are sync and syncfs: strict.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8 && sizeof(off_t) == 8, "the shim is written for 64-bit Linux");

/* The numbers are known to log.rs. */
enum { CREATE = 1, MAKE_DIR, WRITE, WRITE_DURABLE, TRUNCATE, SYNC, SYNC_DIR, RENAME, UNLINK, ACK };
enum { ELSEWHERE, BELOW, ACKS };
enum { PARTS_MAX = 1024 };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX], acks[PATH_MAX];
static size_t directory_len;
static int log_fd = -1, swallow;

static void give_up(const char *what) {
    static const char intro[] = "power-cut shim: ";
    syscall(SYS_write, 2, intro, sizeof intro - 1);
    syscall(SYS_write, 2, what, strlen(what));
    syscall(SYS_write, 2, "\n", 1);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("BUSWAY_POWER_DIR"), *log = getenv("BUSWAY_POWER_LOG"), *to = getenv("BUSWAY_POWER_ACKS");
    const char *lies = getenv("BUSWAY_POWER_SWALLOW");
    if (!dir || !log || !to) return;
    if (strlen(dir) >= PATH_MAX || strlen(to) >= PATH_MAX) give_up("a path is too long");
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd < 0) give_up("the log cannot be opened");
    swallow = lies && strcmp(lies, "1") == 0;
    strcpy(acks, to);
    strcpy(directory, dir);
    directory_len = strlen(dir);
}

/* ---- which file ---- */

/* Where a path lies, seen from the directory; `relative` is set for one below it ("" is the directory itself). */
static int place(const char *path, const char **relative) {
    if (!directory_len) return ELSEWHERE;
    if (strcmp(path, acks) == 0) return ACKS;
    if (strncmp(path, directory, directory_len) != 0) return ELSEWHERE;
    if (path[directory_len] != '/' && path[directory_len] != 0) return ELSEWHERE;
    *relative = path + directory_len + (path[directory_len] == '/');
    return BELOW;
}

/* The path of an open descriptor, by the kernel's word. */
static int path_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[len < 0 ? 0 : len] = 0;
    return len >= 0;
}

static int place_of(int fd) {
    char path[PATH_MAX];
    const char *relative;
    int before = errno, found = directory_len && path_of(fd, path) ? place(path, &relative) : ELSEWHERE;
    errno = before;
    return found;
}

/* The canonical path of a name that need not exist: that of its folder, and the name. */
static int place_at(int dirfd, const char *name, char *path, const char **relative) {
    if (!directory_len || strlen(name) >= PATH_MAX) return ELSEWHERE;
    char folder[PATH_MAX];
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    size_t len = slash ? (size_t)(slash - name) + (slash == name) : 1;
    memcpy(folder, slash ? name : ".", len);
    folder[len] = 0;
    int before = errno, fd = (int)syscall(SYS_openat, dirfd, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int known = fd >= 0 && path_of(fd, path) && strlen(path) + strlen(last) + 2 < PATH_MAX;
    if (fd >= 0) syscall(SYS_close, fd);
    errno = before;
    if (!known) return ELSEWHERE;
    strcat(strcat(path, "/"), last);
    return place(path, relative);
}

static struct stat status(int fd) {
    struct stat about;
    if (fstat(fd, &about) != 0) give_up("a file has no status");
    return about;
}

/* ---- the log ---- */

static unsigned char *little(unsigned char *at, uint64_t value, int bytes) {
    while (bytes--) *at++ = (unsigned char)value, value >>= 8;
    return at;
}

/* kind u32, length of what follows u32, id u64, position u64, all little-endian; then that many bytes of `parts`. */
static void append(int kind, uint64_t id, uint64_t position, const struct iovec *parts, int count, size_t len) {
    unsigned char head[24];
    struct iovec all[PARTS_MAX + 1] = {{head, sizeof head}};
    size_t left = len;
    int used = 1;
    if (len > UINT32_MAX || count > PARTS_MAX) give_up("a write is too large for the log");
    little(little(little(little(head, (uint64_t)kind, 4), len, 4), id, 8), position, 8);
    for (int i = 0; i < count && left > 0; i++) {
        all[used] = parts[i];
        if (all[used].iov_len > left) all[used].iov_len = left;
        left -= all[used++].iov_len;
    }
    if (syscall(SYS_writev, log_fd, all, used) != (long)(len + sizeof head)) give_up("the log cannot be written");
}

static void append_path(int kind, uint64_t id, const char *path) {
    struct iovec part = {(void *)path, strlen(path)};
    append(kind, id, 0, &part, 1, part.iov_len);
}

/* ---- writing ---- */

static ssize_t carry_out(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    if (flags) return syscall(SYS_pwritev2, fd, parts, count, at, 0L, flags);
    return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0L);
}

/* `at` below zero: at the descriptor's own position. */
static ssize_t recorded_write(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    int where = place_of(fd);
    if (where == ELSEWHERE) return carry_out(fd, parts, count, at, flags);
    pthread_mutex_lock(&order);
    ssize_t len = carry_out(fd, parts, count, at, flags);
    if (len > 0 && where == ACKS) {
        const char *text = parts[0].iov_base;
        if (parts[0].iov_len < 6 || memcmp(text, "ACK ", 4) != 0) give_up("an acknowledgement is no \"ACK n\"");
        uint64_t number = 0;
        for (size_t i = 4; i < parts[0].iov_len && text[i] >= '0' && text[i] <= '9'; i++)
            number = number * 10 + (uint64_t)(text[i] - '0');
        append(ACK, number, 0, NULL, 0, 0);
    } else if (len > 0) {
        int mode = fcntl(fd, F_GETFL);
        struct stat about = status(fd);
        if ((mode & O_APPEND) || (flags & RWF_APPEND)) at = about.st_size - len;
        else if (at < 0) at = lseek(fd, 0, SEEK_CUR) - len;
        int durable = ((mode & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC))) && !swallow;
        append(durable ? WRITE_DURABLE : WRITE, about.st_ino, (uint64_t)at, parts, count, (size_t)len);
    }
    pthread_mutex_unlock(&order);
    return len;
}

static ssize_t recorded_bytes(int fd, const void *bytes, size_t len, off_t at) {
    struct iovec part = {(void *)bytes, len};
    return recorded_write(fd, &part, 1, at, 0);
}

ssize_t write(int fd, const void *bytes, size_t len) { return recorded_bytes(fd, bytes, len, -1); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return recorded_write(fd, parts, count, -1, 0); }

/* A negative position is an error of these four, not "where the descriptor is". */
#define REFUSE_NEGATIVE(at) if ((at) < 0) return errno = EINVAL, -1
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    REFUSE_NEGATIVE(at);
    return recorded_bytes(fd, bytes, len, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REFUSE_NEGATIVE(at);
    return recorded_write(fd, parts, count, at, 0);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return recorded_write(fd, parts, count, at, flags);
}
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pwritev64v2(int, const struct iovec *, int, off_t, int) __attribute__((alias("pwritev2")));

/* ---- making durable ---- */

static int recorded_sync(int fd, long call) {
    if (place_of(fd) != BELOW) return (int)syscall(call, fd);
    pthread_mutex_lock(&order);
    int result = (int)syscall(call, fd);
    struct stat about = status(fd);
    char path[PATH_MAX];
    const char *relative;
    /* Names stay durable in the control: what it must lose is data, not the file that had it. */
    if (result == 0 && S_ISDIR(about.st_mode) && path_of(fd, path) && place(path, &relative) == BELOW)
        append_path(SYNC_DIR, about.st_ino, relative);
    else if (result == 0 && !swallow)
        append(SYNC, about.st_ino, 0, NULL, 0, 0);
    pthread_mutex_unlock(&order);
    return result;
}

int fsync(int fd) { return recorded_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return recorded_sync(fd, SYS_fdatasync); }

/* ---- lengths ---- */

int ftruncate(int fd, off_t len) {
    if (place_of(fd) != BELOW) return (int)syscall(SYS_ftruncate, fd, len);
    pthread_mutex_lock(&order);
    int result = (int)syscall(SYS_ftruncate, fd, len);
    if (result == 0) append(TRUNCATE, status(fd).st_ino, (uint64_t)len, NULL, 0, 0);
    pthread_mutex_unlock(&order);
    return result;
}

int truncate(const char *name, off_t len) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CLOEXEC, 0);
    int result = fd < 0 ? -1 : ftruncate(fd, len), failed = errno;
    if (fd >= 0) syscall(SYS_close, fd);
    errno = failed;
    return result;
}

/* Space that is set aside reads as zeros: for the model only the length changes. */
int fallocate(int fd, int mode, off_t at, off_t len) {
    if (place_of(fd) != BELOW) return (int)syscall(SYS_fallocate, fd, mode, at, len);
    if (mode & ~FALLOC_FL_KEEP_SIZE) give_up("a fallocate that changes bytes is not modelled");
    pthread_mutex_lock(&order);
    off_t before = status(fd).st_size;
    int result = (int)syscall(SYS_fallocate, fd, mode, at, len);
    struct stat after = status(fd);
    if (result == 0 && after.st_size > before) append(TRUNCATE, after.st_ino, (uint64_t)after.st_size, NULL, 0, 0);
    pthread_mutex_unlock(&order);
    return result;
}
int posix_fallocate(int fd, off_t at, off_t len) { return fallocate(fd, 0, at, len) == 0 ? 0 : errno; }

int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int truncate64(const char *, off_t) __attribute__((alias("truncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));

/* ---- names ---- */

static int recorded_open(int dirfd, const char *name, int flags, mode_t mode) {
    if (!directory_len || !(flags & (O_CREAT | O_TRUNC))) return (int)syscall(SYS_openat, dirfd, name, flags, mode);
    struct stat about;
    char path[PATH_MAX];
    const char *relative;
    pthread_mutex_lock(&order);
    int before = errno, existed = fstatat(dirfd, name, &about, 0) == 0;
    errno = before;
    int fd = (int)syscall(SYS_openat, dirfd, name, flags, mode);
    if (fd >= 0 && path_of(fd, path) && place(path, &relative) == BELOW) {
        if (!existed) append_path(CREATE, status(fd).st_ino, relative);
        else if (flags & O_TRUNC) append(TRUNCATE, status(fd).st_ino, 0, NULL, 0, 0);
    }
    pthread_mutex_unlock(&order);
    return fd;
}

#define MODE_OF(flags) mode_t mode = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE_OF(flags) return recorded_open(AT_FDCWD, name, flags, mode); }
int openat(int dirfd, const char *name, int flags, ...) { MODE_OF(flags) return recorded_open(dirfd, name, flags, mode); }
int creat(const char *name, mode_t mode) { return recorded_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int __open_2(const char *name, int flags) { return recorded_open(AT_FDCWD, name, flags, 0); }
int __openat_2(int dirfd, const char *name, int flags) { return recorded_open(dirfd, name, flags, 0); }
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
int creat64(const char *, mode_t) __attribute__((alias("creat")));
int __open64_2(const char *, int) __attribute__((alias("__open_2")));
int __openat64_2(int, const char *, int) __attribute__((alias("__openat_2")));

int mkdirat(int dirfd, const char *name, mode_t mode) {
    char path[PATH_MAX];
    const char *relative;
    pthread_mutex_lock(&order);
    int where = place_at(dirfd, name, path, &relative), result = (int)syscall(SYS_mkdirat, dirfd, name, mode);
    if (result == 0 && where == BELOW) append_path(MAKE_DIR, 0, relative);
    pthread_mutex_unlock(&order);
    return result;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    char source[PATH_MAX], target[PATH_MAX];
    const char *old = NULL, *new = NULL;
    pthread_mutex_lock(&order);
    int leaves = place_at(from_fd, from, source, &old) == BELOW, arrives = place_at(to_fd, to, target, &new) == BELOW;
    if (leaves != arrives) give_up("a rename into or out of the directory is not modelled");
    if (leaves && (flags & ~RENAME_NOREPLACE)) give_up("this kind of rename is not modelled");
    int result = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (result == 0 && leaves) {
        struct iovec both[] = {{(void *)old, strlen(old)}, {(void *)new, strlen(new)}};
        append(RENAME, 0, both[0].iov_len, both, 2, both[0].iov_len + both[1].iov_len);
    }
    pthread_mutex_unlock(&order);
    return result;
}
int renameat(int from_fd, const char *from, int to_fd, const char *to) { return renameat2(from_fd, from, to_fd, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dirfd, const char *name, int flags) {
    char path[PATH_MAX];
    const char *relative;
    pthread_mutex_lock(&order);
    int where = place_at(dirfd, name, path, &relative), result = (int)syscall(SYS_unlinkat, dirfd, name, flags);
    if (result == 0 && where == BELOW) append_path(UNLINK, 0, relative);
    pthread_mutex_unlock(&order);
    return result;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

/* ---- seen, and not modelled ---- */

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    char path[PATH_MAX];
    const char *relative;
    if (place_at(to_fd, to, path, &relative) == BELOW) give_up("a second name of a file is not modelled");
    return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* Callers fall back to write, which is seen. */
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags) {
    if (place_of(to) != ELSEWHERE) return errno = ENOSYS, -1;
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, len, flags);
}
ssize_t sendfile(int to, int from, off_t *at, size_t len) {
    if (place_of(to) != ELSEWHERE) return errno = ENOSYS, -1;
    return syscall(SYS_sendfile, to, from, at, len);
}
ssize_t sendfile64(int, int, off_t *, size_t) __attribute__((alias("sendfile")));
ssize_t splice(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags) {
    if (place_of(to) != ELSEWHERE) return errno = ENOSYS, -1;
    return syscall(SYS_splice, from, from_at, to, to_at, len, flags);
}
