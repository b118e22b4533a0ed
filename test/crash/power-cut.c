/*
 * Preloaded into a broker, this notes what a power cut could take back: for each write, cut and name below
 * one directory it appends to a log, before the deed, what was there before; for each sync that succeeded it
 * appends a mark. After the process was killed, power-cut.ts takes back what has no mark.
 *
 * HOLDFAST_CUT_DIRECTORY  the directory that is watched
 * HOLDFAST_CUT_STATE      where the log ("log") and one hard link per file, by inode ("inodes/N"), are kept,
 *                         on the same file system; the links keep files reachable that lost their names
 * HOLDFAST_CUT_LIES       optional: of files with this in their path, syncs are acknowledged and mean nothing
 *
 * A log entry: uint64 kind, id, inode, a, b, c, bytes; then that many bytes, all little-endian.
 *   1 write   a = offset, b = size of the file before, c = length, bytes = what was there (less at the file's end)
 *   2 cut     a = size after, b = size before, bytes = what is cut away
 *   3 name    inode = the directory's, a = inode that had the name (0: none), b = inode that gets it, bytes = path
 *   4 done    a = id of the write through O_SYNC or O_DSYNC that is on disk now
 *   5 synced  inode, a = id up to which its writes and cuts, or its names, are on disk
 *   6 write through O_SYNC or O_DSYNC, as 1; "synced" does not cover it, only its own "done" does
 * Directories that are made or renamed count as synced at once.
 * What is not watched (copy_file_range, sendfile) ends the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
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

enum { WRITE = 1, CUT = 2, NAME = 3, DONE = 4, SYNCED = 5, THROUGH = 6 };
enum { FILES = 65536 };

struct watched {
  int active, through, append, directory, lying, reader;
  uint64_t inode;
};

static struct watched files[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], state[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint64_t last_id;
static const char *lies;

static void fail(const char *what) {
  dprintf(2, "power-cut: %s: %s\n", what, strerror(errno));
  abort();
}

static int raw_open(const char *path, int flags, mode_t mode) { return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); }

__attribute__((constructor)) static void begin(void) {
  const char *directory = getenv("HOLDFAST_CUT_DIRECTORY"), *where = getenv("HOLDFAST_CUT_STATE");
  if (directory == NULL || where == NULL) return;
  char log_path[PATH_MAX];
  if (realpath(directory, root) == NULL || realpath(where, state) == NULL) fail("directories");
  root_length = strlen(root);
  lies = getenv("HOLDFAST_CUT_LIES");
  if (snprintf(log_path, sizeof log_path, "%s/log", state) >= (int)sizeof log_path) fail("path");
  log_fd = raw_open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) fail("log");
}

static void full_path(const char *path, char *out) {
  if (path[0] == '/') snprintf(out, PATH_MAX, "%s", path);
  else {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == NULL) fail("getcwd");
    if (snprintf(out, PATH_MAX, "%s/%s", here, path) >= PATH_MAX) fail("path");
  }
}

/* Both a watched path and, in `out`, its absolute form. */
static int is_watched(const char *path, char *out) {
  if (log_fd < 0 || path == NULL) return 0;
  full_path(path, out);
  return strncmp(out, root, root_length) == 0 && (out[root_length] == '/' || out[root_length] == 0);
}

/* Called with the lock held. Answers the entry's id. */
static uint64_t note(uint64_t kind, uint64_t inode, uint64_t a, uint64_t b, uint64_t c, const void *bytes, uint64_t count) {
  uint64_t head[7] = {kind, ++last_id, inode, a, b, c, count};
  struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, count}};
  if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof head + count)) fail("log entry");
  return last_id;
}

static void keep(const char *path, uint64_t inode) {
  char link_path[PATH_MAX + 32];
  snprintf(link_path, sizeof link_path, "%s/inodes/%llu", state, (unsigned long long)inode);
  if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, link_path, 0) != 0 && errno != EEXIST) fail(path);
}

/* The inode of a file that is no directory; 0 when there is none. */
static uint64_t inode_at(const char *path, int *is_directory) {
  struct stat found;
  *is_directory = 0;
  if (fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  *is_directory = S_ISDIR(found.st_mode);
  return found.st_ino;
}

static uint64_t parent_of(const char *path) {
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash == NULL || slash == parent) return 0;
  *slash = 0;
  int is_directory;
  return inode_at(parent, &is_directory);
}

static void note_name(const char *path, uint64_t before, uint64_t after) {
  if (before != 0) keep(path, before);
  note(NAME, parent_of(path), before, after, 0, path, strlen(path));
}

static void note_cut(int reader, uint64_t inode, uint64_t size) {
  struct stat found;
  if (fstat(reader, &found) != 0) fail("fstat");
  uint64_t before = found.st_size, count = before > size ? before - size : 0;
  char *bytes = malloc(count + 1);
  if (bytes == NULL || syscall(SYS_pread64, reader, bytes, count, size) != (long)count) fail("what is cut");
  note(CUT, inode, size, before, 0, bytes, count);
  free(bytes);
}

static int open_watched(const char *given, int flags, mode_t mode) {
  char path[PATH_MAX];
  if (!is_watched(given, path)) return raw_open(given, flags, mode);
  pthread_mutex_lock(&lock);
  int is_directory;
  uint64_t before = inode_at(path, &is_directory);
  if (before != 0 && !is_directory && (flags & O_TRUNC) && !(flags & O_EXCL)) {
    int reader = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (reader >= 0) {
      keep(path, before);
      note_cut(reader, before, 0);
      syscall(SYS_close, reader);
    }
  }
  int fd = raw_open(path, flags, mode);
  if (fd >= FILES) fail("too many files");
  struct stat found;
  if (fd >= 0 && fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) {
    struct watched *file = &files[fd];
    *file = (struct watched){.active = 1, .inode = found.st_ino, .directory = S_ISDIR(found.st_mode), .reader = -1};
    file->lying = lies != NULL && !file->directory && strstr(path, lies) != NULL;
    file->through = !file->lying && (flags & O_DSYNC) != 0;
    file->append = (flags & O_APPEND) != 0;
    if (!file->directory) {
      keep(path, file->inode);
      if (before == 0) note_name(path, 0, file->inode);
      if ((flags & O_ACCMODE) != O_RDONLY) file->reader = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
    }
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define OPEN(name)                                            \
  int name(const char *path, int flags, ...) {                \
    mode_t mode = 0;                                          \
    if (flags & (O_CREAT | __O_TMPFILE)) {                    \
      va_list rest;                                           \
      va_start(rest, flags);                                  \
      mode = va_arg(rest, mode_t);                            \
      va_end(rest);                                           \
    }                                                         \
    return open_watched(path, flags, mode);                   \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (fd >= 0 && fd < FILES && files[fd].active) {
    pthread_mutex_lock(&lock);
    if (files[fd].reader >= 0) syscall(SYS_close, files[fd].reader);
    files[fd].active = 0;
    pthread_mutex_unlock(&lock);
  }
  return (int)syscall(SYS_close, fd);
}

static int is_file(int fd) { return fd >= 0 && fd < FILES && files[fd].active && !files[fd].directory; }

static ssize_t put(int fd, const struct iovec *parts, int count, off_t at) {
  return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0L);
}

static ssize_t write_watched(int fd, const struct iovec *parts, int count, off_t at) {
  if (!is_file(fd)) return put(fd, parts, count, at);
  struct watched *file = &files[fd];
  pthread_mutex_lock(&lock);
  struct stat found;
  if (fstat(fd, &found) != 0) fail("fstat");
  if (found.st_ino != file->inode || !S_ISREG(found.st_mode)) {
    /* Closed by a direct system call, and the number was given to something else. */
    file->active = 0;
    pthread_mutex_unlock(&lock);
    return put(fd, parts, count, at);
  }
  uint64_t length = 0, size = found.st_size;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  uint64_t offset = at >= 0 ? (uint64_t)at : file->append ? size : (uint64_t)lseek(fd, 0, SEEK_CUR);
  uint64_t there = offset >= size ? 0 : size - offset < length ? size - offset : length;
  char *before = malloc(there + 1);
  if (before == NULL) fail("memory");
  if (there > 0 && syscall(SYS_pread64, file->reader, before, there, offset) != (long)there) fail("what was there");
  uint64_t id = note(file->through ? THROUGH : WRITE, file->inode, offset, size, length, before, there);
  free(before);
  ssize_t written;
  int error;
  if (file->through) {
    /* Other threads may write and sync meanwhile, as they could without us. */
    pthread_mutex_unlock(&lock);
    written = put(fd, parts, count, at);
    error = errno;
    pthread_mutex_lock(&lock);
    if (written == (ssize_t)length) note(DONE, file->inode, id, 0, 0, NULL, 0);
  } else {
    written = put(fd, parts, count, at);
    error = errno;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  struct iovec part = {(void *)bytes, count};
  return is_file(fd) ? write_watched(fd, &part, 1, -1) : syscall(SYS_write, fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  struct iovec part = {(void *)bytes, count};
  return write_watched(fd, &part, 1, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return pwrite(fd, bytes, count, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_watched(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return write_watched(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return write_watched(fd, parts, count, at); }

static int sync_watched(int fd, long call) {
  int watched = fd >= 0 && fd < FILES && files[fd].active;
  pthread_mutex_lock(&lock);
  struct stat found;
  if (watched && (fstat(fd, &found) != 0 || found.st_ino != files[fd].inode)) watched = 0;
  uint64_t upto = last_id, inode = watched ? files[fd].inode : 0;
  pthread_mutex_unlock(&lock);
  int result = (int)syscall(call, fd);
  if (result == 0 && watched && !files[fd].lying) {
    pthread_mutex_lock(&lock);
    note(SYNCED, inode, upto, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return result;
}
int fsync(int fd) { return sync_watched(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_watched(fd, SYS_fdatasync); }

int ftruncate(int fd, off_t size) {
  if (!is_file(fd)) return (int)syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  note_cut(files[fd].reader, files[fd].inode, size);
  int result = (int)syscall(SYS_ftruncate, fd, size);
  pthread_mutex_unlock(&lock);
  return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int rename(const char *from, const char *to) {
  char source[PATH_MAX], target[PATH_MAX];
  if (!is_watched(from, source) || !is_watched(to, target)) return (int)syscall(SYS_rename, from, to);
  pthread_mutex_lock(&lock);
  int is_directory, target_is_directory;
  uint64_t inode = inode_at(source, &is_directory), before = inode_at(target, &target_is_directory);
  if (inode != 0 && !is_directory && inode != before) {
    /* Two entries that directly follow each other are one move: power-cut.ts keeps or drops both. */
    note_name(target, before, inode);
    note_name(source, inode, 0);
  }
  int result = (int)syscall(SYS_rename, source, target);
  pthread_mutex_unlock(&lock);
  return result;
}

int link(const char *from, const char *to) {
  char target[PATH_MAX];
  if (!is_watched(to, target)) return (int)syscall(SYS_link, from, to);
  pthread_mutex_lock(&lock);
  int is_directory;
  uint64_t inode = inode_at(from, &is_directory), before = inode_at(target, &is_directory);
  if (inode != 0 && before == 0) {
    keep(from, inode);
    note_name(target, 0, inode);
  }
  int result = (int)syscall(SYS_link, from, to);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlinkat(int directory, const char *given, int flags) {
  char path[PATH_MAX];
  if ((flags & AT_REMOVEDIR) || (directory != AT_FDCWD && given[0] != '/') || !is_watched(given, path))
    return (int)syscall(SYS_unlinkat, directory, given, flags);
  pthread_mutex_lock(&lock);
  int is_directory;
  uint64_t before = inode_at(path, &is_directory);
  if (before != 0 && !is_directory) note_name(path, before, 0);
  int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  pthread_mutex_unlock(&lock);
  return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags) {
  if (is_file(out)) fail("copy_file_range is not watched");
  return syscall(SYS_copy_file_range, in, in_at, out, out_at, count, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t count) {
  if (is_file(out)) fail("sendfile is not watched");
  return syscall(SYS_sendfile, out, in, at, count);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) { return sendfile(out, in, at, count); }
