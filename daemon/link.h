/* One framed connection on worker.sock, to a worker or to the supervisor: frames in, frames out. Knows no meanings. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "buf.h"
#include "list.h"
#include "util.h"
#include "worker_proto.h"

#define LINK_UNSENT_BYTES_MAX (64u << 20) /* a peer that does not read so much is cut off */

struct link {
	uv_pipe_t pipe;
	pid_t peer_pid;                    /* SO_PEERCRED, as it was at connect */
	struct buf in;
	struct buf out;                    /* posted, not sent yet */
	void (*on_message)(struct link *link, const struct message_header *header, struct slice frame);
	void (*on_closed)(struct link *link); /* the peer is gone, or link_stop(); the link is freed after it */
	void *context, *owner;             /* the owner's */
	struct list list;                  /* for the owner's use; unlinked at the start */
	bool stopped;
	bool deaf;                         /* the peer has closed its end; its last words are still to be read */
};

/* Accept a connection from a listening pipe. 0 or -errno. on_message and on_closed are to be set at once. */
int link_accept(uv_stream_t *listener, struct link **ret_link);
/* Any number of times, from any callback; on_closed follows from the loop (once). */
void link_stop(struct link *link);
/* Put one frame behind what is posted: it travels with the next link_send() or link_flush(). A peer woken once does more in its turn.
 * Into nothing where the peer is gone: what it said before comes first, then on_closed. */
void link_post(struct link *link, enum message_type type, uint64_t epoch, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count);
/* Send all that is posted, in order. */
void link_flush(struct link *link);
/* Both. */
void link_send(struct link *link, enum message_type type, uint64_t epoch, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count);
