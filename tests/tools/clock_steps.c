/* Preloaded into a program, steps its wall clock: an hour ahead, an hour back, every half second of the
 * monotonic one, as a bad time server or a person would. Only who asks for the wall clock sees it. */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

typedef int (*ClockGetTime)(clockid_t clock, struct timespec *time);

static long
step(ClockGetTime real)
{
    struct timespec now;
    real(CLOCK_MONOTONIC, &now);
    long halves = 2 * now.tv_sec + now.tv_nsec / 500000000;
    return halves % 3 == 0 ? 0 : halves % 3 == 1 ? 3600 : -3600;
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
    static ClockGetTime real;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, time);
    if (status == 0 && clock == CLOCK_REALTIME)
        time->tv_sec += step(real);
    return status;
}

int
gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval) { now.tv_sec, now.tv_nsec / 1000 };
    return 0;
}

time_t
time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to != NULL)
        *to = now.tv_sec;
    return now.tv_sec;
}
