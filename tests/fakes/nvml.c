/* A libnvidia-ml.so.1 that plays traces: what the binding nvidia-ml-py loads.
 *
 * Settings of a GPU (player.h), integers unless marked:
 *   text uuid GPU-..., text bdf 00000000:C1:00.0, text name NVIDIA H100
 *   cc_major, cc_minor         compute capability (9, 0)
 *   refresh_ns                 how often power and energy move (100 ms)
 *   instant_ns                 window of the instantaneous field (25 ms)
 *   averaging_ns               window of the mean power and of PowerUsage (1 s)
 *   limit_mw, max_limit_mw     enforced limit, largest limit (700 W both)
 *   throttled_power_ppm, throttled_thermal_ppm, throttled_brake_ppm
 *                              share of time spent under each limit
 *   error_energy, error_usage, error_fields, error_limits, error_uuid, error_cc
 *                              return code of that call, for ever
 *   field_error_ID, field_type_ID   return code or value type of one field
 *   lost_at_ns, lost_until_ns  the GPU is off the bus in between
 *   unknown_at_ns, unknown_until_ns   reads fail with 999 in between
 *   unloaded_at_ns             the driver is gone from then on
 *   reset_at_ns                the driver reloads: its energy starts anew
 *   slow_ns                    every call takes that long
 *
 * Environment: CHIPWATT_FAKE_NVML_INIT is what nvmlInit returns;
 * CHIPWATT_FAKE_CLOCK names a file with an int64 that replaces the time since
 * the start of the traces, so that a test need not wait.
 */
#include <fcntl.h>
#include <unistd.h>

#include "player.h"

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, NOT_FOUND = 6, UNKNOWN = 999,
};
enum { TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

union value { double d; unsigned int ui; unsigned long ul; unsigned long long ull; long long sll; };
struct field_value {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    int32_t type, result;
    union value value;
};
struct pci_info {
    char legacy[16];
    uint32_t domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};
_Static_assert(sizeof(struct field_value) == 40, "nvmlFieldValue_t");
_Static_assert(sizeof(struct pci_info) == 68, "nvmlPciInfo_t");

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

/* Every call on a device begins here: it may be slow, and the device may be gone. */
static int enter(void *handle, const char *error_key) {
    struct player_device *d = handle;
    if (!d) return INVALID_ARGUMENT;
    int64_t slow_ns = number(d, "slow_ns", 0), t_ns = now_ns();
    if (slow_ns) {
        struct timespec wait = {slow_ns / 1000000000, slow_ns % 1000000000};
        nanosleep(&wait, NULL);
    }
    if (t_ns >= number(d, "unloaded_at_ns", INT64_MAX)) return DRIVER_NOT_LOADED;
    if (between(d, "lost_at_ns", "lost_until_ns", t_ns)) return GPU_IS_LOST;
    if (between(d, "unknown_at_ns", "unknown_until_ns", t_ns)) return UNKNOWN;
    return error_key ? (int)number(d, error_key, SUCCESS) : SUCCESS;
}

static int64_t shown_ns(const struct player_device *d) {
    return player_refreshed(d, now_ns(), number(d, "refresh_ns", 100000000));
}

static uint64_t energy_mj(const struct player_device *d) {
    int64_t t_ns = shown_ns(d), reset_ns = number(d, "reset_at_ns", INT64_MAX);
    int64_t before_uj = t_ns >= reset_ns ? player_energy_uj(d, reset_ns) : 0;
    return (uint64_t)(player_energy_uj(d, t_ns) - before_uj) / 1000;
}

/* The trailing mean that firmware shows; shorter at the very start of a trace. */
static uint32_t mean_mw(const struct player_device *d, int64_t window_ns) {
    int64_t t_ns = shown_ns(d);
    if (window_ns > t_ns) window_ns = t_ns;
    return (uint32_t)player_mean_mw(d, t_ns, window_ns);
}

static uint32_t instant_mw(const struct player_device *d) {
    return mean_mw(d, number(d, "instant_ns", 25000000));
}

static uint32_t average_mw(const struct player_device *d) {
    return mean_mw(d, number(d, "averaging_ns", 1000000000));
}

static int copy(char *to, unsigned int size, const char *text) {
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

/* ---- the library ---- */

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    const char *result = getenv("CHIPWATT_FAKE_NVML_INIT");
    if (result && atoi(result)) return atoi(result);
    return player_load() ? DRIVER_NOT_LOADED : SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { (void)result; return "as the scenario says"; }
int nvmlSystemGetDriverVersion(char *to, unsigned int size) { return copy(to, size, "580.00.00"); }
int nvmlSystemGetNVMLVersion(char *to, unsigned int size) { return copy(to, size, "13.580.00"); }

/* ---- finding devices ---- */

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = (unsigned int)player_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if ((int)index >= player_count) return INVALID_ARGUMENT;
    *handle = &player_devices[index];
    return between(*handle, "lost_at_ns", "lost_until_ns", now_ns()) ? GPU_IS_LOST : SUCCESS;
}

static int find(const char *key, const char *text, void **handle) {
    for (int i = 0; i < player_count; i++)
        if (!strcmp(player_text(&player_devices[i], key, ""), text))
            return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, handle);
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) { return find("uuid", uuid, handle); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bdf, void **handle) { return find("bdf", bdf, handle); }

int nvmlDeviceGetName(void *handle, char *to, unsigned int size) {
    int result = enter(handle, NULL);
    return result ? result : copy(to, size, player_text(handle, "name", "NVIDIA Fake"));
}

int nvmlDeviceGetUUID(void *handle, char *to, unsigned int size) {
    int result = enter(handle, "error_uuid");
    return result ? result : copy(to, size, player_text(handle, "uuid", ""));
}

int nvmlDeviceGetPciInfo_v3(void *handle, struct pci_info *info) {
    int result = enter(handle, NULL);
    if (result) return result;
    memset(info, 0, sizeof *info);
    return copy(info->bus_id, sizeof info->bus_id, player_text(handle, "bdf", "00000000:01:00.0"));
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    int result = enter(handle, "error_cc");
    *major = (int)number(handle, "cc_major", 9);
    *minor = (int)number(handle, "cc_minor", 0);
    return result;
}

/* ---- power and energy ---- */

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    int result = enter(handle, "error_energy");
    *mj = result ? 0 : energy_mj(handle);
    return result;
}

/* A mean from Ampere on, but for GA100; instantaneous before (nvml.h). */
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *mw) {
    int result = enter(handle, "error_usage");
    int64_t capability = number(handle, "cc_major", 9) * 10 + number(handle, "cc_minor", 0);
    *mw = result ? 0 : capability > 80 ? average_mw(handle) : instant_mw(handle);
    return result;
}

static uint64_t throttled_ns(const struct player_device *d, const char *key) {
    return (uint64_t)((__int128)now_ns() * number(d, key, 0) / 1000000);
}

static void read_field(const struct player_device *d, struct field_value *v) {
    char key[32];
    snprintf(key, sizeof key, "field_error_%u", v->field);
    v->result = (int32_t)number(d, key, v->scope ? NOT_SUPPORTED : SUCCESS);
    v->timestamp_us = time(NULL) * 1000000LL;
    v->latency_us = 1;
    memset(&v->value, 0xA5, sizeof v->value); /* what the driver does not write is rubbish */
    if (v->result) return;
    v->type = TYPE_ULONGLONG;
    switch (v->field) {
    case 83: case 191: v->value.ull = energy_mj(d); break;
    case 185: v->type = TYPE_UINT; v->value.ui = average_mw(d); break;
    case 186: v->type = TYPE_UINT; v->value.ui = instant_mw(d); break;
    case 188: v->type = TYPE_UINT; v->value.ui = (unsigned)number(d, "max_limit_mw", 700000); break;
    case 190: v->type = TYPE_UINT; v->value.ui = (unsigned)number(d, "limit_mw", 700000); break;
    case 74: v->value.ull = throttled_ns(d, "throttled_power_ppm"); break;
    case 269: case 270: v->value.ull = throttled_ns(d, "throttled_thermal_ppm"); break;
    case 271: v->value.ull = throttled_ns(d, "throttled_brake_ppm"); break;
    default: v->result = NOT_SUPPORTED;
    }
    snprintf(key, sizeof key, "field_type_%u", v->field);
    v->type = (int32_t)number(d, key, v->type);
}

int nvmlDeviceGetFieldValues(void *handle, int count, struct field_value *values) {
    int result = enter(handle, "error_fields"), any = 0;
    if (result) return result;
    for (int i = 0; i < count; i++) {
        read_field(handle, &values[i]);
        any |= !values[i].result;
    }
    return any ? SUCCESS : values[0].result;
}

/* ---- limits ---- */

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned int *mw) {
    *mw = (unsigned int)number(handle, "limit_mw", 700000);
    return enter(handle, "error_limits");
}
int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned int *mw) {
    return nvmlDeviceGetEnforcedPowerLimit(handle, mw);
}
int nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned int *mw) {
    *mw = (unsigned int)number(handle, "max_limit_mw", 700000);
    return enter(handle, "error_limits");
}
int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned int *least, unsigned int *most) {
    *least = 100000;
    return nvmlDeviceGetPowerManagementDefaultLimit(handle, most);
}
