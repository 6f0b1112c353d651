/* The worker's connection to the daemon: dialling with back-off, bytes in and frames out, never blocking. */
#pragma once

#include "worker_proto.h"

enum link_state {
	LINK_DOWN,    /* no connection; dialled again at @redial_at_ms */
	LINK_GREETED, /* HELLO is sent, WELCOME not yet here: nothing else may be sent */
	LINK_UP,
};

struct link {
	enum link_state state;
	int fd;                 /* -1 while LINK_DOWN */
	bool broken;            /* failed while sending; the owner closes it from its loop, not from below a caller */
	struct buf in, out;
	uint64_t backoff_ms;
	uint64_t redial_at_ms;
	uint64_t down_since_ms; /* when it was last LINK_UP, or the start */
};

/* For each whole frame; @frame is borrowed for the call. */
typedef void (*link_on_frame)(void *context, const struct message_header *header, struct slice frame);

void link_init(struct link *l, uint64_t now_ms);
/* Connect and send @hello: 0, or -errno; then the next try is due after the back-off. */
int link_dial(struct link *l, const struct message_hello *hello, uint64_t now_ms);
/* The daemon has answered with a version that we speak. */
void link_set_up(struct link *l);
/* It has answered with another: no sooner than in a second again. */
void link_set_refused(struct link *l);
/* Read once and hand out all whole frames. 0; -EPIPE at the end of the stream, -EBADMSG, -errno: to be closed. */
int link_receive(struct link *l, link_on_frame on_frame, void *context);
/* Queue a frame and send what the socket takes; a failure shows as l->broken. */
void link_send(struct link *l, enum message_type type, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count);
void link_flush(struct link *l);
void link_close(struct link *l, uint64_t now_ms);
/* What to poll for, in the form of struct pollfd's events. */
short link_poll_events(const struct link *l);
