/* The blocks of the write-ahead log. A commit that only overwrites blocks that are there is one write to the disk; one that makes the
 * file longer changes the file system's own data too, and a journalling file system then writes twice as often. */
#pragma once

#include <stdint.h>

/**
 * Make the write-ahead log (state_dir/jobpool.db-wal, cwd is state_dir) at least @bytes long and sync it; what is behind its content is
 * filled with zeros, which SQLite takes for its end.
 *
 * To be called where SQLite does not write at the same time, and after it has opened the file. 0; -errno: it is as long as before.
 */
int wal_file_allocate(uint64_t bytes);
