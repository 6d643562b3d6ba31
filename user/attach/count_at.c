/* SPDX-License-Identifier: MIT */
#include "attach/count_at.h"

#include <string.h>

#include "attach/off.h"
#include "attach/sites.h"
#include "base/log.h"

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

void count_at_init(struct count_at *count_at, struct kernel *kernel, enum count_where where,
		   const char *const *names, unsigned int names_count)
{
	*count_at = (struct count_at){
		.kernel = kernel,
		.where = where,
		.names = names,
		.names_count = names_count,
	};
	/* what a Go server is will be known when its process is seen: until then a registry */
	for (uint32_t i = 0; i < PT_SITES; i++)
		count_at->seats[i] = (struct count_seat){
			.place = count_at_place(kernel->sites[i].hook, "unknown"),
			.order = COUNT_UNNAMED,
			.last_run = now_s() - COUNT_AT_IDLE_S,
		};
}

static bool is_of(const struct pt_site *site, const struct binary *binary)
{
	struct site_place place = sites_place(site), wanted = sites_binary_place(binary);

	return site->hook && sites_same_place(&place, &wanted);
}

static bool is_known(const struct count_at *count_at, const struct binary *binary)
{
	for (uint32_t i = 0; i < PT_SITES; i++)
		if (is_of(&count_at->kernel->sites[i], binary))
			return true;
	return false;
}

void count_at_seen(struct count_at *count_at, const struct binary *binary, uint8_t order, bool runs)
{
	for (uint32_t i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &count_at->kernel->sites[i];

		if (!is_of(site, binary))
			continue;
		count_at->seats[i] = (struct count_seat){
			.place = count_at_place(site->hook, binary->registry_kind),
			.order = order,
			.last_run = runs ? now_s() : now_s() - COUNT_AT_IDLE_S,
			.seen = true,
		};
	}
}

time_t count_at_idle_s(const struct count_at *count_at, uint32_t index)
{
	return now_s() - count_at->seats[index].last_run;
}

static bool is_named(const struct count_at *count_at, const char *registry)
{
	for (unsigned int i = 0; i < count_at->names_count; i++)
		if (!strcmp(count_at->names[i], registry))
			return true;
	return false;
}

static struct count_site describe(const struct count_at *count_at, uint32_t index)
{
	const struct pt_site *site = &count_at->kernel->sites[index];
	const struct count_seat *seat = &count_at->seats[index];
	struct pt_registry registry = {};

	if (!site->hook)
		return (struct count_site){};
	sites_registry(count_at->kernel, site->registry, &registry);
	return (struct count_site){
		.used = true,
		.able = !(site->off & ~PT_SITE_OFF_ELSEWHERE) &&
			count_at_idle_s(count_at, index) < COUNT_AT_IDLE_S,
		.always = is_named(count_at, registry.name),
		.place = seat->place,
		.order = seat->order,
		.elsewhere = site->off & PT_SITE_OFF_ELSEWHERE,
	};
}

/* One line for a place, however many sites it has. */
static void say(const struct count_at *count_at, uint32_t index, bool elsewhere)
{
	const struct pt_site *site = &count_at->kernel->sites[index];
	struct site_place place = sites_place(site);
	struct pt_registry registry = {};
	char name[200];

	for (uint32_t i = 0; i < index; i++) {
		struct site_place other = sites_place(&count_at->kernel->sites[i]);

		if (count_at->kernel->sites[i].hook && sites_same_place(&place, &other))
			return;
	}
	sites_registry(count_at->kernel, site->registry, &registry);
	log_warn(elsewhere ? "target stops counting: its pulls are counted elsewhere on this node"
			   : "target counts from now on: no other place of this node does",
		 "registry=%s place=\"%s\" inode=%llu choose=--count-at",
		 log_quote(name, sizeof(name), registry.name),
		 count_at_place_name(count_at->seats[index].place),
		 (unsigned long long)site->inode);
}

/* The last of the PT_SITES + 1 is the one that has no slot yet. */
static int apply(struct count_at *count_at, struct count_site sites[PT_SITES + 1])
{
	struct kernel *kernel = count_at->kernel;
	bool stopped = false;
	int again = 0, rc;

	for (uint32_t i = 0; i < PT_SITES; i++)
		sites[i] = describe(count_at, i);
	count_at_decide(count_at->where, sites, PT_SITES + 1);
	for (uint32_t i = 0; i < PT_SITES; i++) {
		if (!sites[i].elsewhere || kernel->sites[i].off & PT_SITE_OFF_ELSEWHERE)
			continue;
		off_site(kernel, i, PT_SITE_OFF_ELSEWHERE, true);
		say(count_at, i, true);
		stopped = true;
	}
	/* hits that found it on have counted before anybody begins */
	rc = stopped ? kernel_grace(kernel) : 0;
	for (uint32_t i = 0; !rc && i < PT_SITES; i++) {
		if (sites[i].elsewhere || !(kernel->sites[i].off & PT_SITE_OFF_ELSEWHERE) ||
		    !count_at->seats[i].seen)
			continue;
		off_site(kernel, i, PT_SITE_OFF_ELSEWHERE, false);
		say(count_at, i, false);
		again++;
	}
	return rc ?: again;
}

int count_at_update(struct count_at *count_at)
{
	struct count_site sites[PT_SITES + 1] = {};

	return apply(count_at, sites);
}

int count_at_admit(struct count_at *count_at, const struct binary *binary,
		   struct count_newcomer *newcomer)
{
	bool known = is_known(count_at, binary);
	struct count_site sites[PT_SITES + 1] = {};
	struct count_site *candidate = &sites[PT_SITES];
	bool was_elsewhere = false;
	int rc;

	*candidate = (struct count_site){
		.used = !known,
		.able = newcomer->able && newcomer->runs,
		.always = is_named(count_at, newcomer->registry),
		.place = count_at_place(binary->sites[0].hook, binary->registry_kind),
		.order = newcomer->order,
	};
	if (newcomer->runs)
		count_at_seen(count_at, binary, newcomer->order, true);
	for (uint32_t i = 0; known && i < PT_SITES; i++) {
		if (!is_of(&count_at->kernel->sites[i], binary))
			continue;
		candidate = &sites[i];
		was_elsewhere = count_at->kernel->sites[i].off & PT_SITE_OFF_ELSEWHERE;
	}
	rc = apply(count_at, sites);
	newcomer->off = candidate->elsewhere ? PT_SITE_OFF_ELSEWHERE : 0;
	newcomer->unprobed = !candidate->elsewhere && (!known || was_elsewhere);
	return rc;
}
