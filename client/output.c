/* A job's output: as it is now, and followed while it runs. */
#include "spec_request.h"
#include "value.h"

int jobpool_output_read(struct jobpool *c, uint64_t id, enum jobpool_output stream, uint64_t offset,
			uint64_t *ret_offset, struct jobpool_value **ret_bytes, bool *ret_ended)
{
	char id_text[NUMBER_TEXT_BYTES], offset_text[NUMBER_TEXT_BYTES];
	struct jobpool_value *value;
	uint64_t begin, ended;
	int r = ASK(c, true, &value, "OUTPUT", number_text(id, id_text), stream == JOBPOOL_OUT ? "out" : "err",
		    number_text(offset, offset_text));

	if (r < 0)
		return r;
	if (value->type == JOBPOOL_ARRAY && value->count == 3 && value_to_uint(value->items[0], &begin) &&
	    value->items[1]->type == JOBPOOL_BYTES && value_to_uint(value->items[2], &ended)) {
		*ret_offset = begin;
		*ret_bytes = value->items[1];
		*ret_ended = ended != 0;
		value->items[1] = NULL;
	} else {
		r = connection_bad_reply(c, "OUTPUT");
	}
	jobpool_value_free(value);
	return r;
}

struct jobpool_follow {
	struct jobpool *jobpool;     /* borrowed, outlives us */
	uint64_t id;                 /* 0 = the submission was not answered yet */
	struct buf submit;           /* encoded SUBMIT, kept until it is answered; empty when @id was given */
	uint64_t offsets[2];         /* up to where each stream was told */
	bool asked;                  /* FOLLOW, and SUBMIT before it where there is one, were sent: replies are to come */
	struct jobpool_value *reply; /* owned: what the last news point into */
};

static struct jobpool_follow *follow_alloc(struct jobpool *c)
{
	struct jobpool_follow *f = calloc(1, sizeof(*f));

	if (f)
		f->jobpool = c;
	else
		connection_fail(c, -ENOMEM, "out of memory");
	return f;
}

int jobpool_follow_new(struct jobpool *c, uint64_t id, struct jobpool_follow **ret_follow)
{
	struct jobpool_follow *f = follow_alloc(c);

	if (!f)
		return -ENOMEM;
	f->id = id;
	*ret_follow = f;
	return 0;
}

int jobpool_follow_start(struct jobpool *c, const struct jobpool_spec *spec, struct jobpool_follow **ret_follow)
{
	struct jobpool_follow *f = follow_alloc(c);
	int r = f ? connection_require(c) : -ENOMEM;

	while (r == 0 && (r = environment_require(c)) < 0)
		r = connection_restore(c, r);
	if (r == 0)
		r = submit_encode(c, spec, &f->submit);
	if (r < 0) {
		jobpool_follow_free(f);
		return r;
	}
	*ret_follow = f;
	return 0;
}

void jobpool_follow_free(struct jobpool_follow *f)
{
	if (!f)
		return;
	buf_free(&f->submit);
	jobpool_value_free(f->reply);
	free(f);
}

uint64_t jobpool_follow_id(const struct jobpool_follow *f)
{
	return f->id;
}

/* SUBMIT, where it was not answered yet, and FOLLOW in one write. */
static int follow_ask(struct jobpool_follow *f)
{
	struct jobpool *c = f->jobpool;
	int r = connection_require(c);

	if (r < 0)
		return r;
	if (!f->id) {
		buf_append(&c->out, f->submit.data, f->submit.len);
		connection_expect(c);
	}
	request_begin(&c->out, 5);
	request_text(&c->out, "FOLLOW");
	if (f->id)
		request_uint(&c->out, f->id);
	else
		request_text(&c->out, "LAST");
	request_uint(&c->out, f->offsets[JOBPOOL_OUT]);
	request_uint(&c->out, f->offsets[JOBPOOL_ERR]);
	request_ms(&c->out, -1);
	connection_expect(c);
	if (c->out.failed)
		return connection_fail(c, -ENOMEM, "out of memory");
	f->asked = true;
	return 0;
}

static int follow_take_id(struct jobpool_follow *f)
{
	struct jobpool *c = f->jobpool;
	struct jobpool_value *value;
	int r = connection_take(c, &value);

	if (r == 0)
		return submit_reply(c, value, &f->id);
	if (r != -EINTR)
		connection_drop(c); /* refused: FOLLOW LAST was answered too, with nothing of use */
	return r;
}

static int follow_take_news(struct jobpool_follow *f, struct jobpool_news *ret_news)
{
	struct jobpool_value *value;
	struct jobpool_news news = { 0 };
	int r = connection_take(f->jobpool, &value);

	if (r < 0)
		return r;
	jobpool_value_free(f->reply);
	f->reply = value;
	if (value->type != JOBPOOL_ARRAY || value->count != 5)
		return connection_bad_reply(f->jobpool, "FOLLOW");
	for (int i = 0; i < 2; i++) {
		const struct jobpool_value *bytes = value->items[2 * i + 1];

		if (!value_to_uint(value->items[2 * i], &news.output[i].offset) || bytes->type != JOBPOOL_BYTES)
			return connection_bad_reply(f->jobpool, "FOLLOW");
		/* Smaller than asked for: a further attempt began its output anew. */
		if (news.output[i].offset > f->offsets[i])
			news.output[i].missing = news.output[i].offset - f->offsets[i];
		news.output[i].bytes = bytes->bytes;
		news.output[i].count = bytes->count;
		f->offsets[i] = news.output[i].offset + bytes->count;
	}
	if (value->items[4]->type == JOBPOOL_ARRAY)
		news.job = value->items[4];
	*ret_news = news;
	return 0;
}

int jobpool_follow_next(struct jobpool_follow *f, struct jobpool_news *ret_news)
{
	int r;

	for (;;) {
		r = f->asked ? 0 : follow_ask(f);
		if (r == 0 && !f->id) {
			r = follow_take_id(f);
			/* News enough: a caller that was interrupted before may be waiting for it. */
			if (r == 0) {
				*ret_news = (struct jobpool_news){ 0 };
				return 0;
			}
		} else if (r == 0) {
			r = follow_take_news(f, ret_news);
		}
		if (r == -EINTR && f->jobpool->fd >= 0)
			return r;
		f->asked = false;
		if (r == 0)
			return 0;
		r = connection_restore(f->jobpool, r);
		if (r < 0)
			return r;
	}
}
