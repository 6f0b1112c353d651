/* The options of SUBMIT as a table, and what they mean together. */
#include "submit_options.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "job.h"

static int parse_cwd(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	if (!value.len || value.data[0] != '/' || memchr(value.data, '\0', value.len))
		return -EINVAL;
	*(struct slice *)field = value;
	return 0;
}

static int parse_streams(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	if (!slice_is_word(value, "merged") && !slice_is_word(value, "split"))
		return -EINVAL;
	*(bool *)field = slice_is_word(value, "merged");
	return 0;
}

static int parse_on_lost(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	return on_lost_parse(value, field) < 0 ? -EINVAL : 0;
}

#define F(field) offsetof(struct submit_options, field)
#define ID_MAX ((int64_t)JOB_ID_MAX)

static const struct option_row rows[] = {
	/* name         value                                       parser           field               min  max */
	{ "NAME",      "1 to 256 bytes",                           option_bytes,    F(name),             1,  JOB_NAME_BYTES_MAX },
	{ "PRIORITY",  "a number from -1000000 to 1000000",        option_int,      F(priority),         -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX },
	{ "TIMEOUT",   "a duration such as 90s or 1h30m, 0 = none", option_duration, F(timeout_ms),       0,  0 },
	{ "GRACE",     "a duration such as 10s",                   option_duration, F(grace_ms),         0,  0 },
	{ "CWD",       "an absolute path",                         parse_cwd,       F(cwd),              0,  0 },
	{ "UMASK",     "octal, 000 to 777",                        option_octal,    F(umask),            0,  0 },
	{ "ENV",       "an id given by ENVIRONMENT",               option_int,      F(environment_id),   1,  ID_MAX },
	{ "INPUT",     "an id given by INPUT",                     option_int,      F(input_id),         1,  ID_MAX },
	{ "KEY",       "1 to 256 bytes",                           option_bytes,    F(key),              1,  JOB_KEY_BYTES_MAX },
	{ "STREAMS",   "merged or split",                          parse_streams,   F(merged),           0,  0 },
	{ "MAXOUTPUT", "a size such as 64KiB or 10MB",             option_size,     F(max_output_bytes), 0,  0 },
	{ "ONLOST",    "fail or retry",                            parse_on_lost,   F(on_lost),          0,  0 },
	{ "RETRIES",   "a number from 0 to 1000",                  option_int,      F(retries),          0,  JOB_RETRIES_MAX },
	{ "DELAY",     "a duration such as 10m",                   option_duration, F(delay_ms),         0,  0 },
	{ "HOLD",      "0 or 1",                                   option_int,      F(hold),             0,  1 },
};

const struct option_table submit_option_table = OPTION_TABLE(rows);

/* A queue that no configuration names has the defaults that config.c gives to every queue. */
static const struct config_queue unconfigured = {
	.grace_ms = 10000,
	.max_output_bytes = UINT64_C(64) << 20,
	.on_lost = ON_LOST_FAIL,
};

static void apply_defaults(struct submit_options *o, const struct config_queue *q)
{
	*o = (struct submit_options){
		.cwd = SLICE("/"),
		.umask = 022,
		.merged = true,
		.timeout_ms = q->timeout_ms,
		.grace_ms = q->grace_ms,
		.max_output_bytes = q->max_output_bytes,
		.on_lost = q->on_lost,
		.retries = RETRIES_UNSET,
	};
}

/* One counter for everything: max_attempts = retries + 1; a few where only lost attempts are repeated. */
static void count_attempts(struct submit_options *o, const struct config_queue *q)
{
	if (o->retries == RETRIES_UNSET && q->retries_set)
		o->retries = q->retries;
	if (o->retries == RETRIES_UNSET) {
		o->max_attempts = o->on_lost == ON_LOST_RETRY ? LOST_ATTEMPTS_DEFAULT : 1;
		o->retries = 0;
		return;
	}
	o->max_attempts = (uint32_t)o->retries + 1;
}

static int check_argv(const struct slice *argv, uint32_t argc, char error[256])
{
	if (!argc || !argv[0].len) {
		snprintf(error, 256, "no command behind CMD: at least one word, the first not empty");
		return -EINVAL;
	}
	for (uint32_t i = 0; i < argc; i++) {
		if (argv[i].len && memchr(argv[i].data, '\0', argv[i].len)) {
			snprintf(error, 256, "word %u of the command contains a NUL byte, which no program can be given", i + 1);
			return -EINVAL;
		}
	}
	return 0;
}

int submit_options_parse(const struct slice *words, uint32_t count, const struct config_queue *defaults,
			 struct submit_options *ret_options, char error[256])
{
	const struct config_queue *q = defaults ? defaults : &unconfigured;
	struct submit_options o;
	size_t used;
	int r;

	apply_defaults(&o, q);
	r = options_parse(&submit_option_table, words, count, "CMD", &o, &used, error);
	if (r < 0)
		return r;
	if (used >= count) {
		snprintf(error, 256, "no CMD: SUBMIT queue [OPTION value]... CMD arg...");
		return -EINVAL;
	}
	o.argv = words + used + 1;
	o.argc = count - (uint32_t)used - 1;
	r = check_argv(o.argv, o.argc, error);
	if (r < 0)
		return r;
	count_attempts(&o, q);
	*ret_options = o;
	return 0;
}

/* As FNV-1a, but eight bytes at a time, whose upper half is folded back; each part with its length, so that no two lists run together
 * to the same bytes. */
static uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static uint64_t hash_part(uint64_t hash, struct slice part)
{
	uint64_t word;

	hash = hash_word(hash, part.len);
	for (size_t at = 0; at < part.len; at += sizeof(word)) {
		word = 0;
		memcpy(&word, part.data + at, MIN(sizeof(word), part.len - at));
		hash = hash_word(hash, le64toh(word)); /* it is stored: the same on every machine */
	}
	return hash;
}

uint64_t submit_spec_hash(struct slice queue, const struct submit_options *options)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = hash_part(hash, queue);
	hash = hash_part(hash, options->cwd);
	for (uint32_t i = 0; i < options->argc; i++)
		hash = hash_part(hash, options->argv[i]);
	return hash;
}
