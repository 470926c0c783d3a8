/* Preloaded into a program, a disk that takes two seconds to make anything durable, as one does that still
 * has gigabytes of another program to write. */
#include <dlfcn.h>
#include <stddef.h>
#include <unistd.h>

#define SECONDS 2

static int
slowly(const char *name, int descriptor)
{
    int (*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    sleep(SECONDS);
    return real(descriptor);
}

int
fsync(int descriptor)
{
    return slowly("fsync", descriptor);
}

int
fdatasync(int descriptor)
{
    return slowly("fdatasync", descriptor);
}
