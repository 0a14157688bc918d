/* Memory that outlives the process, in a file: whole or not at all. On a microcontroller this is
   FRAM, or two pages of flash that are written in turn. Wants edgemse.h before it. */
#ifndef KEEP_H
#define KEEP_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

/* 1 if this process alone has the file now, until it ends. */
static int keep_lock(const char *path)
{
    char name[600];
    int fd;
    snprintf(name, sizeof name, "%s.lock", path);
    fd = open(name, O_RDWR | O_CREAT, 0600);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* 1 if it was written and synced: then it takes the place of the last one, also if power goes. */
static int keep_save(const char *path, const void *data, size_t size)
{
    const uint32_t digest = edgemse_digest(data, size);
    char name[600], folder[600];
    int fd, good;
    snprintf(name, sizeof name, "%s.new", path);
    fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    good = fd >= 0 && write(fd, data, size) == (ssize_t)size
           && write(fd, &digest, sizeof digest) == (ssize_t)sizeof digest && fsync(fd) == 0;
    good = fd >= 0 && close(fd) == 0 && good && rename(name, path) == 0;
    snprintf(folder, sizeof folder, "%s", path);
    if (strrchr(folder, '/'))
        strrchr(folder, '/')[1] = 0;
    fd = good ? open(strrchr(folder, '/') ? folder : ".", O_RDONLY) : -1;
    good = fd >= 0 && fsync(fd) == 0 && good; /* the folder: the new name is durable, too */
    if (fd >= 0)
        close(fd);
    return good;
}

/* 1 if it was read, 0 if there is none, -1 if what is there was not written by this program. */
static int keep_load(const char *path, void *data, size_t size)
{
    const int fd = open(path, O_RDONLY);
    uint32_t digest;
    int good;
    if (fd < 0)
        return 0;
    good = read(fd, data, size) == (ssize_t)size
           && read(fd, &digest, sizeof digest) == (ssize_t)sizeof digest
           && digest == edgemse_digest(data, size);
    close(fd);
    return good ? 1 : -1;
}

#endif
