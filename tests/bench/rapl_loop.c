/* The bare minimum that 1 kHz sampling of counters can cost: a yardstick for the sensing process.
 *
 * Usage: rapl_loop PERIOD_NS LATE_NS FILE...
 * Reads every file once a period at absolute deadlines, until standard input
 * closes; then prints "deadlines late cpu_ns wall_ns". A wake-up counts as late,
 * and missed deadlines as due, exactly as the agent counts them.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 64 };

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int64_t cpu_ns(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000LL
        + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000LL;
}

int main(int count, char **arguments) {
    if (count < 4 || count - 3 > MAX_FILES) return 2;
    int64_t period = atoll(arguments[1]), limit = atoll(arguments[2]);
    int files = count - 3, fds[MAX_FILES];
    volatile uint64_t values[MAX_FILES];
    for (int i = 0; i < files; i++)
        if ((fds[i] = open(arguments[i + 3], O_RDONLY | O_CLOEXEC)) < 0) return 3;
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    struct pollfd input = {0, POLLIN, 0};
    int64_t began = now_ns(), next = began + period, deadlines = 0, late = 0;
    for (int turn = 0;; turn++) {
        struct timespec until = {next / 1000000000, next % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        int64_t behind = now_ns() - next, due = 1 + (behind > 0 ? behind / period : 0);
        deadlines += due;
        late += due - 1 + (behind > limit);
        next += due * period;
        for (int i = 0; i < files; i++) {
            char text[32] = {0};
            if (pread(fds[i], text, sizeof text - 1, 0) > 0) values[i] = strtoull(text, NULL, 10);
        }
        if (turn % 50 == 0 && poll(&input, 1, 0) > 0) break;
    }
    printf("%lld %lld %lld %lld\n", (long long)deadlines, (long long)late, (long long)cpu_ns(),
           (long long)(now_ns() - began));
    return 0;
}
