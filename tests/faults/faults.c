/* Makes reads, writes and fsync of chosen files fail: a library for LD_PRELOAD.
 *
 * The environment variable COGMETER_FAULTS names a control file with one line of fields
 *
 *     calls=read,write,fsync rate=0.05 seed=7 errno=5 path=performance.db skip=0 limit=0
 *
 * calls: which kinds fail. read covers read and pread; write covers write and pwrite; fsync covers fdatasync.
 * rate: the share of matching calls that fail, 0 to 1. seed: of the random numbers, anew with each new control file.
 * path: a part of the file's path. skip: matching calls that succeed first. limit: how many may fail, 0 for any number.
 * An empty or missing file switches all faults off. Replace the file by a rename, so that no half line is read.
 * Each fault appends one byte to the file of that name with ".count" behind it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ = 1, WRITE = 2, FSYNC = 4 };

static struct {
    int calls, error;
    double rate;
    long skip, limit;
    uint64_t state;
    char path[256];
} now;
static ino_t control_inode;
static struct timespec control_time;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside; /* our own calls never fail */

static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void find_real_calls(void)
{
    real_read = dlsym(RTLD_NEXT, "read");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static void set_field(const char *name, const char *value)
{
    if (!strcmp(name, "calls"))
        now.calls = (strstr(value, "read") ? READ : 0) | (strstr(value, "write") ? WRITE : 0)
            | (strstr(value, "fsync") ? FSYNC : 0);
    else if (!strcmp(name, "rate"))
        now.rate = atof(value);
    else if (!strcmp(name, "seed"))
        now.state = strtoull(value, NULL, 10) * 2654435761u + 88172645463325252u;
    else if (!strcmp(name, "errno"))
        now.error = atoi(value);
    else if (!strcmp(name, "skip"))
        now.skip = atol(value);
    else if (!strcmp(name, "limit"))
        now.limit = atol(value);
    else if (!strcmp(name, "path"))
        snprintf(now.path, sizeof now.path, "%s", value);
}

static void read_control(const char *control)
{
    struct stat status;
    char line[1024], *rest, *field, *value;
    int descriptor;
    ssize_t size;

    if (stat(control, &status)) {
        now.calls = 0;
        control_inode = 0;
        return;
    }
    if (status.st_ino == control_inode && status.st_mtim.tv_sec == control_time.tv_sec
        && status.st_mtim.tv_nsec == control_time.tv_nsec)
        return;
    control_inode = status.st_ino;
    control_time = status.st_mtim;
    memset(&now, 0, sizeof now);
    now.error = EIO;
    now.state = 88172645463325252u;
    descriptor = open(control, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    size = real_read(descriptor, line, sizeof line - 1);
    close(descriptor);
    line[size > 0 ? size : 0] = 0;
    for (field = strtok_r(line, " \n", &rest); field; field = strtok_r(NULL, " \n", &rest)) {
        value = strchr(field, '=');
        if (value) {
            *value = 0;
            set_field(field, value + 1);
        }
    }
}

static double next_random(void)
{
    now.state ^= now.state << 13; /* xorshift64 */
    now.state ^= now.state >> 7;
    now.state ^= now.state << 17;
    return (double)(now.state >> 11) / 9007199254740992.0;
}

static void count(const char *control)
{
    char name[4096];
    int descriptor;

    snprintf(name, sizeof name, "%s.count", control);
    descriptor = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptor >= 0) {
        if (real_write(descriptor, "x", 1) != 1)
            abort();
        close(descriptor);
    }
}

/* Return the error that this call is to fail with, or 0. */
static int fault(int kind, int descriptor)
{
    const char *control = getenv("COGMETER_FAULTS");
    char link[64], path[4096];
    int error = 0;
    ssize_t size;

    if (!control || inside)
        return 0;
    inside = 1;
    pthread_mutex_lock(&mutex);
    read_control(control);
    if (now.calls & kind) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        size = readlink(link, path, sizeof path - 1);
        path[size > 0 ? size : 0] = 0;
        if (size > 0 && strstr(path, now.path) && !strstr(path, control)) {
            if (now.skip > 0)
                now.skip--;
            else if (next_random() < now.rate) {
                error = now.error;
                count(control);
                if (now.limit > 0 && !--now.limit)
                    now.calls = 0;
            }
        }
    }
    pthread_mutex_unlock(&mutex);
    inside = 0;
    return error;
}

#define GUARD(kind)                                                                                                    \
    do {                                                                                                               \
        int error = fault(kind, descriptor);                                                                           \
        if (error) {                                                                                                   \
            errno = error;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

ssize_t read(int descriptor, void *data, size_t size)
{
    GUARD(READ);
    return real_read(descriptor, data, size);
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset)
{
    GUARD(READ);
    return real_pread(descriptor, data, size, offset);
}

ssize_t pread64(int descriptor, void *data, size_t size, off64_t offset)
{
    GUARD(READ);
    return real_pread(descriptor, data, size, offset);
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    GUARD(WRITE);
    return real_write(descriptor, data, size);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    GUARD(WRITE);
    return real_pwrite(descriptor, data, size, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    GUARD(WRITE);
    return real_pwrite(descriptor, data, size, offset);
}

int fsync(int descriptor)
{
    GUARD(FSYNC);
    return real_fsync(descriptor);
}

int fdatasync(int descriptor)
{
    GUARD(FSYNC);
    return real_fdatasync(descriptor);
}
