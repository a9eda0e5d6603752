/* A libamd_smi.so that plays traces: what the binding `amdsmi` 7.0 loads.
 *
 * Settings of a device (player.h): text bdf 0000:c1:00.0, text graphics gfx942,
 * refresh_ns (1 ms cache), resolution_micro (15300000 = 15.3 uJ as the library
 * says), average 1 (MI200: average power only) or 0 (MI300: current only),
 * averaging_ns, no_energy 1, no_power 1, cap_uw, partition N, lost_at_ns, lost_until_ns,
 * backwards_at_ns (the accumulator once falls by 1000 J), reset_at_ns,
 * slow_ns (every call takes that long), ppt_share_ppm (share of time throttled).
 * A device may `share N`: it shows device N's load, as partitions do.
 *
 * Struct layouts as in the binding's wrapper (amdsmi_wrapper.py, release 7.0).
 */
#include "player.h"

enum { SUCCESS = 0, INVAL = 1, NOT_SUPPORTED = 2, INIT_FAILED = 8, NO_DATA = 40 };

struct power_info {
    uint64_t socket_power;
    uint32_t current_socket_power, average_socket_power;
    uint64_t gfx_voltage, soc_voltage, mem_voltage;
    uint32_t power_limit, padding;
    uint64_t reserved[18];
};
struct power_cap_info { uint64_t power_cap, default_power_cap, dpm_cap, min_power_cap, max_power_cap, reserved[3]; };
struct kfd_info { uint64_t kfd_id; uint32_t node_id, current_partition_id, reserved[12]; };
struct asic_info {
    char market_name[256];
    uint32_t vendor_id;
    char vendor_name[256];
    uint32_t subvendor_id;
    uint64_t device_id;
    uint32_t rev_id;
    char asic_serial[256];
    uint32_t oam_id, num_of_compute_units, padding;
    uint64_t target_graphics_version;
    uint32_t subsystem_id, reserved[21];
};
struct violation_status {
    uint64_t reference_timestamp, violation_timestamp, acc_counter, acc_prochot_thrm, acc_ppt_pwr,
        acc_socket_thrm, acc_vr_thrm, acc_hbm_thrm, rest[6 + 1 + 64 * 8 + 32 + 64 * 3];
};

static struct player_device *device(void *handle) {
    struct player_device *d = handle;
    int64_t slow_ns = player_number(d, "slow_ns", 0);
    if (slow_ns) {
        struct timespec wait = {slow_ns / 1000000000, slow_ns % 1000000000};
        nanosleep(&wait, NULL);
    }
    int64_t now = player_now_ns();
    int lost = now >= player_number(d, "lost_at_ns", INT64_MAX) && now < player_number(d, "lost_until_ns", INT64_MAX);
    return lost ? NULL : d;
}

/* The device whose load is shown: a partition repeats its socket. */
static struct player_device *load_of(struct player_device *d) {
    int64_t other = player_number(d, "share", -1);
    return other < 0 ? d : &player_devices[other];
}

int amdsmi_init(uint64_t flags) { (void)flags; return player_load() ? INIT_FAILED : SUCCESS; }
int amdsmi_shut_down(void) { return SUCCESS; }

int amdsmi_status_code_to_string(int status, const char **text) {
    (void)status;
    *text = "AMDSMI_STATUS_FAKE: as the scenario says";
    return SUCCESS;
}

int amdsmi_get_socket_handles(uint32_t *count, void **handles) {
    if (handles) for (uint32_t i = 0; i < *count && (int)i < player_count; i++) handles[i] = &player_devices[i];
    else *count = player_count;
    return SUCCESS;
}

int amdsmi_get_processor_handles(void *socket, uint32_t *count, void **handles) {
    if (handles) handles[0] = socket;
    *count = 1;
    return SUCCESS;
}

int amdsmi_get_gpu_device_bdf(void *handle, uint64_t *bdf) {
    unsigned domain, bus, slot, function;
    if (sscanf(player_text(handle, "bdf", ""), "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4) return NO_DATA;
    *bdf = (uint64_t)domain << 16 | bus << 8 | slot << 3 | function;
    return SUCCESS;
}

int amdsmi_get_gpu_kfd_info(void *handle, struct kfd_info *info) {
    memset(info, 0, sizeof *info);
    info->current_partition_id = (uint32_t)player_number(handle, "partition", 0);
    return SUCCESS;
}

int amdsmi_get_gpu_asic_info(void *handle, struct asic_info *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->market_name, 256, "Fake Instinct");
    info->vendor_id = 0x1002;
    info->target_graphics_version = strtoul(player_text(handle, "graphics", "gfx942") + 3, NULL, 16);
    return SUCCESS;
}

int amdsmi_get_energy_count(void *handle, uint64_t *accumulator, float *resolution, uint64_t *stamp) {
    struct player_device *d = device(handle);
    if (!d) return NO_DATA;
    if (player_number(d, "no_energy", 0)) return NOT_SUPPORTED;
    int64_t now = player_now_ns();
    int64_t shown = player_refreshed(d, now, player_number(d, "refresh_ns", 1000000));
    int64_t reset = player_number(d, "reset_at_ns", INT64_MAX);
    twice_mw_ns energy = player_energy(load_of(d), shown);
    if (shown >= reset) energy -= player_energy(load_of(d), reset);
    /* 2^-16 J is 2e6 * 1e6 / 65536 of twice a mW ns. */
    *accumulator = (uint64_t)(energy * 65536 / ((twice_mw_ns)2000000 * 1000000)) + (uint64_t)player_number(d, "offset", 0);
    if (now >= player_number(d, "backwards_at_ns", INT64_MAX) && now < player_number(d, "backwards_at_ns", 0) + 20000000)
        *accumulator -= 65536000;
    *resolution = (float)player_number(d, "resolution_micro", 15300000) / 1e6f;
    *stamp = (uint64_t)(shown + player_start_ns);
    return SUCCESS;
}

int amdsmi_get_power_info(void *handle, struct power_info *info) {
    struct player_device *d = device(handle);
    if (!d) return NO_DATA;
    if (player_number(d, "no_power", 0)) return NOT_SUPPORTED;
    int64_t shown = player_refreshed(d, player_now_ns(), player_number(d, "refresh_ns", 1000000));
    uint32_t watts = (uint32_t)(player_mean_mw(load_of(d), shown, player_number(d, "averaging_ns", 0)) / 1000);
    memset(info, 0, sizeof *info);
    info->socket_power = watts;
    info->current_socket_power = player_number(d, "average", 0) ? 0xFFFF : watts;
    info->average_socket_power = player_number(d, "average", 0) ? watts : 0xFFFF;
    if (player_number(d, "sentinel", 0)) {
        info->socket_power = 0xFFFFFFFF;
        info->current_socket_power = info->average_socket_power = 0xFFFFFFFF;
    }
    info->gfx_voltage = info->soc_voltage = info->mem_voltage = 0xFFFF;
    return SUCCESS;
}

int amdsmi_get_power_cap_info(void *handle, uint32_t sensor, struct power_cap_info *info) {
    (void)sensor;
    memset(info, 0, sizeof *info);
    info->power_cap = info->default_power_cap = (uint64_t)player_number(handle, "cap_uw", 750000000);
    info->max_power_cap = (uint64_t)player_number(handle, "cap_uw", 750000000);
    return SUCCESS;
}

int amdsmi_get_violation_status(void *handle, struct violation_status *status) {
    struct player_device *d = device(handle);
    int64_t share_ppm = d ? player_number(d, "ppt_share_ppm", -1) : -1;
    if (share_ppm < 0) return NOT_SUPPORTED;
    memset(status, 0, sizeof *status);
    status->acc_counter = (uint64_t)(player_now_ns() / 1000000);
    status->acc_ppt_pwr = status->acc_counter * (uint64_t)share_ppm / 1000000;
    return SUCCESS;
}
