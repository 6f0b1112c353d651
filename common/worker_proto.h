/* All that crosses between daemon, supervisor and worker: framed messages over state_dir/worker.sock, and names of
 * environment variables and descriptors handed to a worker at birth.
 *
 * Both dial the daemon and say HELLO first; the daemon answers WELCOME with the version it chose, or closes. Old workers
 * and supervisors outlive upgrades: message structs only grow at their end, and what is missing reads as zero.
 * One machine, so native byte order and C layout; all structs have explicit padding and fixed-size fields. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "outcome.h"
#include "util.h"

#define WORKER_PROTO_VERSION_MIN 1
#define WORKER_PROTO_VERSION_MAX 1
/* A frame with its header. A RUN carries a spec, an environment (1 MiB each) and names; an ENDED two times 64 KiB of output. */
#define WORKER_FRAME_BYTES_MAX (4u << 20)
#define OUTPUT_INLINE_BYTES_MAX 65536u /* more output than this is kept as a file (design section 7) */
#define TOKEN_BYTES 16
/* One for the job that runs, the others for ended ones whose outcome is on its way to the disk: with three a worker of short jobs
 * waits for a disk that takes 0.3 ms, with eleven it does not. */
#define MARKS_PER_WORKER 11

#define WORKER_SOCKET_NAME "worker.sock"         /* in state_dir; dialled by its short name after fchdir(state_dir) */
#define SUPERVISOR_LOCK_NAME "supervisor.lock"   /* in state_dir; OFD-locked while a supervisor lives; holds its pid in decimal */
#define WORKER_DIRECTORY "workers"               /* <worker id> */
#define SCRATCH_DIRECTORY "scratch"              /* <worker id>.<mark index>.out and .err */
#define OUTPUT_DIRECTORY "output"                /* <job id>.<attempt>.out and .err */
#define INPUT_DIRECTORY "input"                  /* <input id> */
#define TMP_DIRECTORY "tmp"                      /* <worker id>: JOBPOOL_TMPDIR */
#define SLOT_DIRECTORY "slots"                   /* <pool>.<slot>: JOBPOOL_WORKER_DIR */

/* Descriptors of a new worker: cwd is state_dir. */
#define WORKER_FD_FILE 3       /* its worker file, OFD-locked by this open file description */
#define WORKER_FD_SUPERVISOR 4 /* read end of a pipe: end of file = the supervisor is dead */

enum message_type {
	MESSAGE_HELLO = 1,     /* worker, supervisor -> daemon: struct message_hello */
	MESSAGE_WELCOME = 2,   /* daemon -> both: struct message_welcome */
	/* daemon -> worker */
	MESSAGE_RUN = 16,      /* struct message_run, then spec, environment, queue name (lengths in the struct). One may come while a
	                        * job runs: it starts when that one has ended */
	MESSAGE_RECORDED = 17, /* struct message_token: the outcome is committed, its mark and scratch files are free */
	MESSAGE_CANCEL = 18,   /* struct message_cancel: SIGTERM, SIGCONT, after the grace SIGKILL, to the whole tree */
	MESSAGE_SIGNAL = 19,   /* struct message_signal: deliver one signal to the whole tree */
	MESSAGE_RETIRE = 20,   /* no body: finish the job at hand, say LEAVING, wait for RECORDED, exit 0 */
	MESSAGE_RECALL = 21,   /* struct message_token: RETURNED this RUN if it has not begun; else nothing */
	/* worker -> daemon */
	MESSAGE_ENDED = 32,    /* struct message_ended, then stdout and stderr where they are small */
	MESSAGE_LEAVING = 33,  /* no body: give me nothing more */
	MESSAGE_RETURNED = 34, /* struct message_token: this RUN has not begun, and never will */
	/* daemon -> supervisor */
	MESSAGE_START = 48,    /* struct message_start */
	MESSAGE_KILL = 49,     /* struct message_worker: SIGKILL the worker; DIED and EMPTY follow */
	MESSAGE_FORGET = 50,   /* struct message_worker: the row goes (it must be empty) */
	MESSAGE_QUIT = 51,     /* no body: kill all workers and their trees, then exit 0 */
	/* supervisor -> daemon */
	MESSAGE_ROW = 64,      /* struct message_row: one for each row after WELCOME, then at each change */
	MESSAGE_ROWS_END = 65, /* no body: the table is complete */
	MESSAGE_LOG = 66,      /* struct message_log, then the line */
};

struct message_header {
	uint32_t length;  /* of the whole frame, header included; at most WORKER_FRAME_BYTES_MAX */
	uint16_t type;    /* enum message_type; unknown ones are logged and skipped */
	uint16_t reserved;
	uint64_t epoch;   /* daemon -> others: the daemon's epoch; others -> daemon: 0 */
};

enum proto_role { ROLE_WORKER = 1, ROLE_SUPERVISOR = 2 };

/* How an attempt ended, as a mark, an ENDED message and the store keep it. 128 bytes, zero = not ended. */
struct attempt_end {
	uint8_t outcome;          /* enum outcome */
	uint8_t limit;            /* enum limit */
	uint8_t step;             /* enum start_step */
	uint8_t lost_reason;      /* enum lost_reason */
	uint8_t core_dumped;      /* bool */
	uint8_t merged;           /* bool: one stream, in out */
	uint8_t output_files;     /* bit 0: stdout is kept as state_dir/output/<job>.<attempt>.out; bit 1: stderr as .err */
	uint8_t output_dropped;   /* bit 0, 1: of stdout, stderr something did not fit on the disk and is missing at its end */
	int32_t exit_code;        /* exit status 0..255, -1 = there is none */
	int32_t signal;           /* signal that ended it, 0 = none */
	int32_t error;            /* errno of the failed step */
	uint32_t reserved;
	uint64_t started_wall_ms; /* wall clock at vfork */
	uint64_t ended_wall_ms;   /* wall clock when the job's process was reaped */
	uint64_t elapsed_us;      /* between the two, monotonic */
	uint64_t user_us, system_us; /* CPU time of the job and all its reaped children */
	uint64_t max_rss_bytes;
	struct {
		uint64_t bytes;           /* true length of the stream, what was cut out included */
		uint64_t hole_start, hole_end; /* this range was cut out by max_output; equal = nothing */
	} output[2];              /* 0 = stdout (or both, when merged), 1 = stderr */
};
_Static_assert(sizeof(struct attempt_end) == 120, "layout is stored");

enum mark_state { MARK_FREE, MARK_STARTED, MARK_ENDED };

/* One of the marks of a worker file, and of a HELLO. */
struct mark {
	uint32_t crc;             /* of all that follows; a wrong one is set aside and logged */
	uint8_t state;            /* enum mark_state */
	uint8_t reserved[3];
	uint8_t token[TOKEN_BYTES];
	uint64_t job_id;
	uint32_t attempt;
	int32_t pid;              /* the job's process; 0 until it is known (it is informational) */
	struct attempt_end end;   /* valid when MARK_ENDED; when MARK_STARTED only end.started_wall_ms, of about that moment */
	uint8_t spare[40];
};
_Static_assert(sizeof(struct mark) == 200, "layout is stored");

struct message_hello {
	uint16_t version_min, version_max;
	uint8_t role;             /* enum proto_role */
	uint8_t leaving;          /* worker: bool, it takes nothing more (its supervisor is dead, or it was told to RETIRE) */
	uint8_t reserved[2];
	uint64_t worker_id;       /* 0 for a supervisor */
	int32_t pid;
	uint32_t reserved2;
	struct mark marks[MARKS_PER_WORKER]; /* worker: its marks as they are */
};

struct message_welcome {
	uint16_t version;
	uint16_t reserved[3];
	uint64_t epoch;
};

struct message_run {
	uint8_t token[TOKEN_BYTES];
	uint64_t job_id;
	uint32_t attempt;
	uint32_t queue_bytes;
	uint32_t spec_bytes;
	uint32_t environment_bytes;
};

struct message_token {
	uint8_t token[TOKEN_BYTES];
};

enum cancel_reason {
	CANCEL_ASKED = 1,         /* outcome cancelled (unless it ends with exit 0) */
	CANCEL_STOP = 2,          /* our own stop ends it: lost, LOST_STOPPED, its status kept */
};

struct message_cancel {
	uint8_t token[TOKEN_BYTES];
	uint64_t grace_ms;        /* 0 = SIGKILL at once; UINT64_MAX = the spec's */
	uint8_t reason;           /* enum cancel_reason */
	uint8_t reserved[7];
};

struct message_signal {
	uint8_t token[TOKEN_BYTES];
	int32_t signal;
	uint32_t reserved;
};

struct message_ended {
	uint8_t token[TOKEN_BYTES];
	uint64_t job_id;
	uint32_t attempt;
	uint32_t out_bytes, err_bytes; /* of the inline output that follows: kept bytes, holes left out; <= OUTPUT_INLINE_BYTES_MAX each */
	uint32_t reserved;
	struct attempt_end end;
};

struct message_start {
	uint64_t worker_id;
	uint32_t slot;
	uint32_t reserved;
	char pool[NAME_BYTES_MAX + 8];   /* NUL-terminated */
	char socket[256];                /* the client socket's path for JOBPOOL_SOCKET, NUL-terminated, "" = unknown */
};

struct message_worker {
	uint64_t worker_id;
};

enum row_state {
	ROW_ALIVE = 1,
	ROW_DEAD = 2,             /* wait status known; its tree is being ended */
	ROW_EMPTY = 3,            /* dead, and nothing it started is left */
	ROW_STUCK = 4,            /* dead, and its tree could not be ended within ten seconds; EMPTY may still follow */
};

struct message_row {
	uint64_t worker_id;
	int32_t pid;              /* 0 when it could not be started */
	uint8_t state;            /* enum row_state */
	uint8_t reserved[3];
	int32_t wait_status;      /* as waitpid(2) gives it, from ROW_DEAD on */
	int32_t start_error;      /* errno when the worker could not be started at all (then ROW_EMPTY), else 0 */
};

struct message_log {
	uint32_t level;           /* enum log_level */
};

/* Append one frame: header, @body of @body_len, then the tails. Failures are kept in out->failed. */
void message_append(struct buf *out, enum message_type type, uint64_t epoch, const void *body, size_t body_len,
		    const struct slice *tails, size_t tail_count);

/**
 * Look at the first frame of @data.
 *
 * Returns the length of the whole frame when it is complete; 0 when more bytes are needed; -EBADMSG when the length is
 * impossible: the connection is to be closed.
 */
ssize_t message_peek(const char *data, size_t len, struct message_header *ret_header);

/* Copy the fixed part of a whole frame's body, @body_len bytes, into @ret_body; what lies behind it goes to @ret_tail (may be
 * NULL). 0, or -EBADMSG when the frame is shorter: both sides use the layout of the negotiated version. */
int message_body(struct slice frame, void *ret_body, size_t body_len, struct slice *ret_tail);

/* Cut @len bytes off the front of @tail: 0, or -EBADMSG when it is shorter. */
int message_cut(struct slice *tail, size_t len, struct slice *ret_part);
