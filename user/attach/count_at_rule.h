/* SPDX-License-Identifier: MIT */
/*
 * Where a pull is counted that several probed programs of one node see: nginx before a registry
 * for example. The rule is static: it asks what is there, never who was seen to talk to whom, so
 * that it holds from the first pull on. Pure.
 *
 * Of the places below one counts: the innermost that is there, or the outermost. Several registries
 * stand beside each other and all count. Of several front ends nobody knows whether they stand
 * beside or before each other: the first that --target names counts. Whom --count-at names counts
 * in any case.
 */
#ifndef PULLTAP_ATTACH_COUNT_AT_RULE_H
#define PULLTAP_ATTACH_COUNT_AT_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"

/* From the inside out. */
enum count_place {
	COUNT_REGISTRY, /* a registry by its packages: serves from a storage of its own */
	COUNT_CORE, /* Harbor's core: passes pulls on to such a one */
	COUNT_SERVER, /* any other Go server: a registry, or a proxy */
	COUNT_FRONT, /* nginx and the like */
};

enum count_where { COUNT_AT_INNER, COUNT_AT_FRONT, COUNT_AT_BOTH };

/* Of a target that no --target names, or whose name is not known yet. */
#define COUNT_UNNAMED UINT8_MAX

struct count_site {
	bool used;
	bool able; /* runs, and nothing else keeps it from counting */
	bool always; /* named by --count-at */
	enum count_place place;
	uint8_t order; /* of its --target */
	bool elsewhere; /* the answer: its pulls are not counted here */
};

/* kind: struct binary's registry_kind, "" where it is not known. */
enum count_place count_at_place(enum pt_hook hook, const char *kind);
/* "registry", "core", "server", "front end". */
const char *count_at_place_name(enum count_place place);

/*
 * Sets elsewhere of the sites in use. Where none of them is able everything stays as it is: one
 * that ended may come back at any moment.
 */
void count_at_decide(enum count_where where, struct count_site *sites, unsigned int count);

/*
 * The one of inner, front and both among items, inner when none is there. Others have to be one of
 * names. -EINVAL: message says which one isn't.
 */
must_check int count_at_parse(const char *const *items, unsigned int count,
			      const char *const *names, unsigned int names_count,
			      enum count_where *ret, char *message, unsigned int message_size);

#endif
