/* SPDX-License-Identifier: MIT */
#include "discover/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* PID_MAX_LIMIT of 64-bit kernels */
#define PID_LIMIT 4194304
#define BASENAME_MAX 255

__attribute__((format(printf, 3, 4))) static int invalid(char *message, unsigned int size,
							 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool only(const char *text, const char *accepted)
{
	return text[strspn(text, accepted)] == 0;
}

static int parse_name(const char *text, size_t length, struct target *ret, char *message,
		      unsigned int size)
{
	static const char accepted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789._:/-";

	if (!length)
		return invalid(message, size, "the registry's name before '=' is empty");
	if (length >= TARGET_NAME)
		return invalid(message, size, "the registry's name has %zu bytes, at most %d fit",
			       length, TARGET_NAME - 1);
	memcpy(ret->name, text, length);
	if (!only(ret->name, accepted))
		return invalid(message, size,
			       "the registry's name may hold letters, digits and . _ : / - only");
	return 0;
}

static int parse_pid(struct target *ret, char *message, unsigned int size)
{
	unsigned long pid = 0;

	for (const char *c = ret->value; *c && pid <= PID_LIMIT; c++)
		pid = pid * 10 + (unsigned long)(*c - '0');
	if (!pid || pid > PID_LIMIT)
		return invalid(message, size,
			       "digits only are a process id, from 1 to %d; of a container's id "
			       "give enough to hold a letter",
			       PID_LIMIT);
	ret->kind = TARGET_PID;
	ret->pid = (pid_t)pid;
	return 0;
}

/*
 * WAY: before the value. A path begins with '/', so whatever colons it has are its own. A word with
 * one is refused, for it would be a misspelt way that waits for ever.
 */
static int parse_way(const char **text, struct target *ret, char *message, unsigned int size)
{
	size_t length = strcspn(*text, ":/");

	if ((*text)[length] != ':')
		return 0;
	ret->way = way_find(*text, length);
	if (ret->way) {
		*text += length + 1;
		return 0;
	}
	return invalid(message, size,
		       "'%.*s' is no way in: that is " WAY_NAMES
		       ", or none; an executable with a ':' in its name is given by its path",
		       (int)(length < 32 ? length : 32), *text);
}

static int parse_value(const char *text, struct target *ret, char *message, unsigned int size)
{
	size_t length;
	int err = parse_way(&text, ret, message, size);

	if (err)
		return err;
	length = strlen(text);
	if (!length)
		return invalid(message, size,
			       "nothing after '%s': a process id, an executable or a container id "
			       "is needed",
			       ret->way ? ":" : "=");
	if (length >= sizeof(ret->value))
		return invalid(message, size, "the path has %zu bytes, at most %zu fit", length,
			       sizeof(ret->value) - 1);
	memcpy(ret->value, text, length + 1);
	if (only(text, "0123456789"))
		return parse_pid(ret, message, size);
	if (strchr(text, '/')) {
		if (text[0] != '/')
			return invalid(message, size, "the executable's path must start with '/'");
		if (text[length - 1] == '/')
			return invalid(message, size, "the path names a folder, not a file");
		ret->kind = TARGET_PATH;
		return 0;
	}
	if (length > BASENAME_MAX)
		return invalid(message, size,
			       "%zu bytes are too long for an executable's name or a container id",
			       length);
	ret->kind = TARGET_WORD;
	ret->container = length >= TARGET_CONTAINER_DIGITS && length < PROCESS_CONTAINER_ID &&
			 only(text, "0123456789abcdef");
	return 0;
}

int target_parse(const char *text, struct target *ret, char *message, unsigned int message_size)
{
	const char *equals = strchr(text, '=');
	struct target target = {0};
	int err;

	if (!equals)
		return invalid(message, message_size,
			       "no '=': a target is NAME=[WAY:]PID, NAME=[WAY:]EXECUTABLE or "
			       "NAME=[WAY:]CONTAINER");
	err = parse_name(text, (size_t)(equals - text), &target, message, message_size);
	if (!err)
		err = parse_value(equals + 1, &target, message, message_size);
	if (!err)
		*ret = target;
	return err;
}

void target_resolve(struct target *target, const char *root)
{
	char path[PROCESS_EXE + 256];
	_cleanup_close_ int fd = -1;

	target->file_known = false;
	if (target->kind != TARGET_PATH)
		return;
	if (snprintf(path, sizeof(path), "%s%s", root, target->value) >= (int)sizeof(path))
		return;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0 && !file_identity_read(fd, &target->file))
		target->file_known = true;
}

bool target_matches(const struct target *target, const struct process *process)
{
	const char *base;

	switch (target->kind) {
	case TARGET_PID:
		return process->pid == target->pid;
	case TARGET_PATH:
		return !strcmp(process->exe, target->value) ||
		       (target->file_known &&
			file_identity_same_inode(&target->file, &process->file));
	case TARGET_WORD:
		if (target->container &&
		    !strncmp(process->container_id, target->value, strlen(target->value)))
			return true;
		base = strrchr(process->exe, '/');
		return base && !strcmp(base + 1, target->value);
	}
	return false;
}
