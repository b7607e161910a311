/* A library to preload that lets one call of a process fail, or kills the process there:
     FAULT_CALL    write, fsync, rename, open, close, unlink, malloc, mmap, thread
     FAULT_NTH     which one, from 1
     FAULT_HOW     an errno's name (ENOSPC, EIO, EINTR, ENOMEM, EACCES, EMFILE), short (a write of half the bytes, done),
                   kill (SIGKILL in place of the call), killed-after (SIGKILL right after it)
     FAULT_UNDER   only files whose path begins so, or is relative, count; a descriptor counts by the path that it was opened with
     FAULT_STACKS  only the first call from each stack of callers counts
     FAULT_REPORT  a file that receives one byte when the call was reached
   Calls count from main on: what fails in a global's initialiser, no program can answer for.
   EINTR fails the one call; all others fail that call and, for write and fsync, every later one too, as a full or broken
   disk does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static const char *call_name, *under;
static long nth, how;
static int lasting, begun, stacks;
static atomic_long seen;
enum { SHORT = -1, KILL = -2, KILL_AFTER = -3 };

static void report(void) {
  const char *path = getenv("FAULT_REPORT");
  if (!path) return;
  const long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  syscall(SYS_write, fd, "x", 1L);
  syscall(SYS_close, fd);
}

__attribute__((constructor)) static void begin(void) {
  static const struct {
    const char *name;
    long value;
  } hows[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},     {"EINTR", EINTR},          {"ENOMEM", ENOMEM},
              {"EACCES", EACCES}, {"EMFILE", EMFILE}, {"EAGAIN", EAGAIN}, {"short", SHORT},
              {"kill", KILL},     {"killed-after", KILL_AFTER}};
  const char *word = getenv("FAULT_HOW"), *number = getenv("FAULT_NTH");
  under = getenv("FAULT_UNDER");
  nth = number ? atol(number) : 0;
  for (size_t i = 0; word && i < sizeof hows / sizeof *hows; ++i)
    if (!strcmp(word, hows[i].name)) how = hows[i].value;
  call_name = getenv("FAULT_CALL");
  stacks = getenv("FAULT_STACKS") != NULL;
  void *first;
  if (stacks) backtrace(&first, 1); /* loads what it needs */
  lasting = call_name && (!strcmp(call_name, "write") || !strcmp(call_name, "fsync")) && how > 0 && how != EINTR;
}

/* Whether nobody called from here before. One thread's looking allocates nothing that counts. */
static int is_new_stack(void) {
  static __thread int looking;
  static atomic_ulong known[1 << 16]; /* an open hash table; full, it takes every stack for known */
  if (looking) return 0;
  looking = 1;
  void *callers[64];
  const int count = backtrace(callers, sizeof callers / sizeof *callers);
  unsigned long hash = 1469598103934665603u;
  for (int i = 0; i < count; ++i) hash = (hash ^ (unsigned long)callers[i]) * 1099511628211u;
  looking = 0;
  hash |= 1; /* 0 is an empty place */
  const unsigned long places = sizeof known / sizeof *known;
  for (unsigned long i = 0; i < places; ++i) {
    unsigned long empty = 0;
    atomic_ulong *const place = &known[(hash + i) % places];
    if (atomic_compare_exchange_strong(place, &empty, hash)) return 1;
    if (empty == hash) return 0;
  }
  return 0;
}

/* 1: this call fails (errno is set), or does half; 0: it goes on. */
static int strikes(const char *name) {
  if (!begun || !call_name || strcmp(call_name, name)) return 0;
  if (stacks && !is_new_stack()) return 0;
  const long mine = atomic_fetch_add(&seen, 1) + 1;
  if (mine != nth && !(lasting && mine > nth)) return 0;
  if (mine == nth) report();
  if (how == KILL) syscall(SYS_kill, getpid(), SIGKILL);
  if (how > 0) errno = (int)how;
  return 1;
}

typedef int (*main_function)(int, char **, char **);
static main_function program;
static int begin_main(int argc, char **argv, char **environment) {
  begun = 1;
  return program(argc, argv, environment);
}

int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end) {
  typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
  const start_function start = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");
  program = main;
  return start(begin_main, argc, argv, init, fini, loader_fini, stack_end);
}

/* A relative path is the user's. */
static int counts(const char *path) { return !under || path[0] != '/' || !strncmp(path, under, strlen(under)); }

static int counts_fd(int fd) {
  char link[64], path[4096];
  if (!under) return 1;
  const char digits[] = "0123456789";
  char number[12];
  int at = sizeof number - 1;
  number[at] = 0;
  for (int rest = fd; at == sizeof number - 1 || rest; rest /= 10) number[--at] = digits[rest % 10];
  strcpy(link, "/proc/self/fd/");
  strcat(link, number + at);
  const long size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return counts(path);
}

static void after(int struck) {
  if (struck && how == KILL_AFTER) syscall(SYS_kill, getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
  const int struck = counts_fd(fd) && strikes("write");
  if (struck && how > 0) return -1;
  if (struck && count > 1) count /= 2; /* a short write, or what reached the disk before the kill */
  const ssize_t written = syscall(SYS_write, fd, bytes, count);
  after(struck);
  return written;
}

#define ON_DESCRIPTOR(name, word, syscall_number)                  \
  int name(int fd) {                                               \
    const int struck = counts_fd(fd) && strikes(word);             \
    const int done = struck && how > 0 ? -1 : (int)syscall(syscall_number, fd); \
    after(struck);                                                 \
    return done;                                                   \
  }
ON_DESCRIPTOR(fsync, "fsync", SYS_fsync)
ON_DESCRIPTOR(fdatasync, "fsync", SYS_fdatasync)

int close(int fd) {
  const int struck = counts_fd(fd) && strikes("close");
  const int error = errno;
  int done = (int)syscall(SYS_close, fd); /* the system closes the file even where it reports an error */
  if (struck && how > 0) {
    errno = error;
    done = -1;
  }
  after(struck);
  return done;
}

int rename(const char *from, const char *to) {
  const int struck = counts(to) && strikes("rename");
  const int done = struck && how > 0 ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  after(struck);
  return done;
}

int unlink(const char *path) {
  const int struck = counts(path) && strikes("unlink");
  const int done = struck && how > 0 ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  after(struck);
  return done;
}

/* What std::filesystem::remove calls. */
int remove(const char *path) {
  const int struck = counts(path) && strikes("unlink");
  if (struck && how > 0) return -1;
  int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (done != 0 && errno == EISDIR) done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
  after(struck);
  return done;
}

static int open_file(const char *path, int flags, mode_t mode) {
  const int struck = counts(path) && strikes("open");
  const int done = struck && how > 0 ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  after(struck);
  return done;
}
int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_file(path, flags, mode);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (strikes("mmap") && how > 0) return MAP_FAILED;
  return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
void *malloc(size_t bytes) { return strikes("malloc") ? NULL : __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return strikes("malloc") ? NULL : __libc_calloc(count, bytes); }
void *realloc(void *memory, size_t bytes) { return strikes("malloc") ? NULL : __libc_realloc(memory, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) {
  return strikes("malloc") ? NULL : __libc_memalign(alignment, bytes);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  if (strikes("thread")) return EAGAIN;
  return REAL(pthread_create)(thread, attributes, start, argument);
}
