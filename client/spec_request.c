/* SUBMIT requests: environment, options, the key that makes them safe to repeat. */
#include "spec_request.h"

#include <strings.h>
#include <unistd.h>

#include "resp.h"
#include "value.h"

/* The daemon keeps an environment for an hour after it was last named: name it again in good time. */
#define ENVIRONMENT_FRESH_MS (30 * 60 * 1000)

int jobpool_set_environment(struct jobpool *c, const char *const *variables, size_t count)
{
	size_t good = 0;

	for (size_t i = 0; i < count; i++)
		good += strchr(variables[i], '=') > variables[i];
	c->environment_id = 0;
	buf_clear(&c->environment);
	request_begin(&c->environment, good + 1);
	request_text(&c->environment, "ENVIRONMENT");
	for (size_t i = 0; i < count; i++)
		if (strchr(variables[i], '=') > variables[i])
			request_text(&c->environment, variables[i]);
	if (!good)
		buf_clear(&c->environment);
	return c->environment.failed ? connection_fail(c, -ENOMEM, "out of memory") : 0;
}

bool environment_is_due(const struct jobpool *c)
{
	return c->environment.len &&
	       (!c->environment_id || now_monotonic_ms() - c->environment_ms > ENVIRONMENT_FRESH_MS);
}

int environment_require(struct jobpool *c)
{
	struct jobpool_value *value;
	uint64_t now_ms = now_monotonic_ms();
	int r;

	if (!environment_is_due(c))
		return 0;
	buf_append(&c->out, c->environment.data, c->environment.len);
	r = connection_ask(c, &value);
	if (r < 0)
		return r;
	r = submit_reply(c, value, &c->environment_id);
	c->environment_ms = now_ms;
	return r;
}

int submit_reply(struct jobpool *c, struct jobpool_value *reply, uint64_t *ret_id)
{
	bool good = value_to_uint(reply, ret_id);

	jobpool_value_free(reply);
	return good ? 0 : connection_bad_reply(c, "SUBMIT");
}

static bool has_key(const struct jobpool_spec *spec)
{
	for (size_t i = 0; i < spec->option_count; i++)
		if (strcasecmp(spec->options[i].name, "KEY") == 0)
			return true;
	return false;
}

/* Sessions sort by the time they began, so that the daemon's index of them grows at its end. */
static void begin_session(struct jobpool *c)
{
	uint64_t wall_ms = now_wall_ms();

	random_fill(c->key_session, sizeof(c->key_session));
	for (int i = 0; i < 6; i++)
		c->key_session[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
	c->key_count = 0;
	c->key_pid = getpid();
}

/* "jobpool-", the session, and a count: the daemon knows by this form that an hour is enough (promise P2), and stores keys that
 * follow one another together. */
static void request_own_key(struct jobpool *c, struct buf *out)
{
	char key[8 + 2 * sizeof(c->key_session) + 1 + UINT_TEXT_BYTES] = "jobpool-";
	size_t len = 8;

	if (!c->key_count || c->key_pid != getpid())
		begin_session(c);
	hex_encode(c->key_session, sizeof(c->key_session), key + len); /* its NUL becomes the dash */
	len += 2 * sizeof(c->key_session);
	key[len++] = '-';
	len += uint_print(++c->key_count, key + len);
	request_text(out, "KEY");
	resp_bulk(out, (struct slice){ key, len });
}

int submit_encode(struct jobpool *c, const struct jobpool_spec *spec, struct buf *out)
{
	bool key = has_key(spec), environment = c->environment_id != 0;

	if (!spec->argc || !spec->argv[0][0])
		return connection_fail(c, -EINVAL, "the command is empty");
	request_begin(out, 2 + 2 * (spec->option_count + !key + environment) + 1 + spec->argc);
	request_text(out, "SUBMIT");
	request_text(out, spec->queue ? spec->queue : "default");
	for (size_t i = 0; i < spec->option_count; i++) {
		request_text(out, spec->options[i].name);
		request_text(out, spec->options[i].value);
	}
	if (!key)
		request_own_key(c, out);
	if (environment) {
		request_text(out, "ENV");
		request_uint(out, c->environment_id);
	}
	request_text(out, "CMD");
	for (size_t i = 0; i < spec->argc; i++)
		request_text(out, spec->argv[i]);
	return out->failed ? connection_fail(c, -ENOMEM, "out of memory") : 0;
}
