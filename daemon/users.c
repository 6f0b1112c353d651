/* Who may talk to the daemon: its own user and root. NSS may ask a directory server and block for seconds, so both names are
 * looked up once, before the loop runs. */
#include "users.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

struct users {
	struct {
		uid_t uid;
		char *name;
	} known[2];
};

static char *name_of(uid_t uid)
{
	struct passwd *entry = getpwuid(uid);
	char number[16];

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	return strdup(entry ? entry->pw_name : number);
}

int users_new(struct users **ret_users)
{
	struct users *users = calloc(1, sizeof(*users));

	if (!users)
		return -ENOMEM;
	users->known[0].uid = geteuid();
	users->known[1].uid = 0;
	for (size_t i = 0; i < ARRAY_SIZE(users->known); i++) {
		users->known[i].name = name_of(users->known[i].uid);
		if (!users->known[i].name) {
			users_free(users);
			return -ENOMEM;
		}
	}
	*ret_users = users;
	return 0;
}

void users_free(struct users *users)
{
	if (!users)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(users->known); i++)
		free(users->known[i].name);
	free(users);
}

const char *users_find(const struct users *users, uid_t uid)
{
	for (size_t i = 0; i < ARRAY_SIZE(users->known); i++)
		if (users->known[i].uid == uid)
			return users->known[i].name;
	return NULL;
}
