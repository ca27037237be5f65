/* A disk that is slow to sync: preloaded (LD_PRELOAD) into the program, every fsync and fdatasync, SQLite's too, first
   waits for SLOW_SYNC_S seconds, until there is a file SLOW_SYNC_UNTIL. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_first(void)
{
    const char *told = getenv("SLOW_SYNC_S"), *until = getenv("SLOW_SYNC_UNTIL");
    double seconds = told ? atof(told) : 0;
    struct timespec rest;
    if (seconds <= 0 || (until && access(until, F_OK) == 0))
        return;
    rest.tv_sec = (time_t)seconds;
    rest.tv_nsec = (long)((seconds - rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest))
        ;
}

int fsync(int handle)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_first();
    return real(handle);
}

int fdatasync(int handle)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_first();
    return real(handle);
}
