/* SPDX-License-Identifier: MIT */
#include "control/topology_watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/sites.h"
#include "base/log.h"
#include "base/network.h"
#include "control/topology_look.h"

/* A look every so many seconds, and seldom enough to take no more than a hundredth of the time. */
#define LOOK_S 5
#define SHARE 100
#define NS_PER_S 1000000000ull
/* Who was not seen talking for so long does not any more. */
#define FORGET_S 3600

#define PROGRAMS 32
/* Of a program: workers of one talk to the same. */
#define PROCESSES 8
#define RUNNERS_LOOKED_AT 64
#define LINKS 64

struct program {
	uint64_t device, inode;
	uint32_t registry;
	enum count_place place;
	bool counts, elsewhere;
	bool behind; /* passes pulls on to a program that counts */
	uint64_t network;
	pid_t pid; /* the oldest that was seen, as far as numbers tell */
	char name[32];
};

struct link {
	uint64_t from, to; /* inodes of programs; to 0: away */
	char address[TOPOLOGY_PATH + 8];
	char client[INET6_ADDRSTRLEN];
	bool trusted, unclear;
	int64_t seen_s;
};

struct topology_watch {
	struct kernel *kernel;
	const struct follow *follow;
	const char *const *proxies;
	unsigned int proxies_count;
	uint64_t due_ns;
	struct program programs[PROGRAMS];
	unsigned int programs_count;
	struct link links[LINKS];
	unsigned int links_count;
	struct log_gate gate;
	struct topology_look look;
};

int topology_watch_new(struct topology_watch **ret, struct kernel *kernel,
		       const struct follow *follow, const char *const *proxies,
		       unsigned int proxies_count)
{
	struct topology_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->kernel = kernel;
	watch->follow = follow;
	watch->proxies = proxies;
	watch->proxies_count = proxies_count;
	*ret = watch;
	return 0;
}

void topology_watch_free(struct topology_watch **watch)
{
	if (!*watch)
		return;
	topology_look_end(&(*watch)->look);
	free(*watch);
	*watch = NULL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct program *program_of(struct topology_watch *watch, const struct pt_site *site,
				  bool more)
{
	struct site_place place = sites_place(site);
	struct program *program;

	for (unsigned int i = 0; i < watch->programs_count; i++) {
		program = &watch->programs[i];
		if (program->device == place.program_device &&
		    program->inode == place.program_inode)
			return program;
	}
	if (!more || watch->programs_count == PROGRAMS)
		return NULL;
	program = &watch->programs[watch->programs_count++];
	*program = (struct program){
		.device = place.program_device,
		.inode = place.program_inode,
		.registry = site->registry,
		.name = "?",
	};
	return program;
}

/* What the programs are now; more: also those that are new. */
static void update_programs(struct topology_watch *watch, bool more)
{
	for (unsigned int i = 0; i < watch->programs_count; i++)
		watch->programs[i].counts = watch->programs[i].elsewhere = false;
	for (uint32_t i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &watch->kernel->sites[i];
		struct program *program = site->hook ? program_of(watch, site, more) : NULL;

		if (!program)
			continue;
		program->place = follow_place(watch->follow, i);
		program->counts |= !site->off;
		program->elsewhere |= site->off & PT_SITE_OFF_ELSEWHERE;
	}
}

static void read_name(struct program *program, pid_t pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(program->name, sizeof(program->name), file))
		return;
	program->name[strcspn(program->name, "\n")] = 0;
	/* the process's own choice, and it goes into JSON */
	log_plain(program->name);
	program->pid = pid;
}

static bool is_alive(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return !access(path, F_OK);
}

static unsigned int list_processes(struct topology_watch *watch,
				   struct socket_process processes[PROGRAMS * PROCESSES])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < watch->programs_count; i++) {
		struct program *program = &watch->programs[i];
		pid_t pids[RUNNERS_LOOKED_AT], first = 0;
		unsigned int found = follow_runners(watch->follow, program->device, program->inode,
						    pids, RUNNERS_LOOKED_AT);

		for (unsigned int j = 0, taken = 0; j < found && taken < PROCESSES; j++) {
			if (!is_alive(pids[j]))
				continue;
			if (!first || pids[j] < first)
				first = pids[j];
			taken++;
			processes[count++] = (struct socket_process){
				.pid = pids[j],
				.program = (uint16_t)i,
			};
		}
		if (first)
			read_name(program, first);
	}
	return count;
}

static bool is_trusted(const struct topology_watch *watch, const struct pt_address *address)
{
	struct network network;

	for (unsigned int i = 0; i < watch->proxies_count; i++)
		if (!network_parse(watch->proxies[i], &network) &&
		    (address->high & network.mask.high) == network.address.high &&
		    (address->low & network.mask.low) == network.address.low)
			return true;
	return false;
}

/* Where it leads to, as people write it. */
static void describe(const struct topology_link *found, struct link *ret)
{
	const struct topology_socket *client = found->client;
	char address[INET6_ADDRSTRLEN];

	if (client->is_unix) {
		snprintf(ret->address, sizeof(ret->address), "unix:%s", found->server->path);
		return;
	}
	topology_address(address, &client->remote);
	snprintf(ret->address, sizeof(ret->address), strchr(address, ':') ? "[%s]:%u" : "%s:%u",
		 address, client->remote_port);
	topology_address(ret->client, &client->local);
}

/*
 * May a connection that leads away lead to a program that counts all the same? Where one lives in
 * another namespace addresses may be translated on the way.
 */
static bool may_be_ours(const struct topology_watch *watch, const struct topology_socket *client)
{
	for (unsigned int i = 0; i < watch->programs_count; i++)
		if (watch->programs[i].counts && watch->programs[i].network &&
		    watch->programs[i].network != client->network)
			return true;
	return false;
}

static int take_link(void *context, const struct topology_link *found)
{
	struct topology_watch *watch = context;
	struct link link = {.from = watch->programs[found->from].inode}, *place = NULL;

	if (watch->programs[found->from].place == COUNT_REGISTRY && found->to == TOPOLOGY_AWAY)
		return 0; /* its database, its storage */
	if (found->to != TOPOLOGY_AWAY)
		link.to = watch->programs[found->to].inode;
	describe(found, &link);
	link.trusted = !found->client->is_unix && is_trusted(watch, &found->client->local);
	link.unclear = may_be_ours(watch, found->client);
	link.seen_s = time(NULL);
	for (unsigned int i = 0; !place && i < watch->links_count; i++)
		if (watch->links[i].from == link.from && watch->links[i].to == link.to &&
		    !strcmp(watch->links[i].address, link.address))
			place = &watch->links[i];
	if (!place && watch->links_count < LINKS)
		place = &watch->links[watch->links_count++];
	for (unsigned int i = 0; !place && i < LINKS; i++)
		if (watch->links[i].seen_s < link.seen_s)
			place = &watch->links[i];
	if (place)
		*place = link;
	return 0;
}

/* The number of a program; programs_count: it has no sites any more. */
static unsigned int number_of(const struct topology_watch *watch, uint64_t inode)
{
	unsigned int i = 0;

	while (i < watch->programs_count && watch->programs[i].inode != inode)
		i++;
	return i;
}

static void forget(struct topology_watch *watch)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < watch->links_count; i++) {
		const struct link *link = &watch->links[i];
		bool known = number_of(watch, link->from) < watch->programs_count &&
			     (!link->to || number_of(watch, link->to) < watch->programs_count);

		if (known && time(NULL) - link->seen_s < FORGET_S)
			watch->links[kept++] = *link;
	}
	watch->links_count = kept;
}

static int begin_look(struct topology_watch *watch)
{
	_cleanup_free_ struct socket_process *processes =
		calloc(PROGRAMS * PROCESSES, sizeof(*processes));
	unsigned int count;
	int rc;

	if (!processes)
		return -ENOMEM;
	count = list_processes(watch, processes);
	rc = topology_look_begin(&watch->look, processes, count);
	for (unsigned int i = 0; i < count; i++)
		if (processes[i].network)
			watch->programs[processes[i].program].network = processes[i].network;
	return rc;
}

static int take_look(struct topology_watch *watch)
{
	struct topology_look *look = &watch->look;
	uint64_t took_ns = look->ended_ns - look->began_ns;
	int rc = look->rc;

	if (!rc && look->count)
		rc = topology_match(look->sockets, look->count, take_link, watch);
	if (took_ns * SHARE > LOOK_S * NS_PER_S)
		watch->due_ns = look->began_ns + took_ns * SHARE;
	topology_look_end(look);
	return rc;
}

void topology_watch_tick(struct topology_watch *watch)
{
	bool fronts = false;
	uint64_t suppressed;
	int rc = 0;

	if (topology_look_done(&watch->look)) {
		rc = take_look(watch);
	} else if (!watch->look.under_way && now_ns() >= watch->due_ns) {
		watch->programs_count = 0;
		update_programs(watch, true);
		forget(watch);
		watch->due_ns = now_ns() + LOOK_S * NS_PER_S;
		for (unsigned int i = 0; i < watch->programs_count; i++)
			fronts |= watch->programs[i].place != COUNT_REGISTRY;
		rc = fronts ? begin_look(watch) : 0;
	}
	if (!rc)
		return;
	topology_look_end(&watch->look);
	if (log_gate_open(&watch->gate, 3600, &suppressed))
		log_warn("who talks to whom can't be seen",
			 "error=\"%s\" action=\"counts are not concerned; see docs/front-ends.md\" "
			 "suppressed=%llu",
			 strerror(-rc), (unsigned long long)suppressed);
}

/* Whoever passes pulls on to one that counts, over any number of others. */
static void find_behind(struct topology_watch *watch)
{
	bool changed = true;

	for (unsigned int i = 0; i < watch->programs_count; i++)
		watch->programs[i].behind = false;
	while (changed) {
		changed = false;
		for (unsigned int i = 0; i < watch->links_count; i++) {
			unsigned int from = number_of(watch, watch->links[i].from);
			unsigned int to = number_of(watch, watch->links[i].to);

			if (!watch->links[i].to || from == watch->programs_count ||
			    to == watch->programs_count || watch->programs[from].behind ||
			    !(watch->programs[to].counts || watch->programs[to].behind))
				continue;
			watch->programs[from].behind = changed = true;
		}
	}
}

static json_t *program_json(const struct topology_watch *watch, const struct program *program)
{
	struct pt_registry registry = {};

	sites_registry(watch->kernel, program->registry, &registry);
	return json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:b}", "registry", registry.name,
			 "program", program->name, "pid", (int)program->pid, "place",
			 count_at_place_name(program->place), "counts", program->counts,
			 "elsewhere", program->elsewhere, "behind", program->behind);
}

json_t *topology_watch_json(struct topology_watch *watch)
{
	json_t *programs = json_array(), *links = json_array();

	update_programs(watch, false);
	find_behind(watch);
	for (unsigned int i = 0; i < watch->programs_count; i++)
		json_array_append_new(programs, program_json(watch, &watch->programs[i]));
	for (unsigned int i = 0; i < watch->links_count; i++) {
		const struct link *link = &watch->links[i];
		unsigned int to = number_of(watch, link->to);

		if (number_of(watch, link->from) == watch->programs_count)
			continue;
		json_array_append_new(
			links,
			json_pack("{s:i, s:o, s:s, s:s, s:b, s:b, s:I}", "from",
				  (int)number_of(watch, link->from), "to",
				  to < watch->programs_count ? json_integer(to) : json_null(),
				  "address", link->address, "client", link->client, "trusted",
				  link->trusted, "unclear", !link->to && link->unclear, "seen",
				  (json_int_t)link->seen_s));
	}
	return json_pack("{s:o, s:o}", "programs", programs, "links", links);
}
