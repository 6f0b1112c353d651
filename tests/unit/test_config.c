/* config: the defaults, what each key takes, that mistakes are named with their place, and that what is shown reads back. */
#include <check.h>
#include <stdio.h>

#include "config.h"
#include "suites.h"

/* A file of the source tree; make check says where that is, as the build may be elsewhere. */
static const char *source_path(const char *name, char path[4096])
{
	const char *source = getenv("JOBPOOL_SOURCE_DIR");

	snprintf(path, 4096, "%s/%s", source ? source : ".", name);
	return path;
}

static struct config *load(const char *name)
{
	struct config *config = NULL;
	struct buf errors = { 0 };
	char path[4096];
	int r = config_load(name ? source_path(name, path) : NULL, &config, &errors);

	ck_assert_msg(r == 0, "%.*s", (int)errors.len, errors.data);
	ck_assert_uint_eq(errors.len, 0);
	return config;
}

static struct config *parse(const char *yaml)
{
	struct config *config = NULL;
	struct buf errors = { 0 };
	int r = config_parse(slice_of(yaml), "test", &config, &errors);

	ck_assert_msg(r == 0, "%s: %.*s", yaml, (int)errors.len, errors.data);
	ck_assert_uint_eq(errors.len, 0);
	return config;
}

/* The messages for a text that must be refused; the caller frees them. */
static char *refuse(struct slice yaml)
{
	struct config *untouched = (struct config *)&untouched, *config = untouched;
	struct buf errors = { 0 };

	ck_assert_int_eq(config_parse(yaml, "f", &config, &errors), -EINVAL);
	ck_assert_ptr_eq(config, untouched);
	buf_append(&errors, "", 1);
	ck_assert(!errors.failed && errors.len > 1);
	return buf_take(&errors, NULL);
}

static char *show(const struct config *config)
{
	struct buf out = { 0 };

	config_show(config, &out);
	buf_append(&out, "", 1);
	ck_assert(!out.failed);
	return buf_take(&out, NULL);
}

START_TEST(test_config_defaults)
{
	struct config *c = load(NULL);

	ck_assert_int_eq(c->log_level, LOG_INFO);
	ck_assert_uint_eq(c->pool_count, 1);
	ck_assert_str_eq(c->pools[0].name, "default");
	ck_assert_uint_eq(c->pools[0].workers, WORKERS_AUTO);
	ck_assert_uint_ge(config_pool_size(&c->pools[0]), 1);
	ck_assert_uint_eq(c->pools[0].queue_count, 1);
	ck_assert_str_eq(c->pools[0].queues[0], "default");
	ck_assert_uint_eq(c->pools[0].recycle_after_jobs, 0);
	ck_assert_uint_eq(c->queue_count, 1);
	ck_assert_str_eq(c->queues[0].name, "default");
	ck_assert_uint_eq(c->queues[0].max_length, 0);
	ck_assert_uint_eq(c->queues[0].retries, 0);
	ck_assert(!c->queues[0].retries_set);
	ck_assert_uint_eq(c->queues[0].timeout_ms, 0);
	ck_assert_uint_eq(c->queues[0].grace_ms, 10000);
	ck_assert_uint_eq(c->queues[0].max_output_bytes, 64 << 20);
	ck_assert_int_eq(c->queues[0].on_lost, ON_LOST_FAIL);
	ck_assert_uint_eq(c->limits.connections, 1000);
	ck_assert_uint_eq(c->limits.request_bytes, 1 << 20);
	ck_assert_uint_eq(c->limits.arguments, 65536);
	ck_assert_uint_eq(c->limits.input_bytes, 64 << 20);
	ck_assert_uint_eq(c->limits.queued_jobs, 0);
	ck_assert_uint_eq(c->limits.waited_jobs, 500);
	ck_assert_uint_eq(c->retention.finished_ms, 7 * 24 * 3600000u);
	ck_assert_uint_eq(c->retention.jobs, 0);
	config_free(c);
	config_free(NULL);
}
END_TEST

START_TEST(test_config_shipped_file_shows_every_key_at_its_default)
{
	struct config *defaults = load(NULL), *shipped = load("conf/jobpool.yaml");
	char *expected = show(defaults), *got = show(shipped), path[4096], line[512];
	struct buf keys = { 0 };
	FILE *file = fopen(source_path("conf/jobpool.yaml", path), "r");

	ck_assert_str_eq(got, expected);
	/* Not only the same effect: the same lines, so that no key is missing. */
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		const char *text = line + strspn(line, " ");

		if (*text != '#' && *text != '\n')
			buf_append_text(&keys, line);
	}
	fclose(file);
	buf_append(&keys, "", 1);
	ck_assert_str_eq(keys.data, expected);
	buf_free(&keys);
	free(expected);
	free(got);
	config_free(defaults);
	config_free(shipped);
}
END_TEST

START_TEST(test_config_reads_every_kind_of_value)
{
	struct config *c = load("tests/data/config_full.yaml");
	const struct config_queue *train = config_find_queue(c, SLICE("train"));
	const struct config_queue *null = config_find_queue(c, SLICE("null"));
	const struct config_pool *gpu = config_find_pool(c, SLICE("gpu"));

	ck_assert_int_eq(c->log_level, LOG_WARNING);
	ck_assert_uint_eq(c->pool_count, 2);
	ck_assert_str_eq(c->pools[0].name, "default");
	ck_assert_uint_eq(config_pool_size(&c->pools[0]), 4);
	ck_assert_uint_eq(gpu->queue_count, 2);
	ck_assert_str_eq(gpu->queues[1], "train");
	ck_assert_uint_eq(gpu->recycle_after_jobs, 100);
	ck_assert_uint_eq(train->max_length, 1000);
	ck_assert_uint_eq(train->retries, 2);
	ck_assert(train->retries_set);
	ck_assert_uint_eq(train->timeout_ms, 8 * 3600000);
	ck_assert_uint_eq(train->grace_ms, 10000);
	ck_assert_int_eq(train->on_lost, ON_LOST_RETRY);
	ck_assert_uint_eq(null->grace_ms, 90000);
	ck_assert_uint_eq(null->max_output_bytes, 1 << 30);
	ck_assert_uint_eq(c->limits.connections, 50);
	ck_assert_uint_eq(c->limits.request_bytes, 65536);
	ck_assert_uint_eq(c->limits.queued_jobs, 1000000);
	ck_assert_uint_eq(c->retention.finished_ms, 30 * 24 * 3600000ull);
	ck_assert_uint_eq(c->retention.jobs, 5000);
	config_free(c);
}
END_TEST

START_TEST(test_config_finds_pools_and_queues_by_name)
{
	struct config *c = load("tests/data/config_full.yaml");

	/* Those of queues: and those that a pool names, in order. */
	ck_assert_uint_eq(c->queue_count, 4);
	ck_assert_str_eq(c->queues[0].name, "default");
	ck_assert_str_eq(c->queues[1].name, "gpu");
	ck_assert_str_eq(c->queues[2].name, "null");
	ck_assert_str_eq(c->queues[3].name, "train");
	ck_assert_ptr_eq(config_find_queue(c, (struct slice){ "gpuX", 3 }), &c->queues[1]);
	ck_assert_ptr_null(config_find_queue(c, SLICE("gp")));
	ck_assert_ptr_null(config_find_queue(c, SLICE("gpu2")));
	ck_assert_ptr_null(config_find_queue(c, (struct slice){ NULL, 0 }));
	ck_assert_ptr_eq(config_find_pool(c, SLICE("default")), &c->pools[0]);
	ck_assert_ptr_null(config_find_pool(c, SLICE("train")));
	config_free(c);
}
END_TEST

static const char *const shown[] = {
	"", "tests/data/config_full.yaml", "conf/jobpool.yaml",
};

START_TEST(test_config_reads_back_what_it_shows)
{
	struct config *c = load(shown[_i][0] ? shown[_i] : NULL), *again;
	char *text = show(c), *text_again;

	again = parse(text);
	text_again = show(again);
	ck_assert_str_eq(text_again, text);
	ck_assert_uint_eq(again->queues[0].retries_set, c->queues[0].retries_set);
	free(text);
	free(text_again);
	config_free(c);
	config_free(again);
}
END_TEST

static const char *const empty[] = {
	"", "\n", "# nothing\n", "---\n", "--- \n...\n", "~\n", "{}", "pools:\nqueues:\nlimits:\nretention:\n",
	"pools: {}\nqueues: ~\n", "pools:\n  default:\nqueues:\n  default:\n", "\xef\xbb\xbf# with a byte order mark\n",
};

START_TEST(test_config_without_content_is_the_defaults)
{
	struct config *defaults = load(NULL), *c = parse(empty[_i]);
	char *expected = show(defaults), *got = show(c);

	ck_assert_str_eq(got, expected);
	free(expected);
	free(got);
	config_free(defaults);
	config_free(c);
}
END_TEST

START_TEST(test_config_names_all_problems_with_their_places)
{
	static const char expected[] =
		"f:1:12: log_level: 'loud' is not allowed; allowed: debug, info, warning or error\n"
		"f:2:1: unknown key 'pool'; did you mean 'pools'?\n"
		"f:5:14: unknown key 'worker' in pools.default; did you mean 'workers'?\n"
		"f:6:21: pools.batch.workers: '0' is not allowed; allowed: a whole number from 1 to 1024, or auto\n"
		"f:6:24: pools.batch.workers is given twice, first at f:6:12; keep one\n"
		"f:6:3: queue 'batch' is served by a pool already, at f:5:43; name it in one pool, once\n"
		"f:7:18: pools.gpu.queues: a pool serves at least one queue; name it, or remove the key for a queue named as the pool\n"
		"f:8:3: 'bad/name' is no name for a pool; allowed: 1 to 64 of A-Z a-z 0-9 _ . - not beginning with . or -\n"
		"f:10:21: queues.train.retries: '-1' is not allowed; allowed: a whole number from 0 to 1000, or auto\n"
		"f:10:34: queues.train.timeout: 'soon' is not allowed; allowed: a duration (10s, 1h30m, 7d) from 0s to 3650d\n"
		"f:10:47: queues.train.grace: a list or mapping is not allowed; allowed: a duration (10s, 1h30m, 7d) from 0s to 7d\n"
		"f:10:55: unknown key 'colour' in queues.train; known are: max_length, retries, timeout, grace, max_output, on_lost\n"
		"f:11:26: limits.request_bytes: '16MiB' is not allowed; allowed: a size (64KiB, 1GiB) from 4KiB to 1536KiB\n"
		"f:11:33: limits.waited_jobs has no value; allowed: a whole number from 1 to 500\n"
		"f:12:12: retention: expected lines of the form 'key: value'\n";
	char path[4096], yaml[4096], *got;
	FILE *file = fopen(source_path("tests/data/config_errors.yaml", path), "r");

	ck_assert_ptr_nonnull(file);
	got = refuse((struct slice){ yaml, fread(yaml, 1, sizeof(yaml), file) });
	fclose(file);
	ck_assert_str_eq(got, expected);
	free(got);
}
END_TEST

/* One mistake each: the whole message. */
static const struct {
	const char *yaml, *message;
} mistakes[] = {
	{ "pools: {a: {workers: 0}}",
	  "f:1:22: pools.a.workers: '0' is not allowed; allowed: a whole number from 1 to 1024, or auto\n" },
	{ "pools: {a: {workers: 1025}}",
	  "f:1:22: pools.a.workers: '1025' is not allowed; allowed: a whole number from 1 to 1024, or auto\n" },
	{ "pools: {a: {workers: {min: 1}}}",
	  "f:1:22: pools.a.workers: a list or mapping is not allowed; allowed: a whole number from 1 to 1024, or auto\n" },
	{ "queues:\n  a:\n    retries: 1001",
	  "f:3:14: queues.a.retries: '1001' is not allowed; allowed: a whole number from 0 to 1000, or auto\n" },
	{ "queues: {a: {timeout: auto}}",
	  "f:1:23: queues.a.timeout: 'auto' is not allowed; allowed: a duration (10s, 1h30m, 7d) from 0s to 3650d\n" },
	{ "queues: {a: {max_output: 5PiB}}",
	  "f:1:26: queues.a.max_output: '5PiB' is not allowed; allowed: a size (64KiB, 1GiB) from 0B to 1TiB\n" },
	{ "queues: {a: {on_lost: ignore}}",
	  "f:1:23: queues.a.on_lost: 'ignore' is not allowed; allowed: fail or retry\n" },
	{ "limits: {request_bytes: 16MiB}",
	  "f:1:25: limits.request_bytes: '16MiB' is not allowed; allowed: a size (64KiB, 1GiB) from 4KiB to 1536KiB\n" },
	{ "limits: {waited_jobs: }",
	  "f:1:10: limits.waited_jobs has no value; allowed: a whole number from 1 to 500\n" },
	{ "limits: {waited_jobs: 99999999999999999999}",
	  "f:1:23: limits.waited_jobs: '99999999999999999999' is not allowed; allowed: a whole number from 1 to 500\n" },
	{ "log-level: info", "f:1:1: unknown key 'log-level'; did you mean 'log_level'?\n" },
	{ "locks: {license: 4}",
	  "f:1:1: unknown key 'locks'; known are: log_level, pools, queues, limits, retention\n" },
	{ "? [a, b]\n: 1\n", "f:1:3: a key must be a word\n" },
	{ "pools: [a]", "f:1:8: pools: expected lines of the form 'key: value'\n" },
	{ "just words", "f:1:1: expected lines of the form 'key: value'\n" },
	{ "pools: {a: {queues: a}}", "f:1:21: pools.a.queues: expected a list of names, as [first, second]\n" },
	{ "pools: {a: {queues: []}}",
	  "f:1:21: pools.a.queues: a pool serves at least one queue; name it, or remove the key for a queue named as the pool\n" },
	{ "pools: {a: {queues: [[b]]}}", "f:1:22: pools.a.queues: expected the name of a queue\n" },
	{ "pools: {-a: {}}",
	  "f:1:9: '-a' is no name for a pool; allowed: 1 to 64 of A-Z a-z 0-9 _ . - not beginning with . or -\n" },
	{ "queues: {\"a\\nb\": {}}",
	  "f:1:10: 'a\\x0ab' is no name for a queue; allowed: 1 to 64 of A-Z a-z 0-9 _ . - not beginning with . or -\n" },
	{ "queues: {\"a\\0b\": {}}",
	  "f:1:10: 'a\\x00b' is no name for a queue; allowed: 1 to 64 of A-Z a-z 0-9 _ . - not beginning with . or -\n" },
	{ "pools: {a: {queues: [x]}, b: {queues: [y, x]}}",
	  "f:1:43: queue 'x' is served by a pool already, at f:1:22; name it in one pool, once\n" },
	{ "pools:\n  a: {queues: [b]}\n  b:\n",
	  "f:3:3: queue 'b' is served by a pool already, at f:2:16; name it in one pool, once\n" },
	{ "pools: {a: {queues: [x, x]}}",
	  "f:1:25: queue 'x' is served by a pool already, at f:1:22; name it in one pool, once\n" },
	{ "pools:\n  a: {}\n  a: {}\n", "f:3:3: pools.a is given twice, first at f:2:3; keep one\n" },
	{ "limits: {}\nlimits: {}\n", "f:2:1: limits is given twice, first at f:1:1; keep one\n" },
	{ "queues: {a: &x {}}",
	  "f:1:13: anchors (&), aliases (*) and tags (!) are not supported; write the value out\n" },
	{ "log_level: !!str info",
	  "f:1:12: anchors (&), aliases (*) and tags (!) are not supported; write the value out\n" },
	{ "log_level: *x", "f:1:12: anchors (&), aliases (*) and tags (!) are not supported; write the value out\n" },
	{ "{}\n---\n{}\n", "f:2:1: a second document begins here; one file holds one document, remove the '---'\n" },
	{ "x: [[[[[[[[[[1]]]]]]]]]]", "f:1:1: unknown key 'x'; known are: log_level, pools, queues, limits, retention\n"
				      "f:1:11: nested more than 8 levels deep; nothing here needs that\n" },
};

START_TEST(test_config_mistake_has_a_clear_message)
{
	char *got = refuse(slice_of(mistakes[_i].yaml));

	ck_assert_str_eq(got, mistakes[_i].message);
	free(got);
}
END_TEST

/* What libyaml itself refuses; its words may change, the place and ours do not. */
static const struct {
	struct slice yaml;
	const char *beginning;
} broken[] = {
	{ SLICE("pools:\n\tdefault: {}\n"), "f:2:1: not valid YAML: " },
	{ SLICE("pools: {"), "f:2:1: not valid YAML: " },
	{ SLICE("pools: \"x"), "f:1:10: not valid YAML: " },
	{ SLICE("log_level: info: c"), "f:1:16: not valid YAML: " },
	{ SLICE("log_level: \xff"), "f:1:1: not a YAML text: " },
	{ SLICE("log_level: \0"), "f:1:1: not a YAML text: " },
};

START_TEST(test_config_broken_yaml_is_refused_with_its_place)
{
	char *got = refuse(broken[_i].yaml);

	ck_assert_msg(strstr(got, broken[_i].beginning) == got, "%s", got);
	free(got);
}
END_TEST

START_TEST(test_config_names_with_dots_are_not_paths)
{
	struct config *c = parse("pools: {a: {workers: 1}, a.workers: {workers: 2}}");

	ck_assert_uint_eq(config_find_pool(c, SLICE("a.workers"))->workers, 2);
	config_free(c);
}
END_TEST

START_TEST(test_config_stops_after_many_problems)
{
	struct buf yaml = { 0 };
	size_t lines = 0;
	char *got;

	for (int i = 0; i < 10000; i++)
		buf_printf(&yaml, "unknown%d: 1\n", i);
	got = refuse((struct slice){ yaml.data, yaml.len });
	for (const char *p = got; *p; p++)
		lines += *p == '\n';
	ck_assert_uint_eq(lines, 51);
	ck_assert_ptr_nonnull(strstr(got, "f: more than 50 problems"));
	free(got);
	buf_free(&yaml);
}
END_TEST

START_TEST(test_config_takes_many_pools_and_queues)
{
	struct buf yaml = { 0 };
	struct config *c;
	char name[16];

	buf_append_text(&yaml, "pools:\n");
	for (int i = 0; i < 5000; i++)
		buf_printf(&yaml, "  p%d: {workers: 1, queues: [q%d]}\n", i, i);
	buf_append(&yaml, "", 1);
	c = parse(yaml.data);
	ck_assert_uint_eq(c->pool_count, 5000);
	ck_assert_uint_eq(c->queue_count, 5000);
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "q%d", i);
		ck_assert_ptr_nonnull(config_find_queue(c, slice_of(name)));
	}
	config_free(c);
	buf_free(&yaml);
}
END_TEST

START_TEST(test_config_file_that_cannot_be_read)
{
	struct config *config = NULL;
	struct buf errors = { 0 };

	ck_assert_int_eq(config_load("/nonexistent/jobpool.yaml", &config, &errors), -ENOENT);
	buf_append(&errors, "", 1);
	ck_assert_str_eq(errors.data, "/nonexistent/jobpool.yaml: cannot read the configuration: No such file or directory; "
				      "check the path and its permissions\n");
	buf_clear(&errors);
	ck_assert_int_eq(config_load("/", &config, &errors), -EISDIR);
	buf_clear(&errors);
	ck_assert_int_eq(config_load("/dev/zero", &config, &errors), -EFBIG);
	ck_assert_ptr_null(config);
	buf_free(&errors);
}
END_TEST

START_TEST(test_config_on_lost_words)
{
	enum on_lost on_lost = ON_LOST_MAX;

	ck_assert_int_eq(on_lost_parse(SLICE("RETRY"), &on_lost), 0);
	ck_assert_int_eq(on_lost, ON_LOST_RETRY);
	ck_assert_int_eq(on_lost_parse(SLICE(""), &on_lost), -EINVAL);
	ck_assert_str_eq(on_lost_name(ON_LOST_FAIL), "fail");
	ck_assert_str_eq(on_lost_name(ON_LOST_MAX), "unknown");
}
END_TEST

Suite *config_suite(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");

	tcase_add_test(t, test_config_defaults);
	tcase_add_test(t, test_config_shipped_file_shows_every_key_at_its_default);
	tcase_add_test(t, test_config_reads_every_kind_of_value);
	tcase_add_test(t, test_config_finds_pools_and_queues_by_name);
	tcase_add_loop_test(t, test_config_reads_back_what_it_shows, 0, ARRAY_SIZE(shown));
	tcase_add_loop_test(t, test_config_without_content_is_the_defaults, 0, ARRAY_SIZE(empty));
	tcase_add_test(t, test_config_names_all_problems_with_their_places);
	tcase_add_loop_test(t, test_config_mistake_has_a_clear_message, 0, ARRAY_SIZE(mistakes));
	tcase_add_loop_test(t, test_config_broken_yaml_is_refused_with_its_place, 0, ARRAY_SIZE(broken));
	tcase_add_test(t, test_config_names_with_dots_are_not_paths);
	tcase_add_test(t, test_config_stops_after_many_problems);
	tcase_add_test(t, test_config_takes_many_pools_and_queues);
	tcase_add_test(t, test_config_file_that_cannot_be_read);
	tcase_add_test(t, test_config_on_lost_words);
	suite_add_tcase(s, t);
	return s;
}
