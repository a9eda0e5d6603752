/* Plays power traces in real time: what every fake vendor library shares.
 *
 * The folder in CHIPWATT_FAKE_DIR holds `scenario`, one `key value...` a line:
 *   start_mono_ns N            time zero of all traces, CLOCK_MONOTONIC
 *   device NAME                opens a device; the lines below belong to it
 *   trace FILE                 in the same folder: pairs of little-endian int64
 *                              (t_ns, power_mw), piecewise linear, t ascending
 *   KEY VALUE                  any number of integer settings (settings of the
 *                              library that plays: refresh_ns, lost_at_ns, ...)
 *   text KEY VALUE             a setting that is text (uuid, bdf)
 *
 * Energy is exact: twice the integral in mW ns as a 128-bit integer.
 */
#ifndef CHIPWATT_PLAYER_H
#define CHIPWATT_PLAYER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLAYER_MAX_DEVICES 64
#define PLAYER_MAX_SETTINGS 32

typedef __int128 twice_mw_ns;

struct player_point {
    int64_t t_ns, power_mw;
};

struct player_device {
    char name[64];
    struct player_point *points;
    twice_mw_ns *energy; /* up to each point */
    size_t count;
    struct { char key[32]; int64_t value; } numbers[PLAYER_MAX_SETTINGS];
    struct { char key[32]; char value[512]; } texts[PLAYER_MAX_SETTINGS];
    int number_count, text_count;
};

static struct player_device player_devices[PLAYER_MAX_DEVICES];
static int player_count;
static int64_t player_start_ns;

static inline int64_t player_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec - player_start_ns;
}

static inline int64_t player_number(const struct player_device *d, const char *key, int64_t otherwise) {
    for (int i = 0; i < d->number_count; i++)
        if (!strcmp(d->numbers[i].key, key)) return d->numbers[i].value;
    return otherwise;
}

static inline const char *player_text(const struct player_device *d, const char *key, const char *otherwise) {
    for (int i = 0; i < d->text_count; i++)
        if (!strcmp(d->texts[i].key, key)) return d->texts[i].value;
    return otherwise;
}

/* Index of the last point at or before t; 0 where t is before all. */
static inline size_t player_index(const struct player_device *d, int64_t t_ns) {
    size_t low = 0, high = d->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (d->points[middle].t_ns <= t_ns) low = middle; else high = middle;
    }
    return low;
}

static inline int64_t player_power_mw(const struct player_device *d, int64_t t_ns) {
    if (!d->count) return 0;
    size_t i = player_index(d, t_ns);
    const struct player_point *p = &d->points[i];
    if (t_ns <= p->t_ns || i + 1 == d->count) return p->power_mw;
    const struct player_point *q = p + 1;
    return p->power_mw + (q->power_mw - p->power_mw) * (t_ns - p->t_ns) / (q->t_ns - p->t_ns);
}

/* Twice the integral of power from the first point to t, in mW ns; the last power holds on. */
static inline twice_mw_ns player_energy(const struct player_device *d, int64_t t_ns) {
    if (!d->count || t_ns <= d->points[0].t_ns) return 0;
    size_t i = player_index(d, t_ns);
    const struct player_point *p = &d->points[i];
    twice_mw_ns whole = d->energy[i];
    int64_t dt = t_ns - p->t_ns;
    if (i + 1 == d->count) return whole + (twice_mw_ns)2 * p->power_mw * dt;
    int64_t span = p[1].t_ns - p->t_ns;
    if (!span) return whole;
    return whole + (twice_mw_ns)2 * p->power_mw * dt
        + (twice_mw_ns)(p[1].power_mw - p->power_mw) * dt * dt / span;
}

static inline int64_t player_energy_uj(const struct player_device *d, int64_t t_ns) {
    return (int64_t)(player_energy(d, t_ns) / 2000000);
}

/* Mean power over the window that ends at t; the power itself for an empty window. */
static inline int64_t player_mean_mw(const struct player_device *d, int64_t t_ns, int64_t window_ns) {
    if (window_ns <= 0) return player_power_mw(d, t_ns);
    return (int64_t)((player_energy(d, t_ns) - player_energy(d, t_ns - window_ns)) / (2 * (twice_mw_ns)window_ns));
}

/* The time of the value that firmware shows at t: refreshed every refresh_ns, with a phase. */
static inline int64_t player_refreshed(const struct player_device *d, int64_t t_ns, int64_t refresh_ns) {
    if (refresh_ns <= 0) return t_ns;
    int64_t phase = player_number(d, "phase_ns", 0);
    int64_t k = (t_ns - phase) / refresh_ns;
    int64_t frozen = player_number(d, "freeze_at_ns", INT64_MAX);
    int64_t shown = k * refresh_ns + phase;
    int frozen_now = shown >= frozen && t_ns < player_number(d, "freeze_until_ns", INT64_MAX);
    return frozen_now ? frozen / refresh_ns * refresh_ns : shown;
}

static void player_load_trace(struct player_device *d, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { fprintf(stderr, "fake: no trace %s\n", path); abort(); }
    fseek(file, 0, SEEK_END);
    d->count = (size_t)ftell(file) / sizeof(struct player_point);
    rewind(file);
    d->points = malloc(d->count * sizeof(struct player_point));
    d->energy = malloc(d->count * sizeof(twice_mw_ns));
    if (fread(d->points, sizeof(struct player_point), d->count, file) != d->count) abort();
    fclose(file);
    twice_mw_ns sum = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (i) sum += (twice_mw_ns)(d->points[i].power_mw + d->points[i - 1].power_mw)
            * (d->points[i].t_ns - d->points[i - 1].t_ns);
        d->energy[i] = sum;
    }
}

/* Read the scenario; called at every init, so a changed file takes effect then. */
static int player_load(void) {
    const char *folder = getenv("CHIPWATT_FAKE_DIR");
    char path[4096], line[4096], key[64], first[96], rest[2048];
    if (!folder) return -1;
    snprintf(path, sizeof path, "%s/scenario", folder);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    player_count = 0;
    struct player_device *d = NULL;
    while (fgets(line, sizeof line, file)) {
        int fields = sscanf(line, "%63s %95s %2047[^\n]", key, first, rest);
        if (fields < 2) continue;
        if (!strcmp(key, "start_mono_ns")) player_start_ns = atoll(first);
        else if (!strcmp(key, "device") && player_count < PLAYER_MAX_DEVICES) {
            d = &player_devices[player_count++];
            memset(d, 0, sizeof *d);
            snprintf(d->name, sizeof d->name, "%s", first);
        } else if (!d) continue;
        else if (!strcmp(key, "trace")) {
            snprintf(path, sizeof path, "%s/%s", folder, first);
            player_load_trace(d, path);
        } else if (!strcmp(key, "text") && fields == 3 && d->text_count < PLAYER_MAX_SETTINGS) {
            snprintf(d->texts[d->text_count].key, 32, "%.31s", first);
            snprintf(d->texts[d->text_count++].value, 512, "%.511s", rest);
        } else if (d->number_count < PLAYER_MAX_SETTINGS) {
            snprintf(d->numbers[d->number_count].key, 32, "%.31s", key);
            d->numbers[d->number_count++].value = atoll(first);
        }
    }
    fclose(file);
    return 0;
}
#endif
