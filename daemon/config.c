/* YAML to struct config, by the tables of keys below: they drive parsing, ranges, defaults, and config_show().
 * A problem in the file is noted and reading goes on, so that one run shows all of them; only what makes the rest
 * unreadable (YAML syntax, nesting, memory) ends it at once. */
#include "config.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "units.h"
#include "worker_proto.h"

#define FILE_BYTES_MAX (1u << 20)
#define DEPTH_MAX 8
#define PROBLEMS_MAX 50
#define DEFAULT_POOL "default"
#define WORD_AUTO "auto"

#define COUNT_MAX 1000000000000ull
#define DAY_MS (24 * 3600000ull)
#define MIB (1ull << 20)
#define TIB (1ull << 40)
#define REQUEST_BYTES_MAX (3 * MIB / 2)
#define ARGUMENTS_MAX 65536ull

/* A RUN frame carries one request's spec and another's environment. Both are stored with at most 8 bytes more a word than the
 * request had; 64 KiB are for all else. */
static_assert(2 * REQUEST_BYTES_MAX + 8 * ARGUMENTS_MAX + 65536 <= WORKER_FRAME_BYTES_MAX, "a job fits a frame");

struct loader;
struct key;

/* What stands behind a key. */
struct kind {
	/* The current event begins the value; on return it is the value's last. 0, also after a problem; <0: give up. */
	int (*load)(struct loader *l, const struct key *key, void *object);
	void (*show)(const struct key *key, const void *object, unsigned indent, struct buf *out);
	/* Scalars only: */
	const char *expects;                                     /* for messages */
	int (*parse)(struct slice text, uint64_t *ret_value);    /* 0, -EINVAL, -ERANGE */
	void (*print)(uint64_t value, struct buf *out);
	size_t width;                                            /* of the field: 4 or 8 bytes */
	bool ranged;                                             /* min and max of the key apply */
};

struct key {
	const char *name;
	const struct kind *kind;
	size_t offset;                 /* of the field in its section's object */
	const char *fallback;          /* the default, as one would write it */
	uint64_t min, max;
	size_t given_offset;           /* of a bool: a value other than "auto" was written; 0 = none */
	const struct section *section; /* what a nested mapping holds */
	bool has_auto;                 /* the word "auto" is allowed, too, and stored as 0 */
};

struct section {
	const struct key *keys;
	size_t count;
};

static int load_scalar(struct loader *l, const struct key *key, void *object);
static int load_names(struct loader *l, const struct key *key, void *object);
static int load_section(struct loader *l, const struct key *key, void *object);
static int load_pools(struct loader *l, const struct key *key, void *object);
static int load_queues(struct loader *l, const struct key *key, void *object);
static void show_scalar(const struct key *key, const void *object, unsigned indent, struct buf *out);
static void show_names(const struct key *key, const void *object, unsigned indent, struct buf *out);
static void show_section(const struct key *key, const void *object, unsigned indent, struct buf *out);
static void show_pools(const struct key *key, const void *object, unsigned indent, struct buf *out);
static void show_queues(const struct key *key, const void *object, unsigned indent, struct buf *out);

static int parse_count(struct slice text, uint64_t *ret_value)
{
	return slice_to_uint(text, UINT64_MAX, ret_value);
}

static void print_count(uint64_t value, struct buf *out)
{
	buf_printf(out, "%" PRIu64, value);
}

static void print_duration(uint64_t value, struct buf *out)
{
	char text[UNITS_TEXT_BYTES];

	buf_append_text(out, duration_format(value, text));
}

static void print_size(uint64_t value, struct buf *out)
{
	char text[UNITS_TEXT_BYTES];

	buf_append_text(out, size_format(value, text));
}

static int parse_log_level(struct slice text, uint64_t *ret_value)
{
	enum log_level level;
	int r = log_level_parse(text, &level);

	if (r == 0)
		*ret_value = level;
	return r;
}

static void print_log_level(uint64_t value, struct buf *out)
{
	buf_append_text(out, log_level_name((enum log_level)value));
}

static int parse_on_lost(struct slice text, uint64_t *ret_value)
{
	enum on_lost on_lost;
	int r = on_lost_parse(text, &on_lost);

	if (r == 0)
		*ret_value = on_lost;
	return r;
}

static void print_on_lost(uint64_t value, struct buf *out)
{
	buf_append_text(out, on_lost_name((enum on_lost)value));
}

#define NUMBER "a whole number"
/* What it expects, how it is read and printed, the width of the field, whether min and max apply. */
#define SCALAR(...) { load_scalar, show_scalar, __VA_ARGS__ }
static const struct kind kind_count = SCALAR(NUMBER, parse_count, print_count, 8, true);
static const struct kind kind_count32 = SCALAR(NUMBER, parse_count, print_count, 4, true);
static const struct kind kind_duration = SCALAR("a duration (10s, 1h30m, 7d)", duration_parse, print_duration, 8, true);
static const struct kind kind_size = SCALAR("a size (64KiB, 1GiB)", size_parse, print_size, 8, true);
static const struct kind kind_log_level =
	SCALAR("debug, info, warning or error", parse_log_level, print_log_level, sizeof(enum log_level), false);
static const struct kind kind_on_lost =
	SCALAR("fail or retry", parse_on_lost, print_on_lost, sizeof(enum on_lost), false);
static const struct kind kind_names = { .load = load_names, .show = show_names };
static const struct kind kind_section = { .load = load_section, .show = show_section };
static const struct kind kind_pools = { .load = load_pools, .show = show_pools };
static const struct kind kind_queues = { .load = load_queues, .show = show_queues };

#define F(field) offsetof(struct config_pool, field)
static const struct key pool_keys[] = {
	{ .name = "workers", &kind_count32, F(workers), "auto", 1, POOL_WORKERS_MAX, .has_auto = true },
	{ .name = "queues", &kind_names }, /* default: the one with the pool's own name */
	{ .name = "recycle_after_jobs", &kind_count, F(recycle_after_jobs), "0", 0, COUNT_MAX },
};
#undef F

#define F(field) offsetof(struct config_queue, field)
static const struct key queue_keys[] = {
	{ .name = "max_length", &kind_count, F(max_length), "0", 0, COUNT_MAX },
	{ .name = "retries", &kind_count32, F(retries), "auto", 0, 1000, .has_auto = true, .given_offset = F(retries_set) },
	{ .name = "timeout", &kind_duration, F(timeout_ms), "0s", 0, 3650 * DAY_MS },
	{ .name = "grace", &kind_duration, F(grace_ms), "10s", 0, 7 * DAY_MS },
	{ .name = "max_output", &kind_size, F(max_output_bytes), "64MiB", 0, TIB },
	{ .name = "on_lost", &kind_on_lost, F(on_lost), "fail" },
};
#undef F

#define F(field) (offsetof(struct config, limits.field) - offsetof(struct config, limits))
static const struct key limits_keys[] = {
	{ .name = "connections", &kind_count, F(connections), "1000", 1, 100000 },
	{ .name = "request_bytes", &kind_size, F(request_bytes), "1MiB", 4096, REQUEST_BYTES_MAX },
	{ .name = "arguments", &kind_count, F(arguments), "65536", 16, ARGUMENTS_MAX },
	{ .name = "input_bytes", &kind_size, F(input_bytes), "64MiB", 0, TIB },
	{ .name = "queued_jobs", &kind_count, F(queued_jobs), "0", 0, COUNT_MAX },
	{ .name = "waited_jobs", &kind_count, F(waited_jobs), "500", 1, 500 }, /* rows one command may touch */
};
#undef F

#define F(field) (offsetof(struct config, retention.field) - offsetof(struct config, retention))
static const struct key retention_keys[] = {
	{ .name = "finished", &kind_duration, F(finished_ms), "7d", 0, 3650 * DAY_MS },
	{ .name = "jobs", &kind_count, F(jobs), "0", 0, COUNT_MAX },
};
#undef F

#define SECTION(keys) { (keys), ARRAY_SIZE(keys) }
static const struct section pool_section = SECTION(pool_keys), queue_section = SECTION(queue_keys),
			    limits_section = SECTION(limits_keys), retention_section = SECTION(retention_keys);

static const struct key top_keys[] = {
	{ .name = "log_level", &kind_log_level, offsetof(struct config, log_level), "info" },
	{ .name = "pools", &kind_pools, .section = &pool_section },
	{ .name = "queues", &kind_queues, .section = &queue_section },
	{ .name = "limits", &kind_section, offsetof(struct config, limits), .section = &limits_section },
	{ .name = "retention", &kind_section, offsetof(struct config, retention), .section = &retention_section },
};
static const struct section top_section = SECTION(top_keys);

/* Where something was first written, to name the place when it comes again. */
struct place {
	char *path; /* "key/pools.gpu.workers", "name/pools.gpu"; of a queue that a pool serves "served/gpu" */
	yaml_mark_t mark;
};

struct loader {
	struct config *config;
	struct buf *errors;
	const char *name;          /* of the file, for messages */
	yaml_parser_t parser;
	yaml_event_t event;        /* the current one */
	unsigned depth, problems;
	char path[256];            /* of the key being loaded */
	yaml_mark_t key_mark;      /* and where it stands */
	void *places;              /* tsearch() tree of struct place */
};

/* ---- scalars: text to value to text ---- */

static int value_parse(const struct key *key, struct slice text, uint64_t *ret_value)
{
	uint64_t value = 0;
	int r;

	if (key->has_auto && slice_is_word(text, WORD_AUTO)) {
		*ret_value = 0;
		return 0;
	}
	r = key->kind->parse(text, &value);
	if (r < 0)
		return r;
	if (key->kind->ranged && (value < key->min || value > key->max))
		return -ERANGE;
	*ret_value = value;
	return 0;
}

static void value_store(const struct key *key, void *object, uint64_t value, bool given)
{
	char *field = (char *)object + key->offset;
	uint32_t narrow = (uint32_t)value;

	if (key->kind->width == sizeof(narrow))
		memcpy(field, &narrow, sizeof(narrow));
	else
		memcpy(field, &value, sizeof(value));
	if (key->given_offset)
		*(bool *)((char *)object + key->given_offset) = given;
}

static void value_print(const struct key *key, const void *object, struct buf *out)
{
	const char *field = (const char *)object + key->offset;
	bool given = !key->given_offset || *(const bool *)((const char *)object + key->given_offset);
	uint64_t value = 0;
	uint32_t narrow;

	if (key->kind->width == sizeof(narrow)) {
		memcpy(&narrow, field, sizeof(narrow));
		value = narrow;
	} else
		memcpy(&value, field, sizeof(value));
	if (key->has_auto && (key->given_offset ? !given : value == 0))
		buf_append_text(out, WORD_AUTO);
	else
		key->kind->print(value, out);
}

/* "a whole number from 1 to 1024, or auto" */
static void value_describe(const struct key *key, struct buf *out)
{
	buf_append_text(out, key->kind->expects);
	if (key->kind->ranged) {
		buf_append_text(out, " from ");
		key->kind->print(key->min, out);
		buf_append_text(out, " to ");
		key->kind->print(key->max, out);
	}
	if (key->has_auto)
		buf_append_text(out, ", or " WORD_AUTO);
}

static void section_set_defaults(const struct section *section, void *object)
{
	for (size_t i = 0; i < section->count; i++) {
		const struct key *key = &section->keys[i];
		uint64_t value;
		int r;

		if (!key->kind->parse)
			continue;
		r = value_parse(key, slice_of(key->fallback), &value);
		assert(r == 0);
		value_store(key, object, value, false);
	}
}

/* ---- problems ---- */

static void problem(struct loader *l, yaml_mark_t mark, const char *format, ...) PRINTF_LIKE(3, 4);
static void problem(struct loader *l, yaml_mark_t mark, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buf_printf(l->errors, "%s:%zu:%zu: %s\n", l->name, mark.line + 1, mark.column + 1, text);
	l->problems++;
}

/* The file's own words in a message: quoted, printable, cut. */
#define SHOWN_BYTES 160
static const char *show_text(struct slice text, char out[SHOWN_BYTES])
{
	size_t len = 0;

	out[len++] = '\'';
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (len > SHOWN_BYTES - 12) {
			len += (size_t)snprintf(out + len, SHOWN_BYTES - len, "...");
			break;
		}
		if (c < ' ' || c == 0x7f)
			len += (size_t)snprintf(out + len, SHOWN_BYTES - len, "\\x%02x", c);
		else
			out[len++] = (char)c;
	}
	out[len++] = '\'';
	out[len] = '\0';
	return out;
}

/* Levenshtein: how many letters to insert, drop or change. Both at most 32 bytes, else "far". */
static size_t edit_distance(struct slice a, struct slice b)
{
	enum { WORD_MAX = 32 };
	size_t row[WORD_MAX + 1];

	if (a.len > WORD_MAX || b.len > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t changed = diagonal + (a.data[i - 1] != b.data[j - 1]);

			diagonal = row[j];
			row[j] = MIN(changed, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b.len];
}

static void problem_unknown_key(struct loader *l, struct slice word, const struct section *section)
{
	const char *in = l->path[0] ? " in " : "", *best = NULL;
	size_t best_distance = MIN(word.len / 2 + 1, 4);
	char shown[SHOWN_BYTES], known[256];
	size_t len = 0;

	for (size_t i = 0; i < section->count; i++) {
		size_t distance = edit_distance(word, slice_of(section->keys[i].name));

		if (distance < best_distance) {
			best = section->keys[i].name;
			best_distance = distance;
		}
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "", section->keys[i].name);
		assert(len < sizeof(known));
	}
	show_text(word, shown);
	if (best)
		problem(l, l->key_mark, "unknown key %s%s%s; did you mean '%s'?", shown, in, l->path, best);
	else
		problem(l, l->key_mark, "unknown key %s%s%s; known are: %s", shown, in, l->path, known);
}

/* ---- events ---- */

static int fail_syntax(struct loader *l)
{
	const yaml_parser_t *p = &l->parser;
	/* A wrong byte is found before there is a line to count: then it is known by its offset alone. */
	bool in_reader = p->error == YAML_READER_ERROR;

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (in_reader)
		problem(l, p->mark, "not a YAML text: %s at byte %zu; save the file as UTF-8", p->problem,
			p->problem_offset);
	else
		problem(l, p->problem_mark, "not valid YAML: %s%s%s; check indentation, colons and brackets here",
			p->context ? p->context : "", p->context ? ", " : "",
			p->problem ? p->problem : "unknown error");
	return -EINVAL;
}

static bool event_has_properties(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return true;
	case YAML_SCALAR_EVENT:
		return e->data.scalar.anchor || e->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return e->data.sequence_start.anchor || e->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return e->data.mapping_start.anchor || e->data.mapping_start.tag;
	default:
		return false;
	}
}

/* Go to the next event. */
static int next(struct loader *l)
{
	yaml_event_delete(&l->event);
	if (l->problems >= PROBLEMS_MAX) {
		buf_printf(l->errors, "%s: more than %d problems; correct these first\n", l->name, PROBLEMS_MAX);
		return -EINVAL;
	}
	if (!yaml_parser_parse(&l->parser, &l->event))
		return fail_syntax(l);
	if (event_has_properties(&l->event))
		problem(l, l->event.start_mark,
			"anchors (&), aliases (*) and tags (!) are not supported; write the value out");
	if (l->event.type == YAML_SEQUENCE_START_EVENT || l->event.type == YAML_MAPPING_START_EVENT)
		l->depth++;
	if (l->event.type == YAML_SEQUENCE_END_EVENT || l->event.type == YAML_MAPPING_END_EVENT)
		l->depth--;
	if (l->depth > DEPTH_MAX) {
		problem(l, l->event.start_mark, "nested more than %d levels deep; nothing here needs that", DEPTH_MAX);
		return -EINVAL;
	}
	return 0;
}

static struct slice event_text(const yaml_event_t *e)
{
	return (struct slice){ (const char *)e->data.scalar.value, e->data.scalar.length };
}

/* Nothing stands there ("pools:" with all its lines commented out), or an alias, which next() has complained about. */
static bool event_is_empty(const yaml_event_t *e)
{
	struct slice text;

	if (e->type == YAML_ALIAS_EVENT)
		return true;
	if (e->type != YAML_SCALAR_EVENT || e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	text = event_text(e);
	return !text.len || slice_equal(text, SLICE("~")) || slice_equal(text, SLICE("null"));
}

/* Go to the last event of the value that begins with the current one. */
static int skip_value(struct loader *l)
{
	bool begins = l->event.type == YAML_SEQUENCE_START_EVENT || l->event.type == YAML_MAPPING_START_EVENT;
	unsigned outside = l->depth - begins;
	int r = 0;

	while (r == 0 && l->depth > outside)
		r = next(l);
	return r;
}

/* ---- loading ---- */

static int compare_places(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->path, ((const struct place *)b)->path);
}

static void place_free(void *p)
{
	struct place *place = p;

	free(place->path);
	free(place);
}

/* Note that @prefix@name stands at @mark. 0 when it is new; 1: *ret_first is where it was before; -ENOMEM. */
static int place_add(struct loader *l, const char *prefix, const char *name, yaml_mark_t mark, yaml_mark_t *ret_first)
{
	struct place *place = calloc(1, sizeof(*place)), **found;

	if (!place || asprintf(&place->path, "%s%s", prefix, name) < 0) {
		free(place);
		return -ENOMEM;
	}
	place->mark = mark;
	found = tsearch(place, &l->places, compare_places);
	if (found && *found == place)
		return 0;
	if (found)
		*ret_first = (*found)->mark;
	place_free(place);
	return found ? 1 : -ENOMEM;
}

typedef int (*key_handler)(struct loader *l, struct slice word, const struct key *key, void *object);

/* Walk a mapping: @handle is called for each key, with l->key_mark set and the current event at its value. */
static int load_mapping(struct loader *l, key_handler handle, const struct key *key, void *object)
{
	int r = 0;

	if (event_is_empty(&l->event))
		return 0;
	if (l->event.type != YAML_MAPPING_START_EVENT) {
		problem(l, l->event.start_mark, "%s%sexpected lines of the form 'key: value'", l->path,
			l->path[0] ? ": " : "");
		return skip_value(l);
	}
	while ((r = next(l)) == 0 && l->event.type != YAML_MAPPING_END_EVENT) {
		yaml_mark_t mark = l->event.start_mark;
		char *word = NULL;
		size_t len = 0;

		if (l->event.type == YAML_SCALAR_EVENT) {
			len = l->event.data.scalar.length;
			word = slice_dup(event_text(&l->event)); /* the next event takes its place */
			if (!word)
				return -ENOMEM;
		} else {
			problem(l, mark, "a key must be a word");
			r = skip_value(l);
		}
		if (r == 0)
			r = next(l);
		l->key_mark = mark;
		if (r == 0)
			r = word ? handle(l, (struct slice){ word, len }, key, object) : skip_value(l);
		free(word);
		if (r < 0)
			return r;
	}
	return r;
}

/* Make @word part of l->path and note its place: 0; 1 when it is there already: said so, the value is to be skipped; -ENOMEM.
 * @kind: "key/" or "name/", as key workers of pool a is not pool a.workers. */
static int path_push(struct loader *l, const char *kind, const char *word)
{
	size_t len = strlen(l->path);
	yaml_mark_t first;
	int r;

	snprintf(l->path + len, sizeof(l->path) - len, "%s%s", len ? "." : "", word);
	r = place_add(l, kind, l->path, l->key_mark, &first);
	if (r == 1)
		problem(l, l->key_mark, "%s is given twice, first at %s:%zu:%zu; keep one", l->path, l->name,
			first.line + 1, first.column + 1);
	return r;
}

/* key_handler of a section: find the key's row, let its kind load it. */
static int load_key(struct loader *l, struct slice word, const struct key *parent, void *object)
{
	const struct section *section = parent ? parent->section : &top_section;
	size_t path_len = strlen(l->path);
	const struct key *key = NULL;
	int r;

	for (size_t i = 0; i < section->count; i++)
		if (slice_equal(word, slice_of(section->keys[i].name)))
			key = &section->keys[i];
	if (!key) {
		problem_unknown_key(l, word, section);
		return skip_value(l);
	}
	r = path_push(l, "key/", key->name);
	if (r == 0)
		r = key->kind->load(l, key, object);
	else if (r == 1)
		r = skip_value(l);
	l->path[path_len] = '\0';
	return r;
}

static int load_section(struct loader *l, const struct key *key, void *object)
{
	return load_mapping(l, load_key, key, (char *)object + key->offset);
}

static int load_scalar(struct loader *l, const struct key *key, void *object)
{
	struct buf allowed = { 0 };
	char shown[SHOWN_BYTES];
	struct slice text;
	uint64_t value;

	if (l->event.type == YAML_ALIAS_EVENT)
		return 0;
	value_describe(key, &allowed);
	buf_append(&allowed, "", 1);
	if (allowed.failed) {
		buf_free(&allowed);
		return -ENOMEM;
	}
	if (l->event.type != YAML_SCALAR_EVENT) {
		problem(l, l->event.start_mark, "%s: a list or mapping is not allowed; allowed: %s", l->path,
			allowed.data);
		buf_free(&allowed);
		return skip_value(l);
	}
	text = event_text(&l->event);
	if (!text.len)
		problem(l, l->key_mark, "%s has no value; allowed: %s", l->path, allowed.data);
	else if (value_parse(key, text, &value) < 0)
		problem(l, l->event.start_mark, "%s: %s is not allowed; allowed: %s", l->path, show_text(text, shown),
			allowed.data);
	else
		value_store(key, object, value, !(key->has_auto && slice_is_word(text, WORD_AUTO)));
	buf_free(&allowed);
	return 0;
}

static bool check_name(struct loader *l, yaml_mark_t mark, const char *what, struct slice name)
{
	char shown[SHOWN_BYTES];

	if (name_is_valid(name))
		return true;
	problem(l, mark, "%s is no name for a %s; allowed: 1 to %d of A-Z a-z 0-9 _ . - not beginning with . or -",
		show_text(name, shown), what, NAME_BYTES_MAX);
	return false;
}

/* Room for one more behind @count: capacity is always the next power of two. NULL: out of memory, @array is as before. */
static void *array_grow(void *array, size_t count, size_t size)
{
	if (count & (count - 1))
		return array;
	return reallocarray(array, count ? 2 * count : 1, size);
}

/* @mark: where the queue is named, for the second pool that wants it. */
static int pool_add_queue(struct loader *l, struct config_pool *pool, struct slice name, yaml_mark_t mark)
{
	char **queues, *copy;
	yaml_mark_t first;
	int r;

	copy = slice_dup(name);
	if (!copy)
		return -ENOMEM;
	r = place_add(l, "served/", copy, mark, &first);
	if (r == 1)
		problem(l, mark, "queue '%s' is served by a pool already, at %s:%zu:%zu; name it in one pool, once",
			copy, l->name, first.line + 1, first.column + 1);
	queues = r == 0 ? array_grow(pool->queues, pool->queue_count, sizeof(*queues)) : NULL;
	if (!queues) {
		free(copy);
		return r == 1 ? 0 : -ENOMEM;
	}
	pool->queues = queues;
	pool->queues[pool->queue_count++] = copy;
	return 0;
}

static int load_names(struct loader *l, const struct key *key, void *object)
{
	yaml_mark_t mark = l->event.start_mark;
	struct config_pool *pool = object;
	bool any = false;
	int r;

	(void)key;
	if (l->event.type == YAML_ALIAS_EVENT)
		return 0;
	if (l->event.type != YAML_SEQUENCE_START_EVENT) {
		problem(l, mark, "%s: expected a list of names, as [first, second]", l->path);
		return skip_value(l);
	}
	while ((r = next(l)) == 0 && l->event.type != YAML_SEQUENCE_END_EVENT) {
		any = true;
		if (l->event.type != YAML_SCALAR_EVENT) {
			if (l->event.type != YAML_ALIAS_EVENT)
				problem(l, l->event.start_mark, "%s: expected the name of a queue", l->path);
			r = skip_value(l);
		} else if (check_name(l, l->event.start_mark, "queue", event_text(&l->event)))
			r = pool_add_queue(l, pool, event_text(&l->event), l->event.start_mark);
		if (r < 0)
			return r;
	}
	if (r == 0 && !any)
		problem(l, mark,
			"%s: a pool serves at least one queue; name it, or remove the key for a queue named as the pool",
			l->path);
	return r;
}

/* A new pool with its defaults at the end of config->pools, or NULL. */
static struct config_pool *config_add_pool(struct config *config, const char *name)
{
	struct config_pool *pools = array_grow(config->pools, config->pool_count, sizeof(*pools)), *pool;

	if (!pools)
		return NULL;
	config->pools = pools;
	pool = &pools[config->pool_count];
	*pool = (struct config_pool){ .name = strdup(name) };
	if (!pool->name)
		return NULL;
	section_set_defaults(&pool_section, pool);
	config->pool_count++;
	return pool;
}

static struct config_queue *config_add_queue(struct config *config, const char *name)
{
	struct config_queue *queues = array_grow(config->queues, config->queue_count, sizeof(*queues)), *queue;

	if (!queues)
		return NULL;
	config->queues = queues;
	queue = &queues[config->queue_count];
	*queue = (struct config_queue){ .name = strdup(name) };
	if (!queue->name)
		return NULL;
	section_set_defaults(&queue_section, queue);
	config->queue_count++;
	return queue;
}

static int load_pool(struct loader *l, struct slice name, const struct key *key, void *object)
{
	size_t path_len = strlen(l->path);
	yaml_mark_t mark = l->key_mark;
	struct config_pool *pool;
	int r;

	if (!check_name(l, mark, "pool", name))
		return skip_value(l);
	r = path_push(l, "name/", name.data);
	if (r == 1)
		r = skip_value(l);
	else if (r == 0) {
		pool = config_add_pool(object, name.data);
		r = pool ? load_mapping(l, load_key, key, pool) : -ENOMEM;
		if (r == 0 && !pool->queue_count)
			r = pool_add_queue(l, pool, name, mark);
	}
	l->path[path_len] = '\0';
	return r;
}

static int load_queue(struct loader *l, struct slice name, const struct key *key, void *object)
{
	size_t path_len = strlen(l->path);
	struct config_queue *queue;
	int r;

	if (!check_name(l, l->key_mark, "queue", name))
		return skip_value(l);
	r = path_push(l, "name/", name.data);
	if (r == 1)
		r = skip_value(l);
	else if (r == 0) {
		queue = config_add_queue(object, name.data);
		r = queue ? load_mapping(l, load_key, key, queue) : -ENOMEM;
	}
	l->path[path_len] = '\0';
	return r;
}

static int load_pools(struct loader *l, const struct key *key, void *object)
{
	return load_mapping(l, load_pool, key, object);
}

static int load_queues(struct loader *l, const struct key *key, void *object)
{
	return load_mapping(l, load_queue, key, object);
}

static int load_stream(struct loader *l)
{
	int r = next(l); /* the stream's start */

	if (r == 0)
		r = next(l);
	if (r < 0 || l->event.type == YAML_STREAM_END_EVENT)
		return r; /* an empty file, or only comments */
	r = next(l);      /* a document's start came before */
	if (r == 0)
		r = load_mapping(l, load_key, NULL, l->config);
	if (r == 0)
		r = next(l); /* the document's end */
	if (r == 0)
		r = next(l);
	if (r == 0 && l->event.type != YAML_STREAM_END_EVENT)
		problem(l, l->event.start_mark,
			"a second document begins here; one file holds one document, remove the '---'");
	return r;
}

/* Pools and queues both begin with their name, and are sorted and searched by it. */
static_assert(offsetof(struct config_pool, name) == 0 && offsetof(struct config_queue, name) == 0, "name comes first");

static int compare_named(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_slice_named(const void *wanted, const void *named)
{
	const struct slice *s = wanted;
	const char *name = *(char *const *)named;
	size_t len = strlen(name);
	int r = memcmp(s->data, name, MIN(s->len, len));

	return r ? r : (s->len > len) - (s->len < len);
}

/* qsort() and bsearch() want an array even where there are no elements. */
static void sort_named(void *array, size_t count, size_t size)
{
	if (count)
		qsort(array, count, size, compare_named);
}

static void *find_named(const void *array, size_t count, size_t size, struct slice name)
{
	return count && name.len ? bsearch(&name, array, count, size, compare_slice_named) : NULL;
}

/* What the file leaves open: the default pool, and a row for every queue that a pool serves. */
static int config_complete(struct loader *l)
{
	struct config *c = l->config;
	size_t configured;

	if (!c->pool_count) {
		struct config_pool *pool = config_add_pool(c, DEFAULT_POOL);

		if (!pool || pool_add_queue(l, pool, slice_of(pool->name), (yaml_mark_t){ 0 }) < 0)
			return -ENOMEM;
	}
	sort_named(c->pools, c->pool_count, sizeof(*c->pools));
	sort_named(c->queues, c->queue_count, sizeof(*c->queues));
	configured = c->queue_count;
	for (size_t i = 0; i < c->pool_count; i++)
		for (size_t j = 0; j < c->pools[i].queue_count; j++) {
			const char *name = c->pools[i].queues[j];

			if (!find_named(c->queues, configured, sizeof(*c->queues), slice_of(name)) &&
			    !config_add_queue(c, name))
				return -ENOMEM;
		}
	sort_named(c->queues, c->queue_count, sizeof(*c->queues));
	return 0;
}

int config_parse(struct slice yaml, const char *name, struct config **ret_config, struct buf *errors)
{
	struct loader l = { .errors = errors, .name = name };
	int r = -ENOMEM;

	l.config = calloc(1, sizeof(*l.config));
	if (!l.config || !yaml_parser_initialize(&l.parser))
		goto out;
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)(yaml.len ? yaml.data : ""), yaml.len);
	section_set_defaults(&top_section, l.config);
	section_set_defaults(&limits_section, &l.config->limits);
	section_set_defaults(&retention_section, &l.config->retention);
	r = load_stream(&l);
	if (r == 0)
		r = l.problems ? -EINVAL : config_complete(&l);
	yaml_event_delete(&l.event);
	yaml_parser_delete(&l.parser);
out:
	tdestroy(l.places, place_free);
	if (r == -ENOMEM)
		buf_printf(errors, "%s: out of memory\n", name);
	if (r < 0) {
		config_free(l.config);
		return r;
	}
	*ret_config = l.config;
	return 0;
}

/* The whole file into @out. 0, -EFBIG, -ENOMEM, -errno. */
static int read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	int r = 0;

	if (fd < 0)
		return -errno;
	while (r == 0 && n > 0) {
		char *to = buf_reserve(out, 65536);

		n = to ? read(fd, to, 65536) : 0;
		if (!to)
			r = -ENOMEM;
		else if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			r = -errno;
		else
			out->len += (size_t)n;
		if (out->len > FILE_BYTES_MAX)
			r = -EFBIG;
	}
	close_fd(&fd);
	return r;
}

int config_load(const char *path, struct config **ret_config, struct buf *errors)
{
	struct buf text = { 0 };
	int r;

	if (!path)
		return config_parse((struct slice){ 0 }, "(defaults)", ret_config, errors);
	r = read_file(path, &text);
	if (r < 0)
		buf_printf(errors, "%s: cannot read the configuration: %s; check the path and its permissions\n", path,
			   strerrordesc_np(-r));
	else
		r = config_parse((struct slice){ text.data, text.len }, path, ret_config, errors);
	buf_free(&text);
	return r;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->pool_count; i++) {
		for (size_t j = 0; j < config->pools[i].queue_count; j++)
			free(config->pools[i].queues[j]);
		free(config->pools[i].queues);
		free(config->pools[i].name);
	}
	for (size_t i = 0; i < config->queue_count; i++)
		free(config->queues[i].name);
	free(config->pools);
	free(config->queues);
	free(config);
}

/* ---- showing ---- */

static void show_keys(const struct section *section, const void *object, unsigned indent, struct buf *out)
{
	for (size_t i = 0; i < section->count; i++) {
		buf_printf(out, "%*s%s:", (int)indent, "", section->keys[i].name);
		section->keys[i].kind->show(&section->keys[i], object, indent + 2, out);
	}
}

static void show_scalar(const struct key *key, const void *object, unsigned indent, struct buf *out)
{
	(void)indent;
	buf_append(out, " ", 1);
	value_print(key, object, out);
	buf_append(out, "\n", 1);
}

static void show_names(const struct key *key, const void *object, unsigned indent, struct buf *out)
{
	const struct config_pool *pool = object;

	(void)key, (void)indent;
	for (size_t i = 0; i < pool->queue_count; i++)
		buf_printf(out, "%s%s", i ? ", " : " [", pool->queues[i]);
	buf_append_text(out, "]\n");
}

static void show_section(const struct key *key, const void *object, unsigned indent, struct buf *out)
{
	buf_append(out, "\n", 1);
	show_keys(key->section, (const char *)object + key->offset, indent, out);
}

static void show_pools(const struct key *key, const void *object, unsigned indent, struct buf *out)
{
	const struct config *c = object;

	buf_append(out, "\n", 1);
	for (size_t i = 0; i < c->pool_count; i++) {
		buf_printf(out, "%*s%s:\n", (int)indent, "", c->pools[i].name);
		show_keys(key->section, &c->pools[i], indent + 2, out);
	}
}

static void show_queues(const struct key *key, const void *object, unsigned indent, struct buf *out)
{
	const struct config *c = object;

	buf_append(out, "\n", 1);
	for (size_t i = 0; i < c->queue_count; i++) {
		buf_printf(out, "%*s%s:\n", (int)indent, "", c->queues[i].name);
		show_keys(key->section, &c->queues[i], indent + 2, out);
	}
}

void config_show(const struct config *config, struct buf *out)
{
	show_keys(&top_section, config, 0, out);
}

/* ---- asking ---- */

const struct config_queue *config_find_queue(const struct config *config, struct slice name)
{
	return find_named(config->queues, config->queue_count, sizeof(*config->queues), name);
}

const struct config_pool *config_find_pool(const struct config *config, struct slice name)
{
	return find_named(config->pools, config->pool_count, sizeof(*config->pools), name);
}

uint32_t config_pool_size(const struct config_pool *pool)
{
	cpu_set_t cpus;
	long count;

	if (pool->workers != WORKERS_AUTO)
		return pool->workers;
	/* Fails on machines with more CPUs than the set holds. */
	count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : sysconf(_SC_NPROCESSORS_ONLN);
	return (uint32_t)MIN(MAX(count, 1), (long)POOL_WORKERS_MAX);
}

static const char *const on_lost_names[] = {
	[ON_LOST_FAIL] = "fail",
	[ON_LOST_RETRY] = "retry",
};
static_assert(ARRAY_SIZE(on_lost_names) == ON_LOST_MAX, "a word for every policy");

const char *on_lost_name(enum on_lost on_lost)
{
	return (unsigned)on_lost < ON_LOST_MAX ? on_lost_names[on_lost] : "unknown";
}

int on_lost_parse(struct slice word, enum on_lost *ret_on_lost)
{
	for (enum on_lost on_lost = 0; on_lost < ON_LOST_MAX; on_lost++)
		if (slice_is_word(word, on_lost_names[on_lost])) {
			*ret_on_lost = on_lost;
			return 0;
		}
	return -EINVAL;
}
