/* Preloaded into a process: writes down the names that it looks up, the hosts that it connects to and the files
 * that it opens for writing, one a line, in the file $OUTBOUND_LOG. Nothing gets out: look-ups of other hosts fail,
 * and connections to them are refused. Python's audit hooks see none of what a C++ library does; this does. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(const char *kind, const char *what) {
    const char *log = getenv("OUTBOUND_LOG");
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", kind, what);
    if (!log || length <= 0) return;
    if (length >= (int)sizeof line) length = sizeof line - 1;
    int saved = errno, file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file >= 0) {
        if (syscall(SYS_write, file, line, (size_t)length) < 0) abort();
        syscall(SYS_close, file);
    }
    errno = saved;
}

/* A name that is neither an address nor this machine. */
static int is_foreign(const char *name) {
    unsigned char address[16];
    return name && *name && strcmp(name, "localhost") && inet_pton(AF_INET, name, address) != 1 &&
           inet_pton(AF_INET6, name, address) != 1;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    if (!is_foreign(name)) return REAL(getaddrinfo)(name, service, hints, result);
    note("lookup", name);
    return EAI_NONAME;
}

struct hostent *gethostbyname(const char *name) {
    if (!is_foreign(name)) return REAL(gethostbyname)(name);
    note("lookup", name);
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

int gethostbyname_r(const char *name, struct hostent *entry, char *buffer, size_t size, struct hostent **result,
                    int *error) {
    if (!is_foreign(name)) return REAL(gethostbyname_r)(name, entry, buffer, size, result, error);
    note("lookup", name);
    *result = NULL;
    *error = HOST_NOT_FOUND;
    return 0;
}

/* Whether an address lies outside this machine; it is then written down. */
static int leaves(const char *kind, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (!address) return 0;
    if (address->sa_family == AF_INET) {
        const struct in_addr *host = &((const struct sockaddr_in *)address)->sin_addr;
        if (ntohl(host->s_addr) >> 24 == 127) return 0;
        inet_ntop(AF_INET, host, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *host = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(host)) return 0;
        inet_ntop(AF_INET6, host, text, sizeof text);
    } else {
        return 0;
    }
    note(kind, text);
    errno = ECONNREFUSED;
    return 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    return leaves("connect", address) ? -1 : REAL(connect)(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    return leaves("send", to) ? -1 : REAL(sendto)(socket, data, size, flags, to, length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    return leaves("send", message->msg_name) ? -1 : REAL(sendmsg)(socket, message, flags);
}

static void note_file(int folder, const char *path, int flags) {
    char whole[PATH_MAX], link[64];
    if (!path || !((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT)) return;
    if (*path != '/') {
        ssize_t length = -1;
        if (folder == AT_FDCWD) {
            length = getcwd(whole, sizeof whole) ? (ssize_t)strlen(whole) : -1;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            length = readlink(link, whole, sizeof whole - 1);
        }
        if (length < 0) length = 0;
        snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
        path = whole;
    }
    note("write", path);
}

#define OPEN(name, FOLDER, ...)                                   \
    {                                                             \
        mode_t mode = 0;                                          \
        if (flags & (O_CREAT | O_TMPFILE)) {                      \
            va_list rest;                                         \
            va_start(rest, flags);                                \
            mode = va_arg(rest, mode_t);                          \
            va_end(rest);                                         \
        }                                                         \
        note_file(FOLDER, path, flags);                           \
        return REAL(name)(__VA_ARGS__, flags, mode);              \
    }

int open(const char *path, int flags, ...) OPEN(open, AT_FDCWD, path)
int open64(const char *path, int flags, ...) OPEN(open64, AT_FDCWD, path)
int openat(int folder, const char *path, int flags, ...) OPEN(openat, folder, folder, path)
int openat64(int folder, const char *path, int flags, ...) OPEN(openat64, folder, folder, path)

static int flags_of(const char *mode) { return *mode == 'r' && !strchr(mode, '+') ? O_RDONLY : O_WRONLY; }

FILE *fopen(const char *path, const char *mode) {
    note_file(AT_FDCWD, path, flags_of(mode));
    return REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    note_file(AT_FDCWD, path, flags_of(mode));
    return REAL(fopen64)(path, mode);
}
