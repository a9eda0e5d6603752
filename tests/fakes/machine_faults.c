/* A machine that fails: preloaded into a daemon, it stands between the C library and the kernel.
 *
 * Calls on files below one folder, and sends on TCP sockets, are counted and can be made to
 * fail, to take long or to be the process's last. Who says so is a control page in a file that
 * another process maps, so faults come and go while the daemon runs (machine_faults.py knows
 * the layout). With a folder for them, what fsync made durable is kept as copies by inode:
 * after a kill they tell what a power cut may have left. Two files that name the machine and
 * its boot can be replaced. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, WRITE, SYNC, RENAME, UNLINK, TRUNCATE, SEND, KINDS };

struct control {
  uint64_t total;          /* calls of all kinds so far */
  uint64_t kill_at;        /* the call after this many is the last one; 0: none */
  uint32_t kill_after;     /* 1: it is still done, and only then the process dies */
  uint32_t fail_error;     /* errno of some calls in a row, whatever their kind; 0: none */
  uint64_t fail_from;      /* the first of them, counted as in total */
  uint64_t fail_calls;     /* how many they are */
  uint64_t calls[KINDS];
  uint32_t error[KINDS];   /* errno of every call of the kind; 0: it works */
  uint32_t delay_us[KINDS];
  char root[1024];         /* faults are for files below this folder */
  char durable[1024];      /* where to keep what fsync made durable; empty: nowhere */
  char identity[1024];     /* folder with machine-id and boot_id; empty: the machine's own */
};

static struct control *control;

__attribute__((constructor)) static void attach(void) {
  const char *path = getenv("CHIPWATT_FAKE_FAULTS");
  if (path == NULL) return;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (page != MAP_FAILED) control = page;
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
  size_t length = strlen(control->root);
  return length > 0 && strncmp(path, control->root, length) == 0;
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return 1;
}

static int concerns_file(int fd) {
  char path[PATH_MAX];
  return control != NULL && path_of(fd, path) && below(path);
}

static int concerns_path(int dir, const char *path) {
  if (control == NULL || path == NULL) return 0;
  if (path[0] == '/' || dir == AT_FDCWD) return below(path);
  return concerns_file(dir);
}

static int concerns_socket(int fd) {
  int family = 0;
  socklen_t length = sizeof family;
  if (control == NULL) return 0;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0) return 0;
  return family == AF_INET || family == AF_INET6;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* Count a call; returns the errno that it is to fail with, and whether it is the last one. */
static int enter(int kind, int *last) {
  uint64_t number = __atomic_add_fetch(&control->total, 1, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&control->calls[kind], 1, __ATOMIC_SEQ_CST);
  uint64_t kill_at = control->kill_at;
  *last = kill_at != 0 && number >= kill_at;
  if (*last && !control->kill_after) die();
  uint32_t delay_us = control->delay_us[kind];
  if (delay_us) {
    struct timespec wait = {delay_us / 1000000, (long)(delay_us % 1000000) * 1000};
    syscall(SYS_nanosleep, &wait, NULL);
  }
  if (number - control->fail_from < control->fail_calls) return (int)control->fail_error;
  return (int)control->error[kind];
}

#define GUARD(kind, type, call) \
  do { \
    int last = 0, error = enter(kind, &last); \
    type result; \
    if (error) { errno = error; result = -1; } else { result = call; } \
    if (last) die(); \
    return result; \
  } while (0)

/* -- what a power cut leaves -- */

static int tracked(void) { return control != NULL && control->durable[0] != 0; }

static void keep_inode(const char *path) {  /* so that its number is not given to another file */
  struct stat info;
  char kept[PATH_MAX];
  if (!tracked() || !below(path) || stat(path, &info) != 0) return;
  snprintf(kept, sizeof kept, "%s/kept-%lu", control->durable, (unsigned long)info.st_ino);
  if (link(path, kept) != 0) return;
}

/* A file that can be read is read through its own descriptor: closing another one of the same
 * file gives up the locks that SQLite holds on it. */
static void keep_content(int fd, unsigned long inode) {
  char scratch[PATH_MAX], kept[PATH_MAX], source[64];
  static __thread char buffer[1 << 16];
  snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
  snprintf(scratch, sizeof scratch, "%s/new-%lu-%d", control->durable, inode, (int)getpid());
  snprintf(kept, sizeof kept, "%s/data-%lu", control->durable, inode);
  int reads = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
  int from = reads ? fd : (int)syscall(SYS_openat, AT_FDCWD, source, O_RDONLY | O_CLOEXEC, 0);
  int to = (int)syscall(SYS_openat, AT_FDCWD, scratch, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  long got, at = 0;
  for (; from >= 0 && to >= 0 && (got = syscall(SYS_pread64, from, buffer, sizeof buffer, at)) > 0;
       at += got)
    syscall(SYS_write, to, buffer, got);
  if (!reads) syscall(SYS_close, from);
  syscall(SYS_close, to);
  syscall(SYS_rename, scratch, kept);
}

static void keep_names(int fd, unsigned long inode) {
  char scratch[PATH_MAX], kept[PATH_MAX], path[PATH_MAX];
  if (!path_of(fd, path)) return;
  snprintf(scratch, sizeof scratch, "%s/new-%lu", control->durable, inode);
  snprintf(kept, sizeof kept, "%s/names-%lu", control->durable, inode);
  FILE *out = fopen(scratch, "w");
  DIR *listing = opendir(path);
  struct dirent *entry;
  while (out != NULL && listing != NULL && (entry = readdir(listing)) != NULL)
    if (entry->d_name[0] != '.')
      fprintf(out, "%lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
  if (listing != NULL) closedir(listing);
  if (out != NULL) fclose(out);
  syscall(SYS_rename, scratch, kept);
}

static int durable(int fd, int result) {
  struct stat info;
  if (result == 0 && tracked() && fstat(fd, &info) == 0) {
    if (S_ISDIR(info.st_mode)) keep_names(fd, info.st_ino);
    else keep_content(fd, info.st_ino);
  }
  return result;
}

/* -- the calls -- */

static const char *identity(const char *path, char *own) {
  const char *name = NULL;
  if (control == NULL || path == NULL || control->identity[0] == 0) return path;
  if (strcmp(path, "/etc/machine-id") == 0) name = "machine-id";
  if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) name = "boot_id";
  if (name == NULL) return path;
  snprintf(own, PATH_MAX, "%s/%s", control->identity, name);
  return access(own, R_OK) == 0 ? own : path;
}

static int open_at(int dir, const char *path, int flags, mode_t mode) {
  char own[PATH_MAX];
  path = identity(path, own);
  int writes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY;
  if (!writes || !concerns_path(dir, path))
    return (int)syscall(SYS_openat, dir, path, flags, mode);
  GUARD(OPEN, int, (int)syscall(SYS_openat, dir, path, flags, mode));
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list rest; \
    va_start(rest, flags); \
    mode = va_arg(rest, mode_t); \
    va_end(rest); \
  }

int open(const char *path, int flags, ...) {
  MODE(flags) return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags) return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int dir, const char *path, int flags, ...) {
  MODE(flags) return open_at(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
  MODE(flags) return open_at(dir, path, flags | O_LARGEFILE, mode);
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  if (!concerns_file(fd)) return real(fd, data, size);
  GUARD(WRITE, ssize_t, real(fd, data, size));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  REAL(pwrite);
  if (!concerns_file(fd)) return real(fd, data, size, offset);
  GUARD(WRITE, ssize_t, real(fd, data, size, offset));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  REAL(pwrite64);
  if (!concerns_file(fd)) return real(fd, data, size, offset);
  GUARD(WRITE, ssize_t, real(fd, data, size, offset));
}

int fsync(int fd) {
  REAL(fsync);
  if (!concerns_file(fd)) return real(fd);
  GUARD(SYNC, int, durable(fd, real(fd)));
}
int fdatasync(int fd) {
  REAL(fdatasync);
  if (!concerns_file(fd)) return real(fd);
  GUARD(SYNC, int, durable(fd, real(fd)));
}

int rename(const char *from, const char *to) {
  REAL(rename);
  if (!concerns_path(AT_FDCWD, to)) return real(from, to);
  keep_inode(to);
  GUARD(RENAME, int, real(from, to));
}
int unlink(const char *path) {
  REAL(unlink);
  if (!concerns_path(AT_FDCWD, path)) return real(path);
  keep_inode(path);
  GUARD(UNLINK, int, real(path));
}
int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  if (!concerns_file(fd)) return real(fd, size);
  GUARD(TRUNCATE, int, real(fd, size));
}
int ftruncate64(int fd, off64_t size) {
  REAL(ftruncate64);
  if (!concerns_file(fd)) return real(fd, size);
  GUARD(TRUNCATE, int, real(fd, size));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  REAL(sendmsg);
  if (!concerns_socket(fd)) return real(fd, message, flags);
  GUARD(SEND, ssize_t, real(fd, message, flags));
}
