/* What one process can do at most: start N commands with K in flight, reap each and look at its exit status.
 * Nothing is stored. One line of JSON: wall_s, ok (how many exited with 0).
 *   spawnlimit -n N -k K COMMAND... */
#include <stdio.h>

#include "measure.h"

int main(int argc, char **argv)
{
	size_t n = 1000, k = 2, started = 0, ok = 0;
	uint64_t begin_ns;
	int letter;

	while ((letter = getopt(argc, argv, "+n:k:")) != -1) {
		if (letter == '?')
			return 2;
		*(letter == 'n' ? &n : &k) = parse_count(letter, optarg);
	}
	argv += optind;
	if (!*argv)
		give_up("a command is needed");
	begin_ns = now_ns();
	for (size_t ended = 0; ended < n; ended++) {
		for (; started < n && started - ended < k; started++)
			start_command(argv, false);
		ok += command_succeeded(-1);
	}
	printf("{\"wall_s\": %.6f, \"ok\": %zu}\n", (double)(now_ns() - begin_ns) / 1e9, ok);
	return 0;
}
