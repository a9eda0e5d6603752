/* An LD_PRELOAD library that plays an energy PMU: syscall() opens it, read() reads it.
 *
 * Only events of the PMU type in CHIPWATT_FAKE_PMU are played; all other system
 * calls pass. Device number (cpu * events + config) of the scenario is the
 * event `config` (from 0) on that CPU. Settings: refresh_ns, jitter as in
 * player.h, unit_nj (61035), events (number of events a CPU), deny_errno,
 * fail_at_ns .. fail_until_ns (reads fail with EIO).
 * A count is in units of 2^-32 J, as rapl.c gives it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "player.h"

#define MAX_FDS 4096
static struct player_device *events[MAX_FDS][8];
static int event_count[MAX_FDS];
static int64_t opened_ns;

static uint64_t count_at(const struct player_device *d, int64_t t_ns) {
    int64_t unit = player_number(d, "unit_nj", 61035);
    int64_t steps = (int64_t)(player_energy(d, t_ns) / ((twice_mw_ns)2000 * unit));
    return (uint64_t)((__int128)steps * unit * 4294967296 / 1000000000);
}

long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    const char *type = getenv("CHIPWATT_FAKE_PMU");
    const uint32_t *attr = (const uint32_t *)a[0];
    if (number != SYS_perf_event_open || !type || attr[0] != (uint32_t)atoi(type)) {
        long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
        return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    if (!player_count && player_load()) { errno = ENOENT; return -1; }
    if (!opened_ns) opened_ns = player_now_ns();
    uint64_t config = *(const uint64_t *)(attr + 2);
    int per_cpu = (int)player_number(&player_devices[0], "events", 2);
    int index = (int)a[2] * per_cpu + (int)config;
    if (index >= player_count) { errno = ENOENT; return -1; }
    int denied = (int)player_number(&player_devices[index], "deny_errno", 0);
    if (denied) { errno = denied; return -1; }
    int fd = memfd_create("pmu", MFD_CLOEXEC);
    int leader = (int)a[3] < 0 ? fd : (int)a[3];
    if (fd < 0 || fd >= MAX_FDS || event_count[leader] == 8) { errno = EMFILE; return -1; }
    if (leader == fd) event_count[fd] = 0;
    events[leader][event_count[leader]++] = &player_devices[index];
    return fd;
}

ssize_t read(int fd, void *buffer, size_t size) {
    if (fd < 0 || fd >= MAX_FDS || !event_count[fd])
        return ((ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(fd, buffer, size);
    uint64_t *words = buffer;
    int64_t now = player_now_ns();
    words[0] = (uint64_t)event_count[fd];
    for (int i = 0; i < event_count[fd]; i++) {
        struct player_device *d = events[fd][i];
        if (now >= player_number(d, "fail_at_ns", INT64_MAX) && now < player_number(d, "fail_until_ns", INT64_MAX)) {
            errno = EIO;
            return -1;
        }
        int64_t refresh = player_number(d, "refresh_ns", 1000000);
        words[1 + i] = count_at(d, player_refreshed(d, now, refresh)) - count_at(d, player_refreshed(d, opened_ns, refresh));
    }
    return (ssize_t)(8 * (1 + event_count[fd]));
}

int close(int fd) {
    if (fd >= 0 && fd < MAX_FDS) event_count[fd] = 0;
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}
