/* How long whole commands take from their start to their end, one try of each in turn, so that all see the same state
 * of the machine. One line of JSON for each command.
 *   cmdlatency -n TRIES COMMAND... --- COMMAND... */
#include "measure.h"

#define WARM_UP 10
#define COMMANDS_MAX 16

int main(int argc, char **argv)
{
	char **commands[COMMANDS_MAX];
	struct samples samples[COMMANDS_MAX];
	size_t tries = 100, count = 0;
	int letter;

	while ((letter = getopt(argc, argv, "+n:")) != -1) {
		if (letter == '?')
			return 2;
		tries = parse_count(letter, optarg);
	}
	for (bool first = true; optind < argc; optind++) {
		bool separator = strcmp(argv[optind], "---") == 0;

		if (first && (separator || count == COMMANDS_MAX))
			give_up("between 1 and %d commands, with --- between them", COMMANDS_MAX);
		if (first)
			commands[count++] = &argv[optind];
		if (separator)
			argv[optind] = NULL;
		first = separator;
	}
	for (size_t c = 0; c < count; c++)
		samples_init(&samples[c], tries);
	for (size_t i = 0; i < tries + WARM_UP; i++) {
		for (size_t c = 0; c < count; c++) {
			uint64_t begin_ns = now_ns();
			bool ok = command_succeeded(start_command(commands[c], true));

			if (i >= WARM_UP)
				samples_add(&samples[c], now_ns() - begin_ns, ok);
		}
	}
	for (size_t c = 0; c < count; c++)
		samples_print(&samples[c]);
	return 0;
}
