/* Any bytes as a stream of frames: find each, take it apart as every type of message. */
#include "worker_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const size_t body_bytes[] = {
	0,
	sizeof(struct message_hello),
	sizeof(struct message_welcome),
	sizeof(struct message_run),
	sizeof(struct message_token),
	sizeof(struct message_cancel),
	sizeof(struct message_signal),
	sizeof(struct message_ended),
	sizeof(struct message_start),
	sizeof(struct message_worker),
	sizeof(struct message_row),
	sizeof(struct message_log),
};

/* Reading each byte is what shows a part that lies outside; the value is of no interest. */
static volatile char seen;

static void take_run_apart(struct slice frame)
{
	struct message_run run;
	struct slice tail, part;

	if (message_body(frame, &run, sizeof(run), &tail) < 0)
		return;
	const size_t lengths[] = { run.spec_bytes, run.environment_bytes, run.queue_bytes };
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		if (message_cut(&tail, lengths[i], &part) == 0)
			for (size_t at = 0; at < part.len; at++)
				seen ^= part.data[at];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data;
	struct message_header header;
	char body[sizeof(struct message_hello) + sizeof(struct message_start)];
	ssize_t len;

	while ((len = message_peek(at, size, &header)) > 0) {
		struct slice frame = { at, (size_t)len }, tail;
		for (size_t i = 0; i < ARRAY_SIZE(body_bytes); i++)
			if (message_body(frame, body, body_bytes[i], &tail) == 0 && tail.len > frame.len)
				abort();
		take_run_apart(frame);
		at += len;
		size -= (size_t)len;
	}
	return 0;
}
