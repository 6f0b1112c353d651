/* The immutable spec of a command job, and its stored form: a versioned block of bytes that the daemon keeps in the
 * store and hands to the worker unchanged. Environments travel apart (they are shared by many jobs). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "util.h"

#define SPEC_VERSION 1

struct spec {
	struct slice *argv;        /* @argc >= 1 words, none contains a NUL byte; argv[0] is not empty */
	uint32_t argc;
	struct slice cwd;          /* absolute; "" = "/" */
	uint32_t umask;            /* 0..0777 */
	bool merge_output;         /* stderr goes into stdout's pipe: true order, one stream */
	uint64_t timeout_ms;       /* 0 = none */
	uint64_t grace_ms;         /* between SIGTERM and SIGKILL */
	uint64_t max_output_bytes; /* of each stream; 0 = nothing is kept */
	uint64_t input_id;         /* 0 = stdin is /dev/null, else the file state_dir/input/<id> */
};

/* Append the stored form. 0, -EINVAL (argc 0, NUL byte inside a word, umask out of range) or -ENOMEM; then @out is unchanged. */
int spec_encode(const struct spec *spec, struct buf *out);

/**
 * Read a stored form. Every length is checked: the bytes may come from a damaged disk.
 *
 * @ret_spec: its slices point into @data, each is followed by a NUL byte there; argv itself is on the heap
 *
 * Returns 0; -EBADMSG for anything malformed, -EPROTONOSUPPORT for a newer version, -ENOMEM; then *ret_spec is untouched.
 * The caller ends with spec_deinit().
 */
int spec_decode(struct slice data, struct spec *ret_spec);
/* The same from the first bytes of a stored form (a listing): argc and argv are the words that are there, the last one perhaps
 * cut and then without its NUL byte; argc may be 0. *ret_cut: something is missing. */
int spec_decode_front(struct slice data, struct spec *ret_spec, bool *ret_cut);
void spec_deinit(struct spec *spec);

/* An environment block is name=value, each ended by a NUL byte; 0 if @block is that, with non-empty names, else -EINVAL. */
int environment_check(struct slice block);
