/* SPDX-License-Identifier: MIT */
#include "discover/catalog.h"

#include <errno.h>

struct entry {
	struct file_identity file;
	int result; /* of binary_inspect */
	struct binary *binary; /* when result is 0 */
};

/* A ring: walking 1,024 entries takes a microsecond or two, once per exec. */
struct catalog {
	int (*inspect)(int fd, struct binary *ret);
	unsigned int count;
	unsigned int next;
	uint64_t read;
	uint64_t known;
	struct entry entries[CATALOG_FILES];
};

int catalog_new(struct catalog **ret, int (*inspect)(int fd, struct binary *ret))
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));

	if (!catalog)
		return -ENOMEM;
	catalog->inspect = inspect;
	*ret = catalog;
	return 0;
}

void catalog_free(struct catalog **catalog)
{
	if (!*catalog)
		return;
	for (unsigned int i = 0; i < (*catalog)->count; i++)
		free((*catalog)->entries[i].binary);
	free(*catalog);
	*catalog = NULL;
}

static const struct entry *find(const struct catalog *catalog, const struct file_identity *file)
{
	for (unsigned int i = 0; i < catalog->count; i++) {
		if (file_identity_equal(&catalog->entries[i].file, file))
			return &catalog->entries[i];
	}
	return NULL;
}

static void remember(struct catalog *catalog, const struct file_identity *file, int result,
		     const struct binary *binary)
{
	struct entry *entry = &catalog->entries[catalog->next];
	struct binary *copy = NULL;

	/* what can be different the next time */
	if (result && result != -ENOEXEC && result != -ENOENT && result != -E2BIG)
		return;
	if (!result) {
		copy = malloc(sizeof(*copy));
		if (!copy)
			return; /* it will be read once more */
		*copy = *binary;
	}
	free(entry->binary);
	*entry = (struct entry){.file = *file, .result = result, .binary = copy};
	catalog->next = (catalog->next + 1) % CATALOG_FILES;
	if (catalog->count < CATALOG_FILES)
		catalog->count++;
}

/* What is known of a file; -EAGAIN when it has to be read. */
static int recall(struct catalog *catalog, const struct file_identity *file, struct binary *ret)
{
	const struct entry *entry = find(catalog, file);

	if (!entry)
		return -EAGAIN;
	catalog->known++;
	if (!entry->result)
		*ret = *entry->binary;
	return entry->result;
}

static int read_file(struct catalog *catalog, int fd, const struct file_identity *file,
		     struct binary *ret)
{
	int err = catalog->inspect(fd, ret);

	catalog->read++;
	remember(catalog, file, err, ret);
	return err;
}

int catalog_inspect_file(struct catalog *catalog, int fd, struct binary *ret)
{
	struct file_identity file;
	int err = file_identity_read(fd, &file);

	err = err ?: recall(catalog, &file, ret);
	return err == -EAGAIN ? read_file(catalog, fd, &file, ret) : err;
}

int catalog_inspect(struct catalog *catalog, int proc, pid_t pid, struct binary *ret,
		    struct file_identity *ret_file)
{
	_cleanup_close_ int fd = -1;
	struct file_identity file;
	int err;

	err = process_binary(proc, pid, &file);
	if (err)
		return err;
	err = recall(catalog, &file, ret);
	if (err != -EAGAIN) {
		*ret_file = file;
		return err;
	}
	err = process_open_binary(proc, pid, &fd);
	/* asked of the open file again: the process may have started another program meanwhile */
	if (!err)
		err = file_identity_read(fd, &file);
	if (err)
		return err;
	*ret_file = file;
	return read_file(catalog, fd, &file, ret);
}

void catalog_counts(const struct catalog *catalog, uint64_t *ret_read, uint64_t *ret_known)
{
	*ret_read = catalog->read;
	*ret_known = catalog->known;
}
