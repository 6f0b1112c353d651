/* Frames of the private channels: build one, find one, take one apart. No I/O. */
#include "worker_proto.h"

void message_append(struct buf *out, enum message_type type, uint64_t epoch, const void *body, size_t body_len,
		    const struct slice *tails, size_t tail_count)
{
	uint64_t length = sizeof(struct message_header) + body_len;

	for (size_t i = 0; i < tail_count; i++)
		length += tails[i].len;
	/* All room at once: a frame is appended whole or not at all. */
	if (length > WORKER_FRAME_BYTES_MAX || !buf_reserve(out, length)) {
		out->failed = true;
		return;
	}

	struct message_header header = { .length = (uint32_t)length, .type = (uint16_t)type, .epoch = epoch };
	buf_append(out, &header, sizeof(header));
	buf_append(out, body, body_len);
	for (size_t i = 0; i < tail_count; i++)
		buf_append(out, tails[i].data, tails[i].len);
}

ssize_t message_peek(const char *data, size_t len, struct message_header *ret_header)
{
	struct message_header header;

	if (len < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	if (header.length < sizeof(header) || header.length > WORKER_FRAME_BYTES_MAX)
		return -EBADMSG;
	if (len < header.length)
		return 0;
	*ret_header = header;
	return header.length;
}

int message_body(struct slice frame, void *ret_body, size_t body_len, struct slice *ret_tail)
{
	struct slice rest = frame, head, body;

	if (message_cut(&rest, sizeof(struct message_header), &head) < 0 || message_cut(&rest, body_len, &body) < 0)
		return -EBADMSG;
	if (body_len)
		memcpy(ret_body, body.data, body_len);
	if (ret_tail)
		*ret_tail = rest;
	return 0;
}

int message_cut(struct slice *tail, size_t len, struct slice *ret_part)
{
	if (len > tail->len)
		return -EBADMSG;
	*ret_part = (struct slice){ tail->data, len };
	if (len) {
		tail->data += len;
		tail->len -= len;
	}
	return 0;
}
