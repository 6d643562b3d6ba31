/* SPDX-License-Identifier: MIT */
/*
 * Calls of OpenSSL's without OpenSSL: functions with the arguments of SSL_read, SSL_write and
 * SSL_free that do nothing, probed as a target's, and called in the order that the command line
 * says.
 *
 *   tls_memory BPFFS REGISTRY WHOSE CALL... SEEN
 *
 * WHOSE  own, or other: the sites are those of another executable
 * CALL   N.r:TEXT  connection N (0 to 9) reads TEXT, in a buffer that had something else behind it
 *        N.w:TEXT  writes it
 *        N.x:TEXT  writes it, but nothing of it is accepted; the next write is the same again
 *        N.p:K:TEXT  writes it, and then what is behind its first K bytes: they were accepted
 *        N.f       is freed
 *        N.u:TEXT  a read whose buffer is nowhere
 *        N.a:      a read whose amount is nowhere
 *        N.c:C     C connections of their own with 31 requests each, answered at last, and freed
 *        N.m:C     makes one call of C requests "GET / HTTP/1.1"
 * SEEN   how many hits this is in the books, for the test
 */
#include "tests/tools/probed.h"

#define RWSTATE 0x28
#define WRITING 2
#define CONNECTIONS 10
#define ROOM (1u << 20)

__asm__(".text\n"
	".globl tls_read\ntls_read:\n	push %rbp\n	pop %rbp\n	ret\n"
	".globl tls_write\ntls_write:\n	push %rbp\n	pop %rbp\n	ret\n"
	".globl tls_free\ntls_free:\n	push %rbp\n	pop %rbp\n	ret\n"
	".globl tls_done\ntls_done:\n	mov %edi, %eax\n	push %rbp\n	pop %rbp\n	"
	"ret\n");
void tls_read(void *ssl, void *buffer, size_t room, size_t *amount);
void tls_write(void *ssl, const void *buffer, size_t length);
void tls_free(void *ssl);
int tls_done(int result);
#define DONE_OFFSET 2 /* of the push */

#define SSL_BYTES 256
static uint8_t connections[CONNECTIONS][SSL_BYTES];
static char buffer[ROOM];

static uint64_t file_offset(uint64_t address)
{
	uint64_t start, end, offset;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
		    address >= start && address < end) {
			fclose(maps);
			return address - start + offset;
		}
	}
	abort();
}

static int attach(struct kernel *kernel, const char *registry, bool own)
{
	const struct {
		uint8_t hook;
		uint64_t address;
	} hooks[] = {{PT_HOOK_TLS_FREE, (uint64_t)tls_free},
		     {PT_HOOK_TLS_WRITE, (uint64_t)tls_write},
		     {PT_HOOK_TLS_READ_DONE, (uint64_t)tls_done + DONE_OFFSET},
		     {PT_HOOK_TLS_READ, (uint64_t)tls_read}};
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct binary binary = {.sites_count = 4};
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	binary.device = st.st_dev;
	binary.inode = st.st_ino;
	strcpy(binary.build_id, own ? "own" : "other");
	for (unsigned int i = 0; i < binary.sites_count; i++) {
		struct binary_site *site = &binary.sites[i];

		site->hook = hooks[i].hook;
		site->file_offset = file_offset(hooks[i].address);
		site->layout.tls.exe_inode = st.st_ino + !own;
		site->layout.tls.rwstate = RWSTATE;
		site->layout.tls.amount = PT_TLS_AMOUNT_POINTER;
		strcpy(site->symbol, "tls_memory");
	}
	return sites_has(kernel, &binary) ? 1 : sites_attach(kernel, &binary, fd, registry, 0, 0);
}

static void set_state(void *ssl, uint32_t state)
{
	memcpy((uint8_t *)ssl + RWSTATE, &state, sizeof(state));
}

/* A server reads again when there is nothing more: the state of its write is overwritten by that.
 */
static void read_text(void *ssl, const char *text, size_t length)
{
	static const char stale[] = "GET /v2/stale/manifests/t HTTP/1.1\r\n\r\n";
	size_t amount = 0;

	memcpy(buffer, text, length);
	memcpy(buffer + length, stale, sizeof(stale));
	tls_read(ssl, buffer, ROOM, &amount);
	amount = length;
	set_state(ssl, 1);
	tls_done(1);
	tls_read(ssl, buffer, ROOM, &amount);
	set_state(ssl, 3); /* SSL_READING */
	tls_done(-1);
}

static void read_many(void *ssl, unsigned int count)
{
	static const char request[] = "GET / HTTP/1.1\r\n\r\n";
	char *text = calloc(count, sizeof(request));

	for (unsigned int i = 0; text && i < count; i++)
		strcat(text, request);
	if (text)
		read_text(ssl, text, strlen(text));
	free(text);
}

static void write_text(void *ssl, const char *text, size_t length)
{
	tls_write(ssl, text, length);
	set_state(ssl, 1); /* SSL_NOTHING */
}

static void write_in_parts(void *ssl, const char *call)
{
	char *text;
	size_t accepted = strtoul(call, &text, 10);

	text++;
	write_text(ssl, text, strlen(text));
	write_text(ssl, text + accepted, strlen(text) - accepted);
}

/* count connections with 31 requests each before any of them gets its replies. */
static void crowd(unsigned int count)
{
	static const char request[] = "GET /v2/a/manifests/t HTTP/1.1\r\n\r\n";
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char(*ssl)[SSL_BYTES] = calloc(count, sizeof(*ssl));
	char text[31 * sizeof(request)] = "";

	if (!ssl)
		abort();
	for (int i = 0; i < 31; i++)
		strcat(text, request);
	for (unsigned int i = 0; i < count; i++)
		read_text(ssl[i], text, strlen(text));
	for (unsigned int i = 0; i < count; i++) {
		for (int j = 0; j < 31; j++)
			write_text(ssl[i], reply, strlen(reply));
		tls_free(ssl[i]);
	}
	free(ssl);
}

static void do_call(const char *call)
{
	void *ssl = connections[call[0] - '0'];
	const char *text = call + 4;
	size_t amount = 64;

	switch (call[2]) {
	case 'r':
		read_text(ssl, text, strlen(text));
		break;
	case 'w':
		write_text(ssl, text, strlen(text));
		break;
	case 'x':
		tls_write(ssl, text, strlen(text));
		set_state(ssl, WRITING);
		break;
	case 'p':
		write_in_parts(ssl, text);
		break;
	case 'm':
		read_many(ssl, (unsigned int)strtoul(text, NULL, 10));
		break;
	case 'u':
		tls_read(ssl, (void *)0x10, ROOM, &amount);
		tls_done(1);
		break;
	case 'a':
		tls_read(ssl, buffer, ROOM, (void *)0x10);
		tls_done(1);
		break;
	case 'c':
		crowd((unsigned int)strtoul(text, NULL, 10));
		break;
	case 'f':
		tls_free(ssl);
		break;
	default:
		abort();
	}
}

int main(int argc, char **argv)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	int rc;

	if (argc < 5) {
		fprintf(stderr, "usage: tls_memory BPFFS REGISTRY WHOSE CALL... SEEN\n");
		return 2;
	}
	rc = kernel_open(&kernel, argv[1]);
	rc = rc ?: attach(kernel, argv[2], !strcmp(argv[3], "own"));
	if (rc < 0) {
		fprintf(stderr, "tls_memory: %s\n", strerror(-rc));
		return 1;
	}
	for (int i = 4; i < argc - 1; i++)
		do_call(argv[i]);
	return 0;
}
