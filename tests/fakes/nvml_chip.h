/* What a GPU's firmware shows of its load, and when it is there at all; settings as nvml.c says. */
#ifndef CHIPWATT_NVML_CHIP_H
#define CHIPWATT_NVML_CHIP_H

#include <fcntl.h>
#include <unistd.h>

#include "player.h"

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, NOT_FOUND = 6, UNKNOWN = 999,
};

static int64_t now_ns(void) {
    const char *path = getenv("CHIPWATT_FAKE_CLOCK");
    if (!path) return player_now_ns();
    int64_t value = 0;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &value, sizeof value) != sizeof value) abort();
    close(fd);
    return value;
}

static int64_t number(const struct player_device *d, const char *key, int64_t otherwise) {
    return player_number(d, key, otherwise);
}

static int between(const struct player_device *d, const char *from, const char *until, int64_t t_ns) {
    return t_ns >= number(d, from, INT64_MAX) && t_ns < number(d, until, INT64_MAX);
}

static struct player_device *gpus[PLAYER_MAX_DEVICES];
static int gpu_count;
static int64_t started_ns;
static char mig_child;

static void note(const char *call) {
    const char *path = getenv("CHIPWATT_FAKE_CALLS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%s\n", call);
    fclose(file);
}

static const struct player_device *load_of(const struct player_device *d, const char *scope) {
    const char *name = player_text(d, scope, NULL);
    for (int i = 0; name && i < player_count; i++)
        if (!strcmp(player_devices[i].name, name)) return &player_devices[i];
    return NULL;
}

/* Every call on a device begins here: it may be slow, and the device may be gone. */
#define enter(handle, error_key) enter_from(__func__, handle, error_key)
static int enter_from(const char *call, void *handle, const char *error_key) {
    struct player_device *d = handle;
    note(call);
    if (!d) return INVALID_ARGUMENT;
    if (handle == &mig_child) {
        fprintf(stderr, "fake: %s on a MIG child\n", call);
        abort();
    }
    int64_t slow_ns = number(d, "slow_ns", 0), t_ns = now_ns();
    if (slow_ns) {
        struct timespec wait = {slow_ns / 1000000000, slow_ns % 1000000000};
        nanosleep(&wait, NULL);
    }
    int64_t unloaded_ns = number(d, "unloaded_at_ns", INT64_MAX);
    if (started_ns < unloaded_ns && t_ns >= unloaded_ns) return DRIVER_NOT_LOADED;
    if (between(d, "lost_at_ns", "lost_until_ns", t_ns)) return GPU_IS_LOST;
    if (between(d, "unknown_at_ns", "unknown_until_ns", t_ns)) return UNKNOWN;
    return error_key ? (int)number(d, error_key, SUCCESS) : SUCCESS;
}

static int64_t shown_ns(const struct player_device *d) {
    return player_refreshed(d, now_ns(), number(d, "refresh_ns", 100000000));
}

static uint64_t energy_mj(const struct player_device *d) {
    int64_t reload_ns = number(d, "unloaded_until_ns", INT64_MAX);
    int64_t t_ns = shown_ns(d), reset_ns = number(d, "reset_at_ns", reload_ns);
    const struct player_device *of = number(d, "energy_of_module", 0) ? load_of(d, "module") : d;
    int64_t before_uj = t_ns >= reset_ns ? player_energy_uj(of, reset_ns) : 0;
    return (uint64_t)(player_energy_uj(of, t_ns) - before_uj) / 1000;
}

/* The trailing mean that firmware shows; shorter at the very start of a trace. */
static uint32_t mean_mw(const struct player_device *d, const struct player_device *of, int64_t window_ns) {
    int64_t t_ns = shown_ns(d);
    if (window_ns > t_ns) window_ns = t_ns;
    return (uint32_t)player_mean_mw(of, t_ns, window_ns);
}

/* GA100 and older have no mean: what asks for one gets the instantaneous value. */
static int has_mean(const struct player_device *d) {
    return number(d, "cc_major", 9) * 10 + number(d, "cc_minor", 0) > 80;
}

static uint32_t instant_mw(const struct player_device *d, const struct player_device *of) {
    return mean_mw(d, of, number(d, "instant_ns", 25000000));
}

static uint32_t average_mw(const struct player_device *d, const struct player_device *of) {
    return has_mean(d) ? mean_mw(d, of, number(d, "averaging_ns", 1000000000)) : instant_mw(d, of);
}

static uint64_t throttled_ns(const struct player_device *d, const char *key) {
    return (uint64_t)((__int128)now_ns() * number(d, key, 0) / 1000000);
}
#endif
