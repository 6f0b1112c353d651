/* A framed connection on worker.sock. Peers are our own programs, but a frame's length is checked all the same: the other
 * side may be another version, or dying. */
#include "link.h"

#include <assert.h>
#include <sys/socket.h>

#include "log.h"

struct link_write {
	uv_write_t request;
	char *data;
};

static void on_close(uv_handle_t *handle)
{
	struct link *link = handle->data;
	void (*on_closed)(struct link *) = link->on_closed;

	buf_free(&link->in);
	buf_free(&link->out);
	list_remove(&link->list);
	if (on_closed)
		on_closed(link);
	free(link);
}

void link_stop(struct link *link)
{
	if (link->stopped)
		return;
	link->stopped = true;
	uv_close((uv_handle_t *)&link->pipe, on_close);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct link *link = handle->data;
	const size_t room = 16384;

	(void)suggested;
	ret->base = buf_reserve(&link->in, room);
	ret->len = ret->base ? room : 0;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *unused)
{
	struct link *link = stream->data;
	struct message_header header;
	size_t used = 0;
	ssize_t length;

	(void)unused;
	if (count < 0) {
		link_stop(link);
		return;
	}
	link->in.len += (size_t)count;
	while (!link->stopped && (length = message_peek(link->in.data + used, link->in.len - used, &header)) != 0) {
		if (length < 0) {
			log_error("closing a private connection: impossible frame length", "pid=%d length=%u", link->peer_pid, header.length);
			link_stop(link);
			return;
		}
		link->on_message(link, &header, (struct slice){ link->in.data + used, (size_t)length });
		used += (size_t)length;
	}
	buf_consume(&link->in, used);
	if (!link->in.len)
		buf_clear(&link->in);
}

static pid_t peer_pid(const struct link *link)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd;

	if (uv_fileno((const uv_handle_t *)&link->pipe, &fd) < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return 0;
	return peer.pid;
}

int link_accept(uv_stream_t *listener, struct link **ret_link)
{
	struct link *link = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	list_init(&link->list);
	uv_pipe_init(listener->loop, &link->pipe, 0);
	link->pipe.data = link;
	r = uv_accept(listener, (uv_stream_t *)&link->pipe);
	if (r == 0)
		r = uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read);
	if (r < 0) {
		link_stop(link); /* nobody listens yet: it is just closed and freed */
		return r;
	}
	link->peer_pid = peer_pid(link);
	*ret_link = link;
	return 0;
}

/* A peer that has gone may have said something before; the end of its stream tells when all is read. */
static void write_failed(struct link *link, int error)
{
	link->deaf = true;
	if (error != UV_EPIPE && error != UV_ECONNRESET)
		link_stop(link);
}

static void on_written(uv_write_t *request, int status)
{
	struct link_write *w = container_of(request, struct link_write, request);
	struct link *link = request->handle->data;

	if (status < 0)
		write_failed(link, status);
	free(w->data);
	free(w);
}

/* What the socket does not take at once is queued; a peer that lets too much pile up is cut off. */
static void send_later(struct link *link, const char *data, size_t len)
{
	struct link_write *w = calloc(1, sizeof(*w));
	uv_buf_t piece;

	if (w)
		w->data = malloc(len);
	if (!w || !w->data || uv_stream_get_write_queue_size((uv_stream_t *)&link->pipe) + len > LINK_UNSENT_BYTES_MAX) {
		log_error("closing a private connection: its peer does not read", "pid=%d", link->peer_pid);
		goto fail;
	}
	memcpy(w->data, data, len);
	piece = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->request, (uv_stream_t *)&link->pipe, &piece, 1, on_written) == 0)
		return;
fail:
	if (w)
		free(w->data);
	free(w);
	link_stop(link);
}

void link_post(struct link *link, enum message_type type, uint64_t epoch, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count)
{
	if (link->stopped || link->deaf)
		return;
	message_append(&link->out, type, epoch, body, body_len, tails, tail_count);
	if (!link->out.failed)
		return;
	log_error("closing a private connection: out of memory", "pid=%d", link->peer_pid);
	link_stop(link);
}

void link_flush(struct link *link)
{
	struct buf *out = &link->out;
	uv_buf_t piece = uv_buf_init(out->data, (unsigned)out->len);
	int sent;

	if (link->stopped || link->deaf || !out->len)
		return;
	sent = uv_try_write((uv_stream_t *)&link->pipe, &piece, 1);
	if (sent == UV_EAGAIN)
		sent = 0;
	if (sent < 0)
		write_failed(link, sent);
	else if ((size_t)sent < out->len)
		send_later(link, out->data + sent, out->len - (size_t)sent);
	buf_clear(out);
}

void link_send(struct link *link, enum message_type type, uint64_t epoch, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count)
{
	link_post(link, type, epoch, body, body_len, tails, tail_count);
	link_flush(link);
}
