/* A libcuda.so.1 for machines without a GPU: one card, whose kernel sleeps as long as it would spin.
 *
 * CHIPWATT_FAKE_CUDA_UUID is the card's UUID, 32 hex digits. It holds the caller
 * to the driver's order of calls and refuses a kernel that it does not know.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
enum { PROCESSORS = 16, MAJOR = 75, MINOR = 76 };

static int initialized, current, loaded;
static uint64_t pending_ns, memory;

int cuInit(unsigned int flags) { initialized = !flags; return flags ? INVALID_VALUE : SUCCESS; }
int cuDeviceGetCount(int *count) { *count = 1; return initialized ? SUCCESS : NOT_INITIALIZED; }
int cuDeviceGet(int *device, int index) { *device = 7; return index ? INVALID_VALUE : SUCCESS; }

int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    const char *text = getenv("CHIPWATT_FAKE_CUDA_UUID");
    if (device != 7 || !text || strlen(text) != 32) return INVALID_VALUE;
    for (int i = 0; i < 16; i++) {
        unsigned int byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) return INVALID_VALUE;
        uuid[i] = (unsigned char)byte;
    }
    return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device) {
    (void)device;
    snprintf(name, (size_t)size, "Fake CUDA");
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (device != 7) return INVALID_VALUE;
    *value = attribute == PROCESSORS ? 132 : attribute == MAJOR ? 9 : attribute == MINOR ? 0 : -1;
    return *value < 0 ? INVALID_VALUE : SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &current;
    return device == 7 ? SUCCESS : INVALID_VALUE;
}
int cuCtxSetCurrent(void *context) { current = context == &current; return current ? SUCCESS : INVALID_CONTEXT; }

int cuModuleLoadData(void **module, const char *image) {
    *module = &loaded;
    loaded = strstr(image, ".visible .entry chipwatt_spin(") && strstr(image, "%globaltimer");
    return !current ? INVALID_CONTEXT : loaded ? SUCCESS : INVALID_VALUE;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = &pending_ns;
    return module == &loaded && !strcmp(name, "chipwatt_spin") ? SUCCESS : NOT_FOUND;
}
int cuMemAlloc_v2(uint64_t *address, size_t size) {
    *address = (uint64_t)(uintptr_t)&memory;
    return current && size == 4 ? SUCCESS : INVALID_VALUE;
}

int cuLaunchKernel(void *function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                   unsigned int by, unsigned int bz, unsigned int shared, void *stream, void **arguments,
                   void **extra) {
    if (function != &pending_ns || !gx || gy != 1 || gz != 1 || !bx || bx > 1024 || by != 1 || bz != 1)
        return INVALID_VALUE;
    if (shared || stream || extra || *(uint64_t *)arguments[1] != (uint64_t)(uintptr_t)&memory)
        return INVALID_VALUE;
    pending_ns = *(uint64_t *)arguments[0];
    return SUCCESS;
}

int cuCtxSynchronize(void) {
    struct timespec wait = {(time_t)(pending_ns / 1000000000), (long)(pending_ns % 1000000000)};
    nanosleep(&wait, NULL);
    pending_ns = 0;
    return SUCCESS;
}
