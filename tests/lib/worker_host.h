/* What a test needs to be daemon and supervisor of one real jobpool-worker: a state directory, the worker's birth with its
 * file and pipe, worker.sock and the messages. The binary is named by JOBPOOL_WORKER_BINARY. What fails here fails the
 * test; nothing waits for ever, since each receive has a deadline. */
#pragma once

#include <limits.h>

#include "spec.h"
#include "worker_file.h"

#define HOST_PATIENCE_MS 15000u

struct worker_host {
	char directory[PATH_MAX]; /* state_dir, and the current directory from host_open() to host_close() */
	char binary[PATH_MAX];
	uint64_t epoch;           /* the daemon's; goes into every message */
	uint64_t worker_id;       /* of the last worker; the next one gets the next */
	pid_t worker;             /* 0: none */
	int worker_file;          /* not the copy that holds the lock; this and all below: -1 = not open */
	int supervisor_pipe;      /* closing it tells the worker that its supervisor is dead */
	int listener, connection;
};

/* A fresh state directory below TMPDIR, with no worker and nobody listening. */
void host_open(struct worker_host *h, const char *name);
/* Kill the worker, remove the directory, close everything. */
void host_close(struct worker_host *h);
void host_remove_tree(const char *path);

/* As the supervisor does it: new id, locked file, pipe, exec. The one before must have been buried. */
void host_start_worker(struct worker_host *h);
/* The worker is dead and reaped: its descriptors and its file go. */
void host_bury_worker(struct worker_host *h);

void host_listen(struct worker_host *h);
/* Somebody has dialled. */
void host_accept(struct worker_host *h);
/* As at the daemon's death: connection and listener are closed, with all that was not read. */
void host_hang_up(struct worker_host *h);

void host_send(struct worker_host *h, enum message_type type, const void *body, size_t len, const struct slice *tails,
	       size_t count);
/* MESSAGE_RUN; the lengths in @run are filled in. */
void host_send_run(struct worker_host *h, struct message_run *run, const struct spec *spec, struct slice environment,
		   struct slice queue);
void host_send_recorded(struct worker_host *h, const uint8_t token[TOKEN_BYTES]);
/* The next whole frame, the caller's to free; { NULL } when the worker has hung up. */
struct slice host_receive(struct worker_host *h, struct message_header *ret_header);
