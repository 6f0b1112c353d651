/* The client socket. By hand, not by uv_pipe_bind: libuv cuts long paths silently, and its listener unlinks its path when it is
 * closed, also a successor's; and uv_listen accepts whenever somebody calls, also where we have no room. */
#include "listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "log.h"
#include "socket_path.h"
#include "util.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
#define DESCRIPTOR_RETRY_MS 200 /* while descriptors are used up: they may be freed by what we do not see */

struct listener {
	uv_poll_t poll;
	uv_timer_t retry;
	unsigned open_handles;
	int fd;
	struct sockaddr_un address;
	struct stat bound;          /* dev and ino of the file that bind() made */
	listener_accept accept;
	void *context;
	bool accepting, stopped;
	bool out_of_descriptors;    /* said once, until a client could be accepted again */
};

static int fail(int error, char text[256], const char *path, const char *what)
{
	snprintf(text, 256, "cannot serve the socket %.120s: %s", path, what);
	return error;
}

/* Does somebody answer at the address? A dead daemon's file refuses. */
static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served;

	if (fd < 0)
		return true; /* not known: touch nothing */
	/* EAGAIN: its backlog is full, so it lives. */
	served = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED;
	close_fd(&fd);
	return served;
}

static int remove_stale(const struct sockaddr_un *address, char error[256])
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fail(-errno, error, path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(-EEXIST, error, path, "something that is no socket has this name; choose another with --socket");
	if (is_served(address))
		return fail(-EADDRINUSE, error, path, "another program serves it; stop that one, or choose another with --socket");
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(-errno, error, path, strerror(errno));
	return 0;
}

static int bind_address(struct listener *l, const char *path, char error[256])
{
	int r;

	if (strlen(path) >= sizeof(l->address.sun_path)) {
		snprintf(error, 256, "the socket's path is longer than the %zu bytes that Linux allows: %.100s...; choose a shorter one with --socket",
			 sizeof(l->address.sun_path) - 1, path);
		return -ENAMETOOLONG;
	}
	l->address.sun_family = AF_UNIX;
	strcpy(l->address.sun_path, path);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return fail(-errno, error, path, strerror(errno));
	r = remove_stale(&l->address, error);
	if (r < 0)
		return r;
	/* The daemon's umask (077) makes it 0600 from its first moment on. */
	if (bind(l->fd, (struct sockaddr *)&l->address, sizeof(l->address)) < 0)
		return fail(-errno, error, path, strerror(errno));
	if (lstat(path, &l->bound) < 0 || listen(l->fd, BACKLOG) < 0)
		return fail(-errno, error, path, strerror(errno));
	return 0;
}

static void set_polling(struct listener *l, bool polling);

static void on_retry(uv_timer_t *timer)
{
	struct listener *l = timer->data;

	if (l->accepting)
		set_polling(l, true);
}

/* One connection of the backlog. false: there is none, or none can be taken now. */
static bool accept_one(struct listener *l)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int r, fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		if (!l->out_of_descriptors)
			log_warning("cannot accept a client now: it waits", "error=" LOG_QUOTED, strerror(errno));
		l->out_of_descriptors = true;
		set_polling(l, false);
		uv_timer_start(&l->retry, on_retry, DESCRIPTOR_RETRY_MS, 0);
		return false;
	}
	if (fd < 0)
		return errno == EINTR || errno == ECONNABORTED;
	l->out_of_descriptors = false;
	r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ? -errno : l->accept(fd, peer.uid, peer.pid, l->context);
	if (r < 0)
		close_fd(&fd);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)events;
	if (status < 0)
		return;
	for (int i = 0; i < ACCEPTS_PER_TURN && l->accepting && accept_one(l); i++)
		;
}

static void set_polling(struct listener *l, bool polling)
{
	if (polling)
		uv_poll_start(&l->poll, UV_READABLE, on_readable);
	else
		uv_poll_stop(&l->poll);
}

void listener_set_accepting(struct listener *l, bool accepting)
{
	if (l->stopped || l->accepting == accepting)
		return;
	l->accepting = accepting;
	uv_timer_stop(&l->retry);
	set_polling(l, accepting);
}

static void unlink_if_ours(const struct listener *l)
{
	struct stat st;

	if (l->bound.st_ino && lstat(l->address.sun_path, &st) == 0 && st.st_dev == l->bound.st_dev && st.st_ino == l->bound.st_ino)
		unlink(l->address.sun_path);
}

int listener_new(uv_loop_t *loop, const char *path, listener_accept accept, void *context, struct listener **ret_listener,
		 char error[256])
{
	struct listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return fail(-ENOMEM, error, path, strerror(ENOMEM));
	l->fd = -1;
	l->accept = accept;
	l->context = context;
	r = bind_address(l, path, error);
	if (r == 0) {
		r = uv_poll_init(loop, &l->poll, l->fd);
		if (r < 0)
			fail(r, error, path, uv_strerror(r));
	}
	if (r < 0) {
		unlink_if_ours(l);
		close_fd(&l->fd);
		free(l);
		return r;
	}
	uv_timer_init(loop, &l->retry);
	l->poll.data = l->retry.data = l;
	l->open_handles = 2;
	listener_set_accepting(l, true);
	*ret_listener = l;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	if (--l->open_handles == 0)
		free(l);
}

void listener_stop(struct listener *l)
{
	if (!l || l->stopped)
		return;
	listener_set_accepting(l, false);
	l->stopped = true;
	unlink_if_ours(l);
	uv_close((uv_handle_t *)&l->poll, on_closed);
	uv_close((uv_handle_t *)&l->retry, on_closed);
	close_fd(&l->fd); /* only after uv_close() has taken it out of epoll */
}
