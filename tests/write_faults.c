/* Preloaded library that makes one file operation below a folder fail, or kills the process at it.
 *
 * FAULT_DIR   the folder
 * FAULT_N     which operation below it, counted from 1; without it they are only counted
 * FAULT_MODE  error: the call fails with errno FAULT_ERRNO; short: write takes half; stop: SIGSTOP before each call
 *
 * getenv is read at each call, so that a forked child chooses its own fault.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int operations;

int fault_operations(void) { return operations; }

static int below(const char *path) {
    const char *folder = getenv("FAULT_DIR");
    char absolute[2 * PATH_MAX];
    if (!folder || !path) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(absolute, sizeof absolute, "%s/%s", here, path);
        path = absolute;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int open_below(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return below(path);
}

/* Count an operation, and return whether it is to fail (or, in mode short, to be cut). */
static int strikes(void) {
    const char *number = getenv("FAULT_N"), *mode = getenv("FAULT_MODE"), *error = getenv("FAULT_ERRNO");
    operations++;
    if (mode && !strcmp(mode, "stop")) {
        raise(SIGSTOP);
        return 0;
    }
    if (!number || operations != atoi(number)) return 0;
    errno = error ? atoi(error) : ENOSPC;
    return 1;
}

static int is_short(void) {
    const char *mode = getenv("FAULT_MODE");
    return mode && !strcmp(mode, "short");
}

#define REAL(type, name, ...)                        \
    static type (*real)(__VA_ARGS__);                \
    if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (descriptor > 2 && open_below(descriptor) && strikes()) {
        if (!is_short()) return -1;
        if (size > 1) return real(descriptor, data, size / 2);
    }
    return real(descriptor, data, size);
}

#define FAILS(place) if ((place) && !is_short() && strikes()) return -1

int fsync(int descriptor) { REAL(int, fsync, int); FAILS(open_below(descriptor)); return real(descriptor); }
int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *); FAILS(below(new)); return real(old, new);
}
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    FAILS(below(new));
    return real(from, old, to, new, flags);
}
int link(const char *old, const char *new) {
    REAL(int, link, const char *, const char *); FAILS(below(new)); return real(old, new);
}
int unlink(const char *path) { REAL(int, unlink, const char *); FAILS(below(path)); return real(path); }
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    FAILS(folder >= 0 ? open_below(folder) : below(path));
    return real(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t); FAILS(below(path)); return real(path, mode);
}
int rmdir(const char *path) { REAL(int, rmdir, const char *); FAILS(below(path)); return real(path); }
int chmod(const char *path, mode_t mode) {
    REAL(int, chmod, const char *, mode_t); FAILS(below(path)); return real(path, mode);
}
int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    REAL(int, fchmodat, int, const char *, mode_t, int); FAILS(below(path)); return real(folder, path, mode, flags);
}
int chown(const char *path, uid_t owner, gid_t group) {
    REAL(int, chown, const char *, uid_t, gid_t); FAILS(below(path)); return real(path, owner, group);
}

#define OPENS(name)                                                             \
    int name(const char *path, int flags, ...) {                                \
        mode_t mode = 0;                                                        \
        if (flags & (O_CREAT | O_TMPFILE)) {                                    \
            va_list rest;                                                       \
            va_start(rest, flags);                                              \
            mode = va_arg(rest, mode_t);                                        \
            va_end(rest);                                                       \
        }                                                                       \
        REAL(int, name, const char *, int, ...);                                \
        FAILS((flags & O_CREAT) && below(path));                                \
        return real(path, flags, mode);                                         \
    }
OPENS(open)
OPENS(open64)

int close(int descriptor) { /* a failed close has released the descriptor */
    REAL(int, close, int);
    if (descriptor > 2 && !is_short() && open_below(descriptor) &&
        (fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY && strikes()) {
        int error = errno;
        real(descriptor);
        errno = error;
        return -1;
    }
    return real(descriptor);
}
