/* A library to preload that writes down what a process does to files, in order, for power_loss.py to lose parts of:
     RECORD_TO      the file that receives the records
     RECORD_UNDER   only files whose path begins so count; a relative path counts as of this folder, in which the process runs
   A record: five 64-bit numbers (what, offset, bytes of content, of the path, of the second path), then these bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, TRUNCATE, WRITE, SYNC, RENAME, REMOVE, MAKE_FOLDER };
enum { MAX_PATH = 4096 };

static long records = -1;
static const char *under;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("RECORD_TO");
  under = getenv("RECORD_UNDER");
  if (path && under) records = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

/* The path from the root; null where it is none of those that count. */
static const char *absolute(const char *path, char *into) {
  if (records < 0) return NULL;
  if (path[0] == '/') return strncmp(path, under, strlen(under)) ? NULL : path;
  if (snprintf(into, MAX_PATH, "%s/%s", under, path) >= MAX_PATH) abort();
  return into;
}

static const char *path_of(int fd, char *into) {
  char link[64];
  if (records < 0) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long size = syscall(SYS_readlinkat, AT_FDCWD, link, into, MAX_PATH - 1);
  if (size <= 0) return NULL;
  into[size] = 0;
  return strncmp(into, under, strlen(under)) ? NULL : into;
}

static void record(int64_t what, int64_t offset, const void *content, int64_t bytes, const char *path, const char *to) {
  if (!path || (what == RENAME && !to)) return;
  const int error = errno;
  int64_t head[5] = {what, offset, bytes, (int64_t)strlen(path), to ? (int64_t)strlen(to) : 0};
  const struct iovec parts[4] = {
      {head, sizeof head}, {(void *)path, (size_t)head[3]}, {(void *)to, (size_t)head[4]}, {(void *)content, (size_t)bytes}};
  if (syscall(SYS_writev, records, parts, 4) != (long)sizeof head + head[2] + head[3] + head[4]) abort();
  errno = error;
}

static int open_file(const char *path, int flags, mode_t mode) {
  char buffer[MAX_PATH];
  const char *name = absolute(path, buffer);
  const int changes = name && (flags & (O_CREAT | O_TRUNC)) != 0;
  struct stat status;
  const int there = changes && syscall(SYS_newfstatat, AT_FDCWD, path, &status, 0) == 0;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fd >= 0 && changes && (!there || (flags & O_TRUNC))) record(there ? TRUNCATE : CREATE, 0, NULL, 0, name, NULL);
  return fd;
}
int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_file(path, flags, mode);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

ssize_t write(int fd, const void *bytes, size_t count) {
  char buffer[MAX_PATH];
  const ssize_t written = syscall(SYS_write, fd, bytes, count);
  const char *path = written > 0 ? path_of(fd, buffer) : NULL;
  if (path) record(WRITE, syscall(SYS_lseek, fd, 0L, SEEK_CUR) - written, bytes, written, path, NULL);
  return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  char buffer[MAX_PATH];
  const ssize_t written = syscall(SYS_pwrite64, fd, bytes, count, offset);
  if (written > 0) record(WRITE, offset, bytes, written, path_of(fd, buffer), NULL);
  return written;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) __attribute__((alias("pwrite")));

int ftruncate(int fd, off_t size) {
  char buffer[MAX_PATH];
  const int done = (int)syscall(SYS_ftruncate, fd, size);
  if (done == 0) record(TRUNCATE, size, NULL, 0, path_of(fd, buffer), NULL);
  return done;
}
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

#define SYNCS(name, syscall_number)                                             \
  int name(int fd) {                                                            \
    char buffer[MAX_PATH];                                                      \
    const int done = (int)syscall(syscall_number, fd);                          \
    if (done == 0) record(SYNC, 0, NULL, 0, path_of(fd, buffer), NULL);         \
    return done;                                                                \
  }
SYNCS(fsync, SYS_fsync)
SYNCS(fdatasync, SYS_fdatasync)

int rename(const char *from, const char *to) {
  char first[MAX_PATH], second[MAX_PATH];
  const int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (done == 0) record(RENAME, 0, NULL, 0, absolute(from, first), absolute(to, second));
  return done;
}

int unlink(const char *path) {
  char buffer[MAX_PATH];
  const int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (done == 0) record(REMOVE, 0, NULL, 0, absolute(path, buffer), NULL);
  return done;
}

int remove(const char *path) {
  if (unlink(path) == 0) return 0;
  if (errno != EISDIR) return -1;
  char buffer[MAX_PATH];
  const int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
  if (done == 0) record(REMOVE, 0, NULL, 0, absolute(path, buffer), NULL);
  return done;
}

int mkdir(const char *path, mode_t mode) {
  char buffer[MAX_PATH];
  const int done = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  if (done == 0) record(MAKE_FOLDER, 0, NULL, 0, absolute(path, buffer), NULL);
  return done;
}
