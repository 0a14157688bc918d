/* Streams of samples from standard input, their states' bytes to standard output.

   A stream: its number of samples (uint32), then label, prediction and weight of each (doubles),
   all little-endian. Its answer: a size (uint32) and so many bytes. With ALONE it needs no C
   library: for a Cortex-M's code in qemu's user mode, where Linux answers the system calls. */
#include "edgemse.h"

#ifdef ALONE
static long call(long number, long first, long second, long third)
{
    register long r0 __asm__("r0") = first;
    register long r1 __asm__("r1") = second;
    register long r2 __asm__("r2") = third;
    register long r7 __asm__("r7") = number;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r7) : "memory");
    return r0;
}

static long get(void *data, size_t size) { return call(3, 0, (long)data, (long)size); }
static long put(const void *data, size_t size) { return call(4, 1, (long)data, (long)size); }

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++)
        ((volatile char *)to)[i] = (char)byte;
    return to;
}
#else
#include <stdio.h>
static long get(void *data, size_t size) { return (long)fread(data, 1, size, stdin); }
static long put(const void *data, size_t size) { return (long)fwrite(data, 1, size, stdout); }
#endif

static edgemse_stats stats;

static int take(void *data, long size)
{
    long got = 0, more;
    while (got < size) {
        more = get((char *)data + got, (size_t)(size - got));
        if (more <= 0)
            return 0;
        got += more;
    }
    return 1;
}

static int one_stream(void)
{
    static unsigned char bytes[16384];
    uint32_t n, size;
    double sample[3];
    if (!take(&n, sizeof n))
        return 0;
    edgemse_clear(&stats);
    while (n--) {
        if (!take(sample, sizeof sample))
            return 0;
        edgemse_update(&stats, sample[0], sample[1], sample[2]);
        if (n % 7 == 0) /* looking changes no later bit */
            edgemse_state(&stats, bytes, 0);
    }
    size = (uint32_t)edgemse_state(&stats, bytes, sizeof bytes);
    return put(&size, sizeof size) > 0 && put(bytes, size) == (long)size;
}

#ifdef ALONE
void _start(void)
#else
int main(void)
#endif
{
    const int sound = edgemse_sound();
    while (sound && one_stream())
        ;
#ifdef ALONE
    call(1, !sound, 0, 0);
#else
    return !sound;
#endif
}
