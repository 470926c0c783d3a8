/* openmp.c - how long OpenMP's threads spin while they wait for each other.
 *
 * libgomp spins for milliseconds by default, which is fastest on an idle machine and ruinous on a busy one
 * (a browser or a second session on the same cores): the waiting thread takes the time slice of the one it
 * waits for. Some tens of microseconds keep most of the speed; then it sleeps. libgomp reads its settings
 * when it is loaded, before main and before any constructor of ours, but after the program's .preinit_array.
 */
#include <stdlib.h>

#include "backends/cpu/internal.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void
limit_spinning(int argc, char **argv, char **envp)
{
    if (getenv("OMP_WAIT_POLICY") == NULL && getenv("GOMP_SPINCOUNT") == NULL)
        setenv("GOMP_SPINCOUNT", "2000", 0);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = limit_spinning;
#endif

void
cpu_openmp_link(void)
{
}
