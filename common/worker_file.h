/* The worker file: the proof of what a worker did (design section 6). One preallocated page of 4 KiB in
 * state_dir/workers, named by the worker's id in decimal. Written by three processes, each its own part:
 * the header by the supervisor (pid by the worker), the epoch by the daemon, the marks by the worker.
 *
 *   0     header   512 bytes
 *   512   epoch    8 bytes
 *   1024  marks    11 times 256 bytes, struct mark at the front of each
 *   3840  retired  1 byte */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util.h"
#include "worker_proto.h"

#define WORKER_FILE_BYTES 4096
#define WORKER_FILE_VERSION 1

struct worker_file_header {
	char magic[8];            /* "jobpool\0" */
	uint32_t version;
	int32_t pid;              /* 0 until the worker has written it */
	uint64_t worker_id;
	uint8_t boot_id[16];
	uint32_t slot;
	uint32_t reserved;
	char pool[NAME_BYTES_MAX + 8];
};

/**
 * Create the file of a new worker, blocks allocated and the directory entry made, and lock it (F_OFD_SETLK, exclusive).
 *
 * @directory_fd: state_dir/workers
 * @ret_fd: the locked descriptor, close-on-exec; the lock lasts until its last copy is closed
 *
 * Returns 0; -EEXIST when the id was used before; other -errno (-ENOSPC): no file is left.
 */
int worker_file_create(int directory_fd, uint64_t worker_id, const char *pool, uint32_t slot, int *ret_fd);
/* Open an existing one for reading and writing, not locked. 0, -ENOENT, -errno. */
int worker_file_open(int directory_fd, uint64_t worker_id, int *ret_fd);
/* 1: somebody holds the lock; 0: nobody; -errno. Asked with F_OFD_GETLK: never disturbs a birth. */
int worker_file_is_locked(int fd);
/* 0; -EBADMSG when magic or version is not ours; -errno. */
int worker_file_read_header(int fd, struct worker_file_header *ret_header);
int worker_file_write_pid(int fd, pid_t pid);
int worker_file_write_epoch(int fd, uint64_t epoch);
int worker_file_read_epoch(int fd, uint64_t *ret_epoch);
/* Fills in the CRC. One pwrite into allocated blocks: survives any kill; @sync adds fdatasync: survives power loss. */
int worker_file_write_mark(int fd, unsigned index, struct mark *mark, bool sync);
/* 0; -EBADMSG when the CRC is wrong (a zeroed mark is MARK_FREE and right); -errno. */
int worker_file_read_mark(int fd, unsigned index, struct mark *ret_mark);
/* The worker's last word: its tree is proven empty and it starts nothing more (its supervisor may be gone). */
int worker_file_write_retired(int fd);
int worker_file_read_retired(int fd, bool *ret_retired);
