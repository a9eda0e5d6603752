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
 *   throttled_board_ppm        as these, by the board's limit; absent: not supported
 *   text module NAME, text memory NAME   the device of the scenario whose load is what
 *                              that power scope shows; absent: the scope is not supported
 *   hidden                     1: only a load for a scope, no GPU
 *   module_limit_mw            largest and current limit of the module
 *   energy_of_module           1: the energy counter is that of the module's load
 *   first_cpu                  the GPU hangs on the 72 CPUs from there; absent: nobody knows
 *   mig                        1: MIG is on; whoever then touches a child ends the process
 *   error_energy, error_usage, error_fields, error_limits, error_uuid, error_cc
 *                              return code of that call, for ever
 *   field_error_ID, field_type_ID   return code or value type of one field
 *   field_error_ID_SCOPE       return code of one field in power scope 1 or 2
 *   scope_error_0              return code of every power field of the GPU's own scope
 *   field_errors_from_ns       before that all these are well
 *   lost_at_ns, lost_until_ns  the GPU is off the bus in between
 *   unknown_at_ns, unknown_until_ns   reads fail with 999 in between
 *   unloaded_at_ns, unloaded_until_ns   the driver is gone in between; then its energy starts
 *                              anew, and it answers only those that initialise again
 *   reset_at_ns                energy starts anew, all else goes on
 *   slow_ns                    every call takes that long
 *
 * Environment: CHIPWATT_FAKE_NVML_INIT is what nvmlInit returns;
 * CHIPWATT_FAKE_CLOCK names a file with an int64 that replaces the time since
 * the start of the traces, so that a test need not wait; CHIPWATT_FAKE_CALLS
 * names a file that gets a line with the name of every call on a GPU.
 */
#include "nvml_chip.h"

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
    if (player_load()) return DRIVER_NOT_LOADED;
    gpu_count = 0;
    started_ns = now_ns();
    for (int i = 0; i < player_count; i++) {
        struct player_device *d = &player_devices[i];
        if (between(d, "unloaded_at_ns", "unloaded_until_ns", started_ns)) return DRIVER_NOT_LOADED;
        if (!number(d, "hidden", 0)) gpus[gpu_count++] = d;
    }
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { (void)result; return "as the scenario says"; }
int nvmlSystemGetDriverVersion(char *to, unsigned int size) { return copy(to, size, "580.00.00"); }
int nvmlSystemGetNVMLVersion(char *to, unsigned int size) { return copy(to, size, "13.580.00"); }

/* ---- finding devices ---- */

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = (unsigned int)gpu_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if ((int)index >= gpu_count) return INVALID_ARGUMENT;
    *handle = gpus[index];
    return between(*handle, "lost_at_ns", "lost_until_ns", now_ns()) ? GPU_IS_LOST : SUCCESS;
}

static int find(const char *key, const char *text, void **handle) {
    for (int i = 0; i < gpu_count; i++)
        if (!strcmp(player_text(gpus[i], key, ""), text))
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

int nvmlDeviceGetCpuAffinity(void *handle, unsigned int words, unsigned long *mask) {
    int result = enter(handle, NULL);
    int64_t first = number(handle, "first_cpu", -1);
    if (result || first < 0) return result ? result : NOT_SUPPORTED;
    memset(mask, 0, words * sizeof *mask);
    for (int64_t cpu = first; cpu < first + 72 && cpu < 64 * (int64_t)words; cpu++)
        mask[cpu / 64] |= 1UL << cpu % 64;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    int result = enter(handle, NULL);
    *current = *pending = (unsigned int)number(handle, "mig", 0);
    return result;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    *count = number(handle, "mig", 0) ? 7 : 0;
    return enter(handle, NULL);
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **child) {
    int result = enter(handle, NULL);
    *child = &mig_child;
    return result ? result : number(handle, "mig", 0) && index < 7 ? SUCCESS : NOT_FOUND;
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
    *mw = result ? 0 : average_mw(handle, handle);
    return result;
}

static void read_field(const struct player_device *d, struct field_value *v) {
    char key[32];
    int power = v->field >= 185 && v->field <= 192;
    const struct player_device *of = !v->scope ? d : v->scope == 1 ? load_of(d, "module")
        : v->scope == 2 ? load_of(d, "memory") : NULL;
    int32_t usual = !of || (v->scope && !power) ? NOT_SUPPORTED
        : power && !v->scope ? (int32_t)number(d, "scope_error_0", SUCCESS) : SUCCESS;
    if (v->scope == 2 && v->field != 185) usual = NOT_SUPPORTED; /* memory tells its mean alone */
    if (v->scope) snprintf(key, sizeof key, "field_error_%u_%u", v->field, v->scope);
    else snprintf(key, sizeof key, "field_error_%u", v->field);
    int failing = now_ns() >= number(d, "field_errors_from_ns", 0);
    v->result = failing ? (int32_t)number(d, key, usual) : of ? SUCCESS : NOT_SUPPORTED;
    v->timestamp_us = now_ns() / 1000;
    v->latency_us = 1;
    memset(&v->value, 0xA5, sizeof v->value); /* what the driver does not write is rubbish */
    if (v->result) return;
    int64_t limit_mw = number(d, v->scope ? "module_limit_mw" : "limit_mw", 700000);
    int64_t max_mw = number(d, v->scope ? "module_limit_mw" : "max_limit_mw", 700000);
    v->type = TYPE_ULONGLONG;
    switch (v->field) {
    case 83: case 191: v->value.ull = energy_mj(d); break;
    case 185: v->type = TYPE_UINT; v->value.ui = average_mw(d, of); break;
    case 186: v->type = TYPE_UINT; v->value.ui = instant_mw(d, of); break;
    case 187: v->type = TYPE_UINT; v->value.ui = (unsigned)(max_mw / 7); break;
    case 189: v->type = TYPE_UINT; v->value.ui = (unsigned)max_mw; break;
    case 188: v->type = TYPE_UINT; v->value.ui = (unsigned)max_mw; break;
    case 190: v->type = TYPE_UINT; v->value.ui = (unsigned)limit_mw; break;
    case 74: v->value.ull = throttled_ns(d, "throttled_power_ppm"); break;
    case 77:
        v->value.ull = throttled_ns(d, "throttled_board_ppm");
        if (number(d, "throttled_board_ppm", -1) < 0) v->result = NOT_SUPPORTED;
        break;
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
