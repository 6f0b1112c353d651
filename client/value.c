/* Values of replies. hiredis's reader parses; these callbacks give it our own type, so that the public header needs no
 * other. */
#include "value.h"

#include "util.h"

static void *value_attach(const redisReadTask *task, struct jobpool_value *value)
{
	if (value && task->parent)
		((struct jobpool_value *)task->parent->obj)->items[task->idx] = value;
	return value;
}

static struct jobpool_value *value_new(enum jobpool_type type, size_t extra)
{
	struct jobpool_value *value = calloc(1, sizeof(*value) + extra);

	if (value)
		value->type = type;
	return value;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
	struct jobpool_value *value =
		value_new(task->type == REDIS_REPLY_ERROR ? JOBPOOL_ERROR : JOBPOOL_BYTES, len + 1);

	if (value) {
		memcpy(value + 1, text, len);
		value->bytes = (const char *)(value + 1);
		value->count = len;
	}
	return value_attach(task, value);
}

static void *create_array(const redisReadTask *task, int count)
{
	size_t len = count > 0 ? (size_t)count : 0;
	struct jobpool_value *value = value_new(JOBPOOL_ARRAY, len * sizeof(value));

	if (value) {
		value->items = (struct jobpool_value **)(value + 1);
		value->count = len;
	}
	return value_attach(task, value);
}

static void *create_integer(const redisReadTask *task, long long integer)
{
	struct jobpool_value *value = value_new(JOBPOOL_INTEGER, 0);

	if (value)
		value->integer = integer;
	return value_attach(task, value);
}

static void *create_nil(const redisReadTask *task)
{
	return value_attach(task, value_new(JOBPOOL_NIL, 0));
}

void jobpool_value_free(struct jobpool_value *value)
{
	if (!value)
		return;
	/* Depth is bounded by the reader (seven); a reply that was cut off has NULL items. */
	if (value->type == JOBPOOL_ARRAY)
		for (size_t i = 0; i < value->count; i++)
			jobpool_value_free(value->items[i]);
	free(value);
}

static void free_object(void *object)
{
	jobpool_value_free(object);
}

redisReader *value_reader_new(void)
{
	static redisReplyObjectFunctions functions = { create_string, create_array, create_integer, create_nil,
						       free_object };

	return redisReaderCreateWithFunctions(&functions);
}

bool value_to_uint(const struct jobpool_value *value, uint64_t *ret_number)
{
	if (value->type == JOBPOOL_INTEGER && value->integer >= 0) {
		*ret_number = (uint64_t)value->integer;
		return true;
	}
	return value->type == JOBPOOL_BYTES &&
	       slice_to_uint((struct slice){ value->bytes, value->count }, UINT64_MAX, ret_number) == 0;
}

const struct jobpool_value *jobpool_map_find(const struct jobpool_value *map, const char *name)
{
	if (!map || map->type != JOBPOOL_ARRAY)
		return NULL;
	for (size_t i = 0; i + 1 < map->count; i += 2)
		if (map->items[i]->type == JOBPOOL_BYTES && strcmp(map->items[i]->bytes, name) == 0)
			return map->items[i + 1];
	return NULL;
}

int64_t jobpool_map_integer(const struct jobpool_value *map, const char *name, int64_t otherwise)
{
	const struct jobpool_value *value = jobpool_map_find(map, name);

	return value && value->type == JOBPOOL_INTEGER ? value->integer : otherwise;
}

const char *jobpool_map_text(const struct jobpool_value *map, const char *name)
{
	const struct jobpool_value *value = jobpool_map_find(map, name);

	return value && value->type == JOBPOOL_BYTES ? value->bytes : NULL;
}
