/* What the short way of a sample asks of the machine: what time it is, and whether it is alone. */
#ifndef EDGEMSE_OBSERVER_H
#define EDGEMSE_OBSERVER_H

#include <Python.h>
#include <time.h>

/* The coarse clock is the time of the kernel's last tick: never ahead, and behind by one tick, 1 to
   10 ms. Reading it costs a fifth of the exact one. The bound leaves room for a late tick. */
#ifdef CLOCK_REALTIME_COARSE
#define COARSE_CLOCK CLOCK_REALTIME_COARSE
#else
#define COARSE_CLOCK CLOCK_REALTIME
#endif
#define COARSE_SECONDS 0.1

/* Seconds since 1970-01-01 UTC; clock_gettime(2) of these clocks cannot fail. */
static inline double seconds_of_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whether the wall clock stands in [start, end): by the exact one only near a bound. */
static inline int wall_within(double start, double end) {
    double at = seconds_of_clock(COARSE_CLOCK);
    if (start <= at && at + COARSE_SECONDS < end)
        return 1;
    at = seconds_of_clock(CLOCK_REALTIME);
    return start <= at && at < end;
}

/* The clock that counts on while the device sleeps, where there is one. */
#ifdef CLOCK_BOOTTIME
#define BOOT_CLOCK CLOCK_BOOTTIME
#else
#define BOOT_CLOCK CLOCK_MONOTONIC
#endif

/* Whether the time that is so far ahead of the boot's clock stands in [start, end). */
static inline int boot_within(double ahead, double start, double end) {
    double at = seconds_of_clock(BOOT_CLOCK) + ahead;
    return start <= at && at < end;
}

/* Whether nobody has the lock; until `leave` nobody gets it. Under the GIL a thread that runs no
   Python is alone: to see that nobody has the lock is as good as to take it. */
static inline int enter(PyThread_type_lock lock, const int *held) {
#ifdef Py_GIL_DISABLED
    (void)held;
    return PyThread_acquire_lock(lock, NOWAIT_LOCK) == PY_LOCK_ACQUIRED;
#else
    (void)lock;
    return !*held;
#endif
}

static inline void leave(PyThread_type_lock lock) {
#ifdef Py_GIL_DISABLED
    PyThread_release_lock(lock);
#else
    (void)lock;
#endif
}

#endif
