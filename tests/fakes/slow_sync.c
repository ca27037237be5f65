/* A disk that is slow to sync: preloaded (LD_PRELOAD) into the program, every fsync and fdatasync, SQLite's too, first
   waits for SLOW_SYNC_S seconds: "0.4", or a random time between two: "0.1 1.0". */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_first(void)
{
    double least = 0, most = 0, seconds;
    struct timespec now, rest;
    const char *told = getenv("SLOW_SYNC_S");
    if (!told || sscanf(told, "%lf %lf", &least, &most) < 1)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    seconds = most > least ? least + (most - least) * (now.tv_nsec / 1000 % 1000) / 1000.0 : least;
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
