/* The paths of a user's own daemon. /tmp is everybody's: what is found there is checked as tmux does before it is
 * trusted. */
#include "socket_path.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util.h"

/* 0 when @path is a directory of ours that is closed to others, -errno else. Never follows a symbolic link. */
static int check_private_directory(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (st.st_uid != geteuid() || st.st_mode & 077)
		return -EPERM;
	return 0;
}

static bool is_runtime_directory(const char *path)
{
	struct stat st;

	return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static int format_path(char *ret_path, size_t size, const char *first, const char *second)
{
	int len = snprintf(ret_path, size, "%s%s", first, second);

	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int socket_path_user(char *ret_path, size_t size, bool create_directory)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool in_runtime = is_runtime_directory(runtime);
	char directory[SOCKET_PATH_BYTES], path[SOCKET_PATH_BYTES];
	int r;

	if (in_runtime)
		r = format_path(directory, sizeof(directory), runtime, "/jobpool");
	else
		r = snprintf(directory, sizeof(directory), "/tmp/jobpool-%u", (unsigned)geteuid()) < 0 ? -EINVAL : 0;
	if (r == 0)
		r = format_path(path, sizeof(path), directory, "/jobpool.sock");
	if (r < 0)
		return r;
	if (create_directory && mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (!in_runtime) {
		r = check_private_directory(directory);
		if (r < 0 && (r != -ENOENT || create_directory))
			return r;
	}
	return format_path(ret_path, size, path, "");
}

/* Make @path and its missing parents; it is changed and put back meanwhile. */
static int make_directories(char *path)
{
	for (char *at = path + 1;; at++) {
		char kept = *at;

		if (kept && kept != '/')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			*at = kept;
			return -errno;
		}
		*at = kept;
		if (!kept)
			return 0;
	}
}

/* For who has no HOME. Of the file alone: other sources of users need shared libraries, and the client has none where it can. */
static int find_home(char *ret_home, size_t size)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd entry = { 0 }, *user = NULL;
	char text[4096];
	int r = file ? -ENOENT : -errno;

	while (file && fgetpwent_r(file, &entry, text, sizeof(text), &user) == 0 && user->pw_uid != geteuid())
		user = NULL;
	if (user)
		r = format_path(ret_home, size, user->pw_dir, "");
	if (file)
		fclose(file);
	return r;
}

int state_directory_user(char *ret_path, size_t size, bool create)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char found[PATH_MAX] = "";
	int r;

	if (state && state[0] == '/') {
		r = format_path(ret_path, size, state, "/jobpool");
	} else {
		if (!home || home[0] != '/')
			home = find_home(found, sizeof(found)) == 0 ? found : NULL;
		if (!home || home[0] != '/')
			return -ENOENT;
		r = format_path(ret_path, size, home, "/.local/state/jobpool");
	}
	return r == 0 && create ? make_directories(ret_path) : r;
}
