/* A file of real blocks that is given up when the disk is full, so that what is under way can still be recorded, and the watch over
 * the disk's reserve (design section 6, "Ballast"). No thread, no loop, no clock of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BALLAST_FILE "ballast" /* in state_dir, which is the cwd */

struct ballast {
	uint64_t bytes;         /* size of the file */
	uint64_t reserve_bytes; /* admission stops when less is free beside it */
	bool held;              /* the file is there, whole */
};

/* Allocate it, unless that would leave less than the reserve: then, and on any error, there is none and it is -ENOSPC or -errno. */
int ballast_take(struct ballast *ballast);
/* Give its blocks back. Fine when there is none. */
void ballast_drop(struct ballast *ballast);
/* It is held, and the reserve is free beside it. Asks the file system. */
bool ballast_has_room(const struct ballast *ballast);
