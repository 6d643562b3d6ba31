/* SPDX-License-Identifier: MIT */
/*
 * Real Go binaries: those of the distribution, and a server built here in several modes. The
 * truth is told by others: `go tool objdump` of the build that kept its symbols, and libelf.
 */
#include "discover/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "inspect.h"

#define HTTP1 "net/http.(*response).finishRequest"
#define HTTP2 "net/http.(*http2responseWriter).handlerDone"

static char folder[] = "/tmp/pulltap-go-XXXXXX";
static bool have_go;

static const char *in_folder(const char *name)
{
	static char path[4][128];
	static unsigned int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
	return p;
}

static bool run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command) == 0;
}

static void build(const char *name, const char *flags)
{
	assert_true(run("cd %s && %s go build -o %s %s . >%s.log 2>&1", folder,
			getenv("HOME") ? "" : "GOCACHE=$PWD/cache", name, flags, name));
}

static int setup(void **state)
{
	FILE *f;

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	have_go = run("command -v go >/dev/null 2>&1");
	f = fopen(in_folder("go.mod"), "w");
	if (!f)
		return -1;
	fputs("module example.test/server\n\ngo 1.16\n", f);
	fclose(f);
	f = fopen(in_folder("main.go"), "w");
	if (!f)
		return -1;
	fputs("package main\n\nimport \"net/http\"\n\n"
	      "func main() { panic(http.ListenAndServe(\"127.0.0.1:0\", nil)) }\n",
	      f);
	fclose(f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return run("rm -rf %s", folder) ? 0 : -1;
}

static int inspect(const char *path, struct binary *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	memset(ret, 0, sizeof(*ret));
	return binary_inspect(fd, ret);
}

static const struct binary_site *site_of(const struct binary *binary, const char *symbol)
{
	for (unsigned int i = 0; i < binary->sites_count; i++) {
		if (!strcmp(binary->sites[i].symbol, symbol))
			return &binary->sites[i];
	}
	fail_msg("no site at %s", symbol);
	return NULL;
}

/* Where libelf says an address lies in the file. */
static uint64_t file_offset(const char *path, uint64_t address)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t offset = 0;
	size_t count = 0;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	assert_int_equal(elf_getphdrnum(elf, &count), 0);
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr header;

		assert_non_null(gelf_getphdr(elf, (int)i, &header));
		if (header.p_type == PT_LOAD && address >= header.p_vaddr &&
		    address < header.p_vaddr + header.p_filesz)
			offset = header.p_offset + (address - header.p_vaddr);
	}
	elf_end(elf);
	assert_true(offset > 0);
	return offset;
}

/* The first JBE that the Go disassembler finds in a function, as an offset in the file. */
static uint64_t branch_of(const char *path, const char *regex)
{
	char command[512], line[512];
	uint64_t address = 0;
	FILE *f;

	snprintf(command, sizeof(command), "go tool objdump -s '%s' %s", regex, path);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char where[128];
		unsigned long at = 0;

		if (!address && strstr(line, "JBE") &&
		    sscanf(line, " %127s 0x%lx", where, &at) == 2)
			address = at;
	}
	pclose(f);
	assert_true(address > 0);
	return file_offset(path, address);
}

static void assert_agrees_with_disassembler(const char *path, const char *with_symbols)
{
	struct binary b;

	assert_int_equal(inspect(path, &b), 0);
	assert_string_equal(b.refusal, "");
	assert_int_equal(b.sites_count, 2);
	assert_int_equal(site_of(&b, HTTP1)->file_offset,
			 branch_of(with_symbols, "^net/http.\\(\\*response\\).finishRequest$"));
	assert_int_equal(
		site_of(&b, HTTP2)->file_offset,
		branch_of(with_symbols, "^net/http.\\(\\*http2responseWriter\\).handlerDone$"));
	assert_int_equal(site_of(&b, HTTP1)->hook, PT_GO_HOOK_HTTP1);
	assert_int_equal(site_of(&b, HTTP2)->hook, PT_GO_HOOK_HTTP2);
	assert_memory_equal(b.version, "go1.", 4);
	assert_true(strlen(b.build_id) >= 16);
	assert_string_equal(b.registry_kind, "");
}

#define need_go()                                                                                  \
	do {                                                                                       \
		if (!have_go) {                                                                    \
			printf("skip: no go compiler\n");                                          \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static void stripped_server_agrees_with_disassembler(void **state)
{
	(void)state;
	need_go();
	build("plain", "");
	build("stripped", "-ldflags='-s -w'");
	assert_agrees_with_disassembler(in_folder("plain"), in_folder("plain"));
	assert_agrees_with_disassembler(in_folder("stripped"), in_folder("plain"));
}

static void position_independent_server_agrees_with_disassembler(void **state)
{
	(void)state;
	need_go();
	build("pie", "-buildmode=pie");
	build("pie-stripped", "-buildmode=pie -ldflags='-s -w'");
	assert_agrees_with_disassembler(in_folder("pie"), in_folder("pie"));
	assert_agrees_with_disassembler(in_folder("pie-stripped"), in_folder("pie"));
}

/* The whole file; free() it. */
static uint8_t *load(const char *path, size_t *ret_size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	struct stat st;
	uint8_t *bytes;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
	*ret_size = (size_t)st.st_size;
	return bytes;
}

static void assert_same_sites(const struct binary *a, const struct binary *b)
{
	assert_int_equal(a->sites_count, b->sites_count);
	for (unsigned int i = 0; i < a->sites_count; i++) {
		assert_int_equal(a->sites[i].file_offset, b->sites[i].file_offset);
		assert_int_equal(a->sites[i].go_abi, b->sites[i].go_abi);
		assert_string_equal(a->sites[i].symbol, b->sites[i].symbol);
	}
}

static void without_section_headers_finds_the_same(void **state)
{
	static const char *const names[] = {"stripped", "pie-stripped"};

	(void)state;
	need_go();
	for (int i = 0; i < 2; i++) {
		size_t size = 0;
		_cleanup_free_ uint8_t *bytes = load(in_folder(names[i]), &size);
		struct binary whole, headless;

		assert_int_equal(inspect_bytes(bytes, size, &whole), 0);
		memset(bytes + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
		memset(bytes + offsetof(Elf64_Ehdr, e_shnum), 0, 4);
		assert_int_equal(inspect_bytes(bytes, size, &headless), 0);
		assert_int_equal(whole.sites_count, 2);
		assert_same_sites(&whole, &headless);
		assert_string_equal(whole.version, headless.version);
	}
}

/* What Go 1.26 does to the header: no start of the code, and no relocation that would fill it. */
static void strike_text_start(uint8_t *bytes, size_t size)
{
	static const uint8_t magics[][8] = {{0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8},
					    {0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}};
	Elf64_Ehdr *file = (Elf64_Ehdr *)bytes;
	const Elf64_Phdr *headers = (const Elf64_Phdr *)(bytes + file->e_phoff);
	uint64_t at = 0, address = 0;

	for (uint64_t i = 0; i + 72 <= size && !at; i += 8) {
		/* a table, not the constant in somebody's code: its names follow at once */
		if ((!memcmp(bytes + i, magics[0], 8) || !memcmp(bytes + i, magics[1], 8)) &&
		    ((const uint64_t *)(bytes + i))[4] < 4096)
			at = i;
	}
	assert_true(at > 0);
	memset(bytes + at + 24, 0, 8);
	for (unsigned int i = 0; i < file->e_phnum; i++) {
		if (headers[i].p_type == PT_LOAD && at >= headers[i].p_offset &&
		    at - headers[i].p_offset < headers[i].p_filesz)
			address = at - headers[i].p_offset + headers[i].p_vaddr;
	}
	for (uint64_t i = 0; i + sizeof(Elf64_Rela) <= size; i += 8) {
		Elf64_Rela *rela = (Elf64_Rela *)(bytes + i);

		if (rela->r_offset == address + 24 && rela->r_info == R_X86_64_RELATIVE)
			rela->r_info = R_X86_64_NONE;
	}
}

static void header_without_text_finds_the_same(void **state)
{
	static const char *const names[] = {"stripped", "pie-stripped"};

	(void)state;
	need_go();
	for (int i = 0; i < 2; i++) {
		size_t size = 0;
		_cleanup_free_ uint8_t *bytes = load(in_folder(names[i]), &size);
		struct binary before, after;

		assert_int_equal(inspect_bytes(bytes, size, &before), 0);
		strike_text_start(bytes, size);
		assert_int_equal(inspect_bytes(bytes, size, &after), 0);
		assert_string_equal(after.refusal, "");
		assert_same_sites(&before, &after);
	}
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void truncated_anywhere_never_crashes(void **state)
{
	size_t size = 0;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct binary b;

	(void)state;
	need_go();
	bytes = load(in_folder("pie-stripped"), &size);
	for (int i = 0; i < 300; i++) {
		size_t cut = i < 100 ? (size_t)i * 16 : random_next() % size;
		/* its own block, so that a read behind the end is found */
		_cleanup_free_ uint8_t *piece = malloc(cut ? cut : 1);

		assert_non_null(piece);
		memcpy(piece, bytes, cut);
		(void)!inspect_bytes(piece, cut, &b);
		assert_true(b.sites_count <= 2);
	}
}

static void flipped_anywhere_never_crashes(void **state)
{
	static const char *const names[] = {"stripped", "pie-stripped"};
	struct binary b;

	(void)state;
	need_go();
	for (int file = 0; file < 2; file++) {
		size_t size = 0;
		_cleanup_free_ uint8_t *bytes = load(in_folder(names[file]), &size);
		size_t table = 0;

		for (size_t i = 0; i + 8 < size && !table; i += 32) {
			if (bytes[i] == 0xf0 && !memcmp(bytes + i + 1, "\xff\xff\xff\0\0\1\10", 7))
				table = i;
		}
		for (int i = 0; i < 800; i++) {
			size_t at = random_next() % size;
			uint8_t old;

			if (i < 300)
				at = random_next() % 1024; /* ELF and program headers */
			else if (i < 500)
				at = table + random_next() % 512; /* table's header, first names */
			else if (i < 600)
				at = size - 1 - random_next() % 2048; /* sections */
			old = bytes[at];
			bytes[at] = (uint8_t)random_next();
			(void)!inspect_bytes(bytes, size, &b);
			bytes[at] = old;
			assert_true(b.sites_count <= BINARY_SITES);
		}
	}
}

static void file_truncated_under_the_reader_is_an_error(void **state)
{
	struct byte_source *source = NULL;
	struct binary b = {0};
	uint8_t byte;
	int fd;

	(void)state;
	need_go();
	assert_true(run("cp %s %s", in_folder("stripped"), in_folder("shrinking")));
	fd = open(in_folder("shrinking"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(byte_source_new_file(fd, &source), 0);
	assert_int_equal(byte_source_read(source, 0, &byte, 1), 0);
	assert_int_equal(ftruncate(fd, 100000), 0);
	assert_true(binary_inspect_source(source, &b) < 0);
	assert_int_equal(b.sites_count, 0);
	byte_source_free(&source);
	close(fd);
}

static void docker_registry_is_recognised(void **state)
{
	struct binary b;
	struct stat st;

	(void)state;
	if (stat("/usr/bin/docker-registry", &st)) {
		printf("skip: no docker-registry installed\n");
		skip();
	}
	assert_int_equal(inspect("/usr/bin/docker-registry", &b), 0);
	assert_string_equal(b.refusal, "");
	assert_string_equal(b.registry_kind, "distribution");
	assert_int_equal(b.sites[0].go_map, PT_GO_MAP_BUCKETS);
	assert_memory_equal(b.version, "go1.19", 6);
	assert_int_equal(strlen(b.build_id), 40); /* GNU's */
	assert_int_equal(site_of(&b, HTTP1)->go_abi, PT_GO_ABI_REGISTER);
	assert_int_equal(site_of(&b, HTTP2)->go_abi, PT_GO_ABI_REGISTER);
	assert_int_equal(b.inode, st.st_ino);
}

static void caddy_has_three_ways_in_and_no_registry(void **state)
{
	struct binary b;

	(void)state;
	if (access("/usr/bin/caddy", R_OK)) {
		printf("skip: no caddy installed\n");
		skip();
	}
	assert_int_equal(inspect("/usr/bin/caddy", &b), 0);
	assert_string_equal(b.refusal, "");
	assert_string_equal(b.registry_kind, "");
	assert_int_equal(b.sites_count, 3);
	assert_int_equal(site_of(&b, "golang.org/x/net/http2.(*responseWriter).handlerDone")->hook,
			 PT_GO_HOOK_HTTP2);
}

static void what_is_no_go_server_is_told_apart(void **state)
{
	struct binary b;
	int fd;

	(void)state;
	assert_int_equal(inspect("/proc/self/exe", &b), -ENOENT);
	assert_int_equal(inspect("/dev/null", &b), -ENOEXEC);
	assert_int_equal(inspect("/tmp", &b), -ENOEXEC);
	assert_int_equal(inspect("/etc/passwd", &b), -ENOEXEC);
	fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0) {
		assert_int_equal(binary_inspect(fd, &b), -ENOEXEC);
		close(fd);
	}
	assert_int_equal(binary_inspect(-1, &b), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stripped_server_agrees_with_disassembler),
		cmocka_unit_test(position_independent_server_agrees_with_disassembler),
		cmocka_unit_test(without_section_headers_finds_the_same),
		cmocka_unit_test(header_without_text_finds_the_same),
		cmocka_unit_test(truncated_anywhere_never_crashes),
		cmocka_unit_test(flipped_anywhere_never_crashes),
		cmocka_unit_test(file_truncated_under_the_reader_is_an_error),
		cmocka_unit_test(docker_registry_is_recognised),
		cmocka_unit_test(caddy_has_three_ways_in_and_no_registry),
		cmocka_unit_test(what_is_no_go_server_is_told_apart),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
