/* Moves the files of a fake sysfs along traces, in real time, as a driver would.
 *
 * Settings of a device (player.h):
 *   text file PATH      the attribute to write, in place, with one pwrite
 *   energy 1            an energy counter in uJ; else power in uW
 *   refresh_ns          time between updates (1 ms); jitter_ns: uniform, plus or minus
 *   unit_nj             size of a counter's step (61035 = 2^-14 J)
 *   modulus_steps       the counter runs from 0 to this less 1 (2^32)
 *   start_steps         where the counter stands at time zero
 *   averaging_ns        trailing mean of a gauge
 * Faults, each at a time after zero: reset_at_ns (the counter starts at 0),
 *   freeze_at_ns .. freeze_until_ns (no updates), spike_at_ns (one update shows
 *   2^40 uJ more), backwards_at_ns (one update shows 1 J less), deny_at_ns ..
 *   deny_until_ns (the file is gone).
 *
 * Update k happens at k * refresh + jitter(k), where jitter is a hash of k, so
 * that whoever knows the settings knows every value that was ever shown.
 * Runs until its standard input closes.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "player.h"

static int64_t number(const struct player_device *d, const char *key, int64_t otherwise) {
    return player_number(d, key, otherwise);
}

static uint64_t hash(uint64_t k) {
    k += 0x9E3779B97F4A7C15ULL;
    k = (k ^ (k >> 30)) * 0xBF58476D1CE4E5B9ULL;
    k = (k ^ (k >> 27)) * 0x94D049BB133111EBULL;
    return k ^ (k >> 31);
}

static int64_t update_ns(const struct player_device *d, int64_t k) {
    int64_t jitter = number(d, "jitter_ns", 0);
    int64_t offset = jitter ? (int64_t)(hash((uint64_t)k) % (uint64_t)(2 * jitter + 1)) - jitter : 0;
    return k * number(d, "refresh_ns", 1000000) + offset;
}

static int64_t steps_at(const struct player_device *d, int64_t t_ns) {
    twice_mw_ns energy = player_energy(d, t_ns);
    /* 1 nJ is 1000 mW ns, so 2000 of twice that. */
    return (int64_t)(energy / ((twice_mw_ns)2000 * number(d, "unit_nj", 61035)));
}

static int64_t shown(const struct player_device *d, int64_t t_ns, int64_t k) {
    if (!number(d, "energy", 0)) return player_mean_mw(d, t_ns, number(d, "averaging_ns", 0)) * 1000;
    int64_t unit = number(d, "unit_nj", 61035), reset = number(d, "reset_at_ns", INT64_MAX);
    int64_t steps = t_ns >= reset ? steps_at(d, t_ns) - steps_at(d, reset)
                                  : steps_at(d, t_ns) + number(d, "start_steps", 0);
    int64_t value = (steps % number(d, "modulus_steps", 1LL << 32)) * unit / 1000;
    int64_t every = number(d, "refresh_ns", 1000000);
    if (k == number(d, "spike_at_ns", INT64_MAX) / every) value += 1LL << 40;
    if (k == number(d, "backwards_at_ns", INT64_MAX) / every) value -= 1000000;
    return value;
}

int main(void) {
    static int fds[PLAYER_MAX_DEVICES];
    static int64_t next[PLAYER_MAX_DEVICES];
    if (player_load()) { fprintf(stderr, "file_player: no scenario\n"); return 1; }
    for (int i = 0; i < player_count; i++) {
        fds[i] = -1;
        next[i] = player_now_ns() / number(&player_devices[i], "refresh_ns", 1000000) + 1;
    }
    /* Firmware is never late; a busy test machine is, unless it lets us go first. */
    struct sched_param first = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &first);
    struct pollfd input = {0, POLLIN, 0};
    for (;;) {
        int64_t soonest = INT64_MAX;
        for (int i = 0; i < player_count; i++) {
            struct player_device *d = &player_devices[i];
            const char *path = player_text(d, "file", "");
            int64_t due = update_ns(d, next[i]), now = player_now_ns();
            if (now >= due) {
                int gone = due >= number(d, "deny_at_ns", INT64_MAX) && due < number(d, "deny_until_ns", INT64_MAX);
                int frozen = due >= number(d, "freeze_at_ns", INT64_MAX) && due < number(d, "freeze_until_ns", INT64_MAX);
                if (gone && fds[i] >= 0) { unlink(path); close(fds[i]); fds[i] = -1; }
                if (!gone && fds[i] < 0) fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
                if (!gone && !frozen) {
                    char text[32];
                    int size = snprintf(text, sizeof text, "%-22lld\n", (long long)shown(d, due, next[i]));
                    if (pwrite(fds[i], text, (size_t)size, 0) != size) return 1;
                }
                next[i]++;
                due = update_ns(d, next[i]);
            }
            if (due < soonest) soonest = due;
        }
        int64_t wait = soonest - player_now_ns();
        if (wait > 0) {
            struct timespec rest = {wait / 1000000000, wait % 1000000000};
            nanosleep(&rest, NULL);
        }
        if (poll(&input, 1, 0) > 0) return 0;
    }
}
