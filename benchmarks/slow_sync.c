/* For LD_PRELOAD: delay fsync and fdatasync by SYNC_MICROSECONDS, to simulate a network volume. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int delayed(const char *name, int descriptor)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *microseconds = getenv("SYNC_MICROSECONDS");
    if (microseconds)
        usleep(atoi(microseconds));
    return sync(descriptor);
}

int fsync(int descriptor) { return delayed("fsync", descriptor); }
int fdatasync(int descriptor) { return delayed("fdatasync", descriptor); }
