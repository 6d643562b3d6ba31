/* SPDX-License-Identifier: MIT */
#include "control/topology_look.h"

#include <stdlib.h>
#include <time.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void *read_sockets(void *context)
{
	struct topology_look *look = context;

	look->rc = socket_table_read(look->table, &look->sockets, &look->count);
	look->ended_ns = now_ns();
	__atomic_store_n(&look->done, true, __ATOMIC_RELEASE);
	return NULL;
}

int topology_look_begin(struct topology_look *look, struct socket_process *processes,
			unsigned int count)
{
	int rc;

	look->began_ns = now_ns();
	rc = socket_table_new(&look->table, processes, count);
	rc = rc ?: -pthread_create(&look->thread, NULL, read_sockets, look);
	look->under_way = !rc;
	return rc;
}

bool topology_look_done(const struct topology_look *look)
{
	return look->under_way && __atomic_load_n(&look->done, __ATOMIC_ACQUIRE);
}

void topology_look_end(struct topology_look *look)
{
	if (look->under_way)
		pthread_join(look->thread, NULL);
	socket_table_free(&look->table);
	free(look->sockets);
	*look = (struct topology_look){};
}
