/* SPDX-License-Identifier: MIT */
/* What a service manager hears at each tick. */
#include "test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/notify.h"

static char *folder;
static int manager;

static int open_manager(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)state;
	folder = test_make_folder();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", folder);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return 0;
}

static int close_manager(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	close(manager);
	test_remove_folder(folder);
	return 0;
}

/* The next message; "" when there is none. */
static const char *heard(void)
{
	static char text[256];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static void status_is_sent_when_it_changes_and_life_at_every_tick(void **state)
{
	struct shipper_status shipper = {.state = SHIPPER_IDLE};
	struct notify notify = {};

	(void)state;
	notify_tick(&notify, &shipper, 0);
	assert_string_equal(heard(), "STATUS=counting, database idle, 0 windows wait");
	assert_string_equal(heard(), "WATCHDOG=1");
	notify_tick(&notify, &shipper, 20);
	assert_string_equal(heard(), "WATCHDOG=1");
	assert_string_equal(heard(), "");
	shipper = (struct shipper_status){.state = SHIPPER_RETRYING, .waiting = 3};
	notify_tick(&notify, &shipper, 599);
	assert_string_equal(heard(), "STATUS=counting, database retrying, 3 windows wait");
	assert_string_equal(heard(), "WATCHDOG=1");
}

static void shipper_that_hangs_ends_the_signs_of_life_until_it_is_back(void **state)
{
	struct shipper_status shipper = {.state = SHIPPER_APPLYING};
	struct notify notify = {};

	(void)state;
	notify_tick(&notify, &shipper, 0);
	heard();
	heard();
	notify_tick(&notify, &shipper, 601);
	assert_string_equal(heard(), "");
	notify_tick(&notify, &shipper, 1);
	assert_string_equal(heard(), "WATCHDOG=1");
}

static void nobody_listens_and_nothing_happens(void **state)
{
	struct shipper_status shipper = {.state = SHIPPER_IDLE};
	struct notify notify = {};

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_ready();
	notify_tick(&notify, &shipper, 0);
	notify_stopping();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			status_is_sent_when_it_changes_and_life_at_every_tick, open_manager,
			close_manager),
		cmocka_unit_test_setup_teardown(
			shipper_that_hangs_ends_the_signs_of_life_until_it_is_back, open_manager,
			close_manager),
		cmocka_unit_test(nobody_listens_and_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
