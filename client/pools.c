/* Many jobs at once, and who runs them.
 *
 * Submissions in flight are kept, encoded, until they are answered: after a loss all of them are sent again, in order,
 * under the keys they had. */
#include "spec_request.h"

#include "value.h"

#define BYTES_IN_FLIGHT_MAX (1u << 20) /* the daemon reads no further than this anyway (doc/protocol.md, "Framing") */
#define PIECE 128 /* requests that are sent together: while the daemon works on them the next ones are made */

struct jobpool_map {
	struct jobpool *jobpool;      /* borrowed, outlives us */
	jobpool_submitted on_submitted;
	void *context;
	size_t window;
	size_t *lengths;              /* ring of @window: bytes of each unanswered request */
	size_t first, in_flight;
	size_t unsent;                /* requests made since some were sent */
	struct buf requests;          /* the unanswered requests, from @head on */
	size_t head;
	uint64_t answered;            /* how many, since the beginning */
};

int jobpool_pool_map_new(struct jobpool *c, size_t window, jobpool_submitted on_submitted, void *context,
			 struct jobpool_map **ret_map)
{
	struct jobpool_map *map = calloc(1, sizeof(*map));
	size_t *lengths = calloc(window, sizeof(*lengths));

	if (!map || !lengths) {
		free(map);
		free(lengths);
		return connection_fail(c, -ENOMEM, "out of memory");
	}
	map->jobpool = c;
	map->on_submitted = on_submitted;
	map->context = context;
	map->window = window;
	map->lengths = lengths;
	*ret_map = map;
	return 0;
}

void jobpool_pool_map_free(struct jobpool_map *map)
{
	if (!map)
		return;
	buf_free(&map->requests);
	free(map->lengths);
	free(map);
}

static int map_resend(struct jobpool_map *map)
{
	struct jobpool *c = map->jobpool;

	if (buf_append(&c->out, map->requests.data + map->head, map->requests.len - map->head) < 0)
		return connection_fail(c, -ENOMEM, "out of memory");
	for (size_t i = 0; i < map->in_flight; i++)
		connection_expect(c);
	return 0;
}

/* The oldest request was answered: it need not be kept. */
static void map_forget_first(struct jobpool_map *map)
{
	map->head += map->lengths[map->first];
	map->first = (map->first + 1) % map->window;
	map->in_flight--;
	map->answered++;
	if (map->head > map->requests.len / 2) { /* each byte is moved once at most, on average */
		buf_consume(&map->requests, map->head);
		map->head = 0;
	}
}

/* Take one answer; after a loss, connect and send all again until there is one. */
static int map_take(struct jobpool_map *map)
{
	struct jobpool *c = map->jobpool;
	struct jobpool_value *value;
	uint64_t id = 0;
	int r;

	while ((r = connection_take(c, &value)) < 0) {
		bool refused = c->error.code[0] && r != -EHOSTDOWN;

		if (refused)
			break;
		r = connection_restore(c, r);
		if (r == 0)
			r = map_resend(map);
		if (r < 0)
			return r;
	}
	if (r == 0) {
		r = submit_reply(c, value, &id);
		if (r < 0)
			return r;
	}
	map_forget_first(map);
	map->on_submitted(map->answered, id, id ? NULL : &c->error, map->context);
	return 0;
}

static int map_reduce(struct jobpool_map *map, size_t in_flight, size_t bytes)
{
	while (map->in_flight > in_flight || (map->in_flight && map->requests.len - map->head > bytes)) {
		int r = map_take(map);

		if (r < 0)
			return r;
	}
	return 0;
}

int jobpool_pool_map_drain(struct jobpool_map *map)
{
	return map_reduce(map, 0, 0);
}

int jobpool_pool_map_start(struct jobpool_map *map, const struct jobpool_spec *spec)
{
	struct jobpool *c = map->jobpool;
	size_t before;
	int r = 0;

	/* Room for several at once: one write and one read then serve many. */
	if (map->in_flight == map->window || map->requests.len - map->head >= BYTES_IN_FLIGHT_MAX)
		r = map_reduce(map, map->window - MIN((size_t)PIECE, (map->window + 1) / 2), BYTES_IN_FLIGHT_MAX - BYTES_IN_FLIGHT_MAX / 8);
	if (r == 0 && environment_is_due(c))
		r = map_reduce(map, 0, 0);
	if (r == 0)
		r = connection_require(c);
	while (r == 0 && environment_is_due(c) && (r = environment_require(c)) < 0)
		r = connection_restore(c, r);
	if (r < 0)
		return r;
	before = map->requests.len;
	r = submit_encode(c, spec, &map->requests);
	if (r < 0)
		return r;
	map->lengths[(map->first + map->in_flight++) % map->window] = map->requests.len - before;
	if (buf_append(&c->out, map->requests.data + before, map->requests.len - before) < 0)
		return connection_fail(c, -ENOMEM, "out of memory");
	connection_expect(c);
	if (++map->unsent >= PIECE) {
		connection_push(c);
		map->unsent = 0;
	}
	return 0;
}

int jobpool_pools(struct jobpool *c, struct jobpool_value **ret_pools)
{
	return ASK(c, true, ret_pools, "POOLS");
}

int jobpool_pool_reset(struct jobpool *c, const char *pool)
{
	return ASK(c, true, NULL, "POOL", "RESET", pool);
}

int jobpool_workers(struct jobpool *c, struct jobpool_value **ret_workers)
{
	return ASK(c, true, ret_workers, "WORKERS");
}
