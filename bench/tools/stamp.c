/* A job that tells when it was started: it writes CLOCK_MONOTONIC (nanoseconds) to FILE, and stays until it is ended, so
 * that no other job gets its worker.
 *   stamp FILE */
#include <stdio.h>

#include "measure.h"

int main(int argc, char **argv)
{
	uint64_t begin_ns = now_ns();
	char part[4096];
	FILE *file;

	if (argc != 2 || snprintf(part, sizeof(part), "%s.part", argv[1]) >= (int)sizeof(part))
		give_up("usage: stamp FILE");
	file = fopen(part, "w");
	if (!file || fprintf(file, "%ju\n", (uintmax_t)begin_ns) < 0 || fclose(file) || rename(part, argv[1]) < 0)
		give_up("cannot write %s: %s", argv[1], strerror(errno));
	pause();
	return 0;
}
