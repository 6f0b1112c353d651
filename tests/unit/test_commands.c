/* commands: the table's consistency, SUBMIT's options, and doc/protocol.md against the tables. */
#include <check.h>
#include <stdio.h>

#include "commands.h"
#include "job_map.h"
#include "submit_options.h"
#include "suites.h"

#define WORDS_MAX 16

/* Words are separated by one blank; "_" is an empty word, '@' a NUL byte. */
static uint32_t split(const char *text, char *copy, struct slice words[WORDS_MAX])
{
	uint32_t count = 0;

	strcpy(copy, text);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		words[count++] = strcmp(word, "_") == 0 ? SLICE("") : slice_of(word);
		for (char *at = strchr(word, '@'); at; at = strchr(at, '@'))
			*at = '\0';
	}
	return count;
}

static int parse(const char *text, const struct config_queue *queue, struct submit_options *ret_options, char error[256])
{
	static char copy[1024];
	static struct slice words[WORDS_MAX];

	return submit_options_parse(words, split(text, copy, words), queue, ret_options, error);
}

static const struct {
	const char *words, *error; /* part of the message */
} bad[] = {
	{ "", "no CMD" },
	{ "true", "unknown option 'true' before CMD" },
	{ "NAME", "NAME has no value" },
	{ "NAME x", "no CMD" },
	{ "NAME _ CMD true", "NAME is not '' but: 1 to 256 bytes" },
	{ "NAME x NAME y CMD true", "NAME is given twice" },
	{ "NAME x name y CMD true", "NAME is given twice" },
	{ "CMD", "no command behind CMD" },
	{ "CMD _", "no command behind CMD" },
	{ "CMD true a@b", "word 2 of the command contains a NUL byte" },
	{ "PRIORITY 1000001 CMD true", "PRIORITY is not" },
	{ "PRIORITY 1x CMD true", "PRIORITY is not" },
	{ "TIMEOUT soon CMD true", "TIMEOUT is not" },
	{ "TIMEOUT -1 CMD true", "TIMEOUT is not" },
	{ "CWD tmp CMD true", "CWD is not 'tmp' but: an absolute path" },
	{ "CWD /a@b CMD true", "CWD is not" },
	{ "UMASK 8 CMD true", "UMASK is not" },
	{ "UMASK 1000 CMD true", "UMASK is not" },
	{ "ENV 0 CMD true", "ENV is not" },
	{ "INPUT x CMD true", "INPUT is not" },
	{ "STREAMS both CMD true", "STREAMS is not" },
	{ "MAXOUTPUT 1XB CMD true", "MAXOUTPUT is not" },
	{ "ONLOST maybe CMD true", "ONLOST is not" },
	{ "RETRIES 1001 CMD true", "RETRIES is not" },
	{ "HOLD 2 CMD true", "HOLD is not" },
};

START_TEST(test_submit_bad_options_are_named)
{
	struct submit_options o = { .argc = 4711 };
	char error[256] = "";

	ck_assert_int_eq(parse(bad[_i].words, NULL, &o, error), -EINVAL);
	ck_assert_msg(strstr(error, bad[_i].error), "'%s' gives: %s", bad[_i].words, error);
	ck_assert_uint_eq(o.argc, 4711);
}
END_TEST

START_TEST(test_submit_everything_behind_cmd_is_argv)
{
	struct submit_options o;
	char error[256];

	ck_assert_int_eq(parse("priority -5 cmd NAME x CMD _", NULL, &o, error), 0);
	ck_assert_int_eq(o.priority, -5);
	ck_assert_ptr_null(o.name.data);
	ck_assert_uint_eq(o.argc, 4);
	ck_assert(slice_equal(o.argv[0], SLICE("NAME")));
	ck_assert_uint_eq(o.argv[3].len, 0);
}
END_TEST

START_TEST(test_submit_takes_the_queues_defaults)
{
	const struct config_queue queue = { .timeout_ms = 1, .grace_ms = 2, .max_output_bytes = 3, .on_lost = ON_LOST_RETRY };
	struct submit_options o;
	char error[256];

	ck_assert_int_eq(parse("GRACE 4s CMD true", &queue, &o, error), 0);
	ck_assert_uint_eq(o.timeout_ms, 1);
	ck_assert_uint_eq(o.grace_ms, 4000);
	ck_assert_uint_eq(o.max_output_bytes, 3);
	ck_assert_int_eq(o.on_lost, ON_LOST_RETRY);
	ck_assert_uint_eq(o.umask, 022);
	ck_assert(o.merged);
}
END_TEST

static const struct {
	const char *words;
	bool retries_set;
	uint32_t queue_retries, retries, max_attempts;
} attempts[] = {
	{ "CMD true", false, 0, 0, 1 },
	{ "RETRIES 2 CMD true", false, 0, 2, 3 },
	{ "RETRIES 0 CMD true", true, 5, 0, 1 },
	{ "CMD true", true, 5, 5, 6 },
	{ "ONLOST retry CMD true", false, 0, 0, 3 },
	{ "ONLOST retry CMD true", true, 0, 0, 1 },
	{ "ONLOST retry RETRIES 1 CMD true", false, 0, 1, 2 },
};

/* Design section 5, P3. */
START_TEST(test_submit_one_counter_for_all_attempts)
{
	const struct config_queue queue = { .retries_set = attempts[_i].retries_set, .retries = attempts[_i].queue_retries };
	struct submit_options o;
	char error[256];

	ck_assert_int_eq(parse(attempts[_i].words, &queue, &o, error), 0);
	ck_assert_int_eq(o.retries, attempts[_i].retries);
	ck_assert_uint_eq(o.max_attempts, attempts[_i].max_attempts);
}
END_TEST

static uint64_t hash_of(const char *queue, const char *words)
{
	struct submit_options o;
	char error[256];

	ck_assert_int_eq(parse(words, NULL, &o, error), 0);
	return submit_spec_hash(slice_of(queue), &o);
}

START_TEST(test_submit_the_same_spec_is_queue_argv_and_cwd)
{
	uint64_t hash = hash_of("q", "CMD echo ab c");

	ck_assert_uint_eq(hash, hash_of("q", "NAME n PRIORITY 3 CWD / CMD echo ab c"));
	ck_assert_uint_ne(hash, hash_of("r", "CMD echo ab c"));
	ck_assert_uint_ne(hash, hash_of("q", "CWD /tmp CMD echo ab c"));
	ck_assert_uint_ne(hash, hash_of("q", "CMD echo a bc"));
	ck_assert_uint_ne(hash, hash_of("q", "CMD echo ab c _"));
}
END_TEST

START_TEST(test_commands_are_found_in_any_case_and_make_sense)
{
	const struct command *command;

	ck_assert_ptr_eq(command_find(SLICE("submit")), command_find(SLICE("SUBMIT")));
	ck_assert_ptr_null(command_find(SLICE("SUBMI")));
	ck_assert_ptr_null(command_find(SLICE("")));
	for (size_t i = 0; (command = command_at(i)); i++) {
		ck_assert_ptr_eq(command_find(slice_of(command->name)), command);
		ck_assert_uint_ge(command->words_min, 1);
		ck_assert_uint_ge(command->words_max, command->words_min);
		ck_assert_ptr_nonnull(command->handler);
		ck_assert_uint_gt(strlen(command->help), 0);
	}
}
END_TEST

/* --- doc/protocol.md --- */

static char *read_document(void)
{
	const char *source = getenv("JOBPOOL_SOURCE_DIR");
	char path[4096], *text = calloc(1, 1 << 20);
	FILE *file;

	snprintf(path, sizeof(path), "%s/doc/protocol.md", source ? source : ".");
	file = fopen(path, "r");
	ck_assert_msg(file, "cannot open %s", path);
	ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, file), 0);
	fclose(file);
	return text;
}

/* In the document as `WORD`, or as a word of an indented line of a command. */
static bool is_described(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if (at > text && strchr("` |[", at[-1]) && strchr("` |]\n", at[len]))
			return true;
	return false;
}

START_TEST(test_protocol_document_has_every_command_and_its_arguments)
{
	const struct command *command;
	char *text = read_document(), line[256];

	for (size_t i = 0; (command = command_at(i)); i++) {
		ck_assert_msg(is_described(text, command->name), "doc/protocol.md does not describe %s", command->name);
		snprintf(line, sizeof(line), "%s %s", command->name, command->arguments);
		ck_assert_msg(!command->arguments[0] || strstr(text, line), "doc/protocol.md does not have: %s", line);
		for (size_t k = 0; command->options && k < command->options->count; k++)
			ck_assert_msg(is_described(text, command->options->rows[k].name), "doc/protocol.md does not have %s of %s",
				      command->options->rows[k].name, command->name);
	}
	free(text);
}
END_TEST

START_TEST(test_protocol_document_has_every_name_of_the_job_map)
{
	char *text = read_document();
	enum job_map_level level;
	const char *name;

	for (size_t i = 0; (name = job_map_field(i, &level)); i++)
		ck_assert_msg(is_described(text, name), "doc/protocol.md does not have the job's %s", name);
	free(text);
}
END_TEST

Suite *commands_suite(void)
{
	Suite *s = suite_create("commands");
	TCase *tc = tcase_create("all");

	tcase_add_loop_test(tc, test_submit_bad_options_are_named, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, test_submit_everything_behind_cmd_is_argv);
	tcase_add_test(tc, test_submit_takes_the_queues_defaults);
	tcase_add_loop_test(tc, test_submit_one_counter_for_all_attempts, 0, ARRAY_SIZE(attempts));
	tcase_add_test(tc, test_submit_the_same_spec_is_queue_argv_and_cwd);
	tcase_add_test(tc, test_commands_are_found_in_any_case_and_make_sense);
	tcase_add_test(tc, test_protocol_document_has_every_command_and_its_arguments);
	tcase_add_test(tc, test_protocol_document_has_every_name_of_the_job_map);
	suite_add_tcase(s, tc);
	return s;
}
