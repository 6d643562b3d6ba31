/* SPDX-License-Identifier: MIT */
/* The switch and the time switched off, on maps that are plain memory. */
#include "test.h"

#include "attach/off.h"
#include "window/off_time.h"

#define SECOND 1000000000ull

struct fake {
	struct kernel kernel;
	struct pt_control control;
	uint32_t off;
	struct pt_site sites[PT_SITES];
	struct window_record found[16];
	char who[16][64];
	int count;
};

static int make(void **state)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	fake->kernel.control = &fake->control;
	fake->kernel.off = &fake->off;
	fake->kernel.sites = fake->sites;
	fake->kernel.registries_fd = -1;
	fake->kernel.path = "/nonexistent";
	fake->control.slot[0].start_boot_ns = 1;
	*state = fake;
	return 0;
}

static int clean(void **state)
{
	free(*state);
	return 0;
}

static void any_off_wins_until_each_has_taken_it_back(void **state)
{
	struct fake *fake = *state;
	struct kernel *kernel = &fake->kernel;

	assert_true(off_say(kernel, OFF_OPERATOR, true, "root"));
	assert_true(off_say(kernel, OFF_FILE, true, "/etc/off"));
	assert_int_equal(off_enforce(kernel), PT_OFF_OPERATOR | PT_OFF_FILE);
	assert_false(off_say(kernel, OFF_FILE, true, "/etc/off"));
	assert_int_equal(off_take_back(kernel, "root"), PT_OFF_FILE);
	assert_true(off_say(kernel, OFF_FILE, false, "/etc/off"));
	assert_int_equal(off_enforce(kernel), 0);
	assert_string_equal(fake->control.words[OFF_FILE].who[0], "/etc/off");
	assert_true(fake->control.words[OFF_FILE].at_us > 0);
}

static void bit_set_by_hand_stays_whatever_its_source_repeats(void **state)
{
	struct fake *fake = *state;
	struct kernel *kernel = &fake->kernel;

	fake->off = PT_OFF_FILE;
	assert_false(off_say(kernel, OFF_FILE, false, "/etc/off"));
	assert_int_equal(off_enforce(kernel), PT_OFF_FILE);
	assert_int_equal(fake->control.words[OFF_HAND].off, 1);
	assert_string_equal(fake->control.words[OFF_HAND].who[1], "mask 2");
	assert_int_equal(off_take_back(kernel, "root"), 0);
	assert_int_equal(fake->control.words[OFF_HAND].off, 0);
	/* and one that was cleared by hand comes back while its source still says off */
	assert_true(off_say(kernel, OFF_FILE, true, "/etc/off"));
	fake->off = 0;
	assert_true(off_say(kernel, OFF_FILE, true, "/etc/off"));
	assert_int_equal(fake->off, PT_OFF_FILE);
}

static void names_that_a_terminal_would_obey_are_made_harmless(void **state)
{
	struct fake *fake = *state;
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	off_say(&fake->kernel, OFF_DATABASE, true,
		"a\x1b[2J\xff"
		"b");
	assert_string_equal(fake->control.words[OFF_DATABASE].who[1], "a?[2J?b");
	off_say(&fake->kernel, OFF_FILE, true, longer);
	assert_int_equal(strlen(fake->control.words[OFF_FILE].who[1]), 63);
}

static void words_are_handed_to_the_next_set(void **state)
{
	struct fake *fake = *state;
	struct pt_control control = {};
	struct kernel next = {.control = &control, .off = &fake->off};

	off_say(&fake->kernel, OFF_OPERATOR, true, "root");
	off_enforce(&fake->kernel);
	off_hand_over(&fake->kernel, &next);
	assert_string_equal(control.words[OFF_OPERATOR].who[1], "root");
	assert_int_equal(control.words[OFF_OPERATOR].off, 1);
	assert_true(control.off.since_ns);
	/* and on takes back what was said to the one before */
	assert_true(off_say(&next, OFF_OPERATOR, false, "root"));
	assert_int_equal(fake->off, 0);
}

static int gather(const struct window_record *record, void *context)
{
	struct fake *fake = context;

	assert_true(fake->count < 16);
	assert_int_equal(record->op, PT_OP_OFF);
	memcpy(fake->who[fake->count], record->repository.data, record->repository.length);
	fake->found[fake->count++] = *record;
	return 0;
}

/* A window from 100 s to 110 s after boot, which ended at the Unix time of 1,000 s. */
static void look(struct fake *fake)
{
	memset(fake->found, 0, sizeof(fake->found));
	fake->count = 0;
	fake->control.slot[1].start_boot_ns = 100 * SECOND;
	fake->control.slot[1].end_boot_ns = 110 * SECOND;
	assert_int_equal(off_time_each(&fake->kernel, 1, 1000000000, gather, fake), 0);
}

static void assert_off(const struct fake *fake, int index, const char *source, uint64_t ms,
		       int64_t until_us)
{
	const struct window_record *record = &fake->found[index];

	assert_true(index < fake->count);
	assert_int_equal(record->tag.length, strlen(source));
	assert_memory_equal(record->tag.data, source, strlen(source));
	assert_int_equal(record->count, ms);
	assert_int_equal(record->last_us, until_us);
}

static void time_off_is_cut_to_the_window(void **state)
{
	struct fake *fake = *state;

	fake->control.slot[1].off_mask = PT_OFF_FILE;
	look(fake);
	assert_int_equal(fake->count, 0); /* never off */
	fake->control.off = (struct pt_span){103 * SECOND, 105 * SECOND + 1};
	look(fake);
	assert_off(fake, 0, "file", 2001, 995000001);
	fake->control.off = (struct pt_span){50 * SECOND, 105 * SECOND};
	look(fake);
	assert_off(fake, 0, "file", 5000, 995000000);
	fake->control.off = (struct pt_span){108 * SECOND, 300 * SECOND};
	look(fake);
	assert_off(fake, 0, "file", 2000, 1000000000);
	fake->control.off = (struct pt_span){50 * SECOND, 99 * SECOND};
	look(fake);
	assert_int_equal(fake->count, 0);
	fake->control.off = (struct pt_span){111 * SECOND, 0};
	look(fake);
	assert_int_equal(fake->count, 0);
}

static void time_whose_end_nobody_knows_lasts_to_the_windows_end(void **state)
{
	struct fake *fake = *state;

	fake->control.slot[1].off_mask = PT_OFF_OPERATOR | PT_OFF_HAND | 128;
	snprintf(fake->control.words[OFF_OPERATOR].who[1], 64, "root");
	fake->control.off = (struct pt_span){101 * SECOND, 0};
	look(fake);
	assert_int_equal(fake->count, 2);
	assert_off(fake, 0, "operator", 9000, 1000000000);
	assert_string_equal(fake->who[0], "root");
	assert_off(fake, 1, "hand", 9000, 1000000000);
	/* still off: a hit of a while ago does not tell the end */
	fake->off = PT_OFF_OPERATOR;
	fake->control.off.until_ns = 102 * SECOND;
	look(fake);
	assert_off(fake, 0, "operator", 9000, 1000000000);
}

static void targets_of_one_registry_are_one_gap_and_the_longest(void **state)
{
	struct fake *fake = *state;

	for (int i = 0; i < 4; i++)
		fake->sites[i] = (struct pt_site){.hook = 1,
						  .registry = i == 3,
						  .off = PT_SITE_OFF_GUARD,
						  .off_was = PT_SITE_OFF_GUARD,
						  .off_span = {(104 + (uint64_t)i) * SECOND, 0}};
	fake->sites[3].off = 0;
	fake->sites[3].off_was = PT_SITE_OFF_LAYOUT;
	fake->sites[3].off_span.until_ns = 108 * SECOND;
	look(fake);
	assert_int_equal(fake->count, 2);
	assert_off(fake, 0, "guard", 6000, 1000000000);
	assert_off(fake, 1, "layout", 1000, 998000000);
}

static void target_is_off_until_the_last_reason_is_taken_back(void **state)
{
	struct fake *fake = *state;
	struct kernel *kernel = &fake->kernel;
	struct pt_site *site = &fake->sites[3];

	off_site(kernel, 3, PT_SITE_OFF_GUARD, true);
	assert_int_equal(site->off, 0); /* no such target */
	site->hook = 1;
	off_site(kernel, 3, PT_SITE_OFF_GUARD, true);
	off_site(kernel, 3, PT_SITE_OFF_FLAG, true);
	assert_int_equal(site->off, PT_SITE_OFF_GUARD | PT_SITE_OFF_FLAG);
	assert_int_equal(off_take_back(kernel, "root"), 0);
	assert_int_equal(site->off, PT_SITE_OFF_FLAG);
	off_site(kernel, 3, PT_SITE_OFF_FLAG, false);
	assert_int_equal(site->off, 0);
	assert_true(site->off_span.since_ns > 1 &&
		    site->off_span.until_ns >= site->off_span.since_ns);
	assert_int_equal(site->off_was, PT_SITE_OFF_GUARD | PT_SITE_OFF_FLAG);
}

static void time_that_pulls_count_elsewhere_is_no_gap(void **state)
{
	struct fake *fake = *state;
	struct pt_site *site = &fake->sites[0];

	fake->control.slot[0].start_boot_ns = 100 * SECOND;
	fake->control.slot[0].end_boot_ns = 120 * SECOND;
	site->hook = 1;
	off_site(&fake->kernel, 0, PT_SITE_OFF_ELSEWHERE, true);
	assert_int_equal(site->off, PT_SITE_OFF_ELSEWHERE);
	assert_int_equal(site->off_span.since_ns, 0);
	look(fake);
	assert_int_equal(fake->count, 0);
	/* a reason of another kind begins a gap of its own, and ends it */
	off_site(&fake->kernel, 0, PT_SITE_OFF_FLAG, true);
	assert_true(site->off_span.since_ns > 0);
	assert_int_equal(site->off_was, PT_SITE_OFF_FLAG);
	off_site(&fake->kernel, 0, PT_SITE_OFF_FLAG, false);
	assert_true(site->off_span.until_ns > 0);
	assert_int_equal(site->off, PT_SITE_OFF_ELSEWHERE);
	off_site(&fake->kernel, 0, PT_SITE_OFF_ELSEWHERE, false);
	assert_int_equal(site->off, 0);
}

static void target_off_again_before_it_was_recorded_counts_as_one_time(void **state)
{
	struct fake *fake = *state;
	struct pt_site *site = &fake->sites[0];

	site->hook = 1;
	site->off_span = (struct pt_span){5 * SECOND, 6 * SECOND};
	off_site(&fake->kernel, 0, PT_SITE_OFF_FLAG, true);
	assert_int_equal(site->off_span.since_ns, 5 * SECOND);
	assert_int_equal(site->off_span.until_ns, 0);
	off_site(&fake->kernel, 0, PT_SITE_OFF_FLAG, false);
	fake->control.slot[0].start_boot_ns = site->off_span.until_ns + 1;
	off_settle(&fake->kernel);
	assert_int_equal(site->off_span.since_ns, 0);
}

static void slot_that_is_emptied_keeps_the_time_it_was_off(void **state)
{
	struct fake *fake = *state;

	fake->sites[0] = (struct pt_site){.hook = 1,
					  .hits = 7,
					  .off = PT_SITE_OFF_GUARD,
					  .off_was = PT_SITE_OFF_GUARD,
					  .off_span = {108 * SECOND, 0}};
	fake->sites[0] = off_site_gone(&fake->kernel, 0);
	assert_int_equal(fake->sites[0].hook, 0);
	assert_int_equal(fake->sites[0].hits, 0);
	assert_true(fake->sites[0].off_span.until_ns > 0);
	fake->sites[0].off_span.until_ns = 109 * SECOND;
	look(fake);
	assert_int_equal(fake->count, 1);
	assert_off(fake, 0, "guard", 1000, 999000000);
}

static void time_is_forgotten_only_when_it_is_over_and_written(void **state)
{
	struct fake *fake = *state;
	struct pt_control *control = &fake->control;

	control->slot[0].start_boot_ns = 50 * SECOND;
	control->off = (struct pt_span){10 * SECOND, 0};
	off_settle(&fake->kernel);
	assert_int_equal(control->off.since_ns, 10 * SECOND);
	control->off.until_ns = 51 * SECOND; /* within the window in use */
	off_settle(&fake->kernel);
	assert_int_equal(control->off.since_ns, 10 * SECOND);
	control->off.until_ns = 49 * SECOND;
	control->slot[1].dirty = 1;
	off_settle(&fake->kernel);
	assert_int_equal(control->off.since_ns, 10 * SECOND);
	control->slot[1].dirty = 0;
	fake->off = PT_OFF_FILE;
	off_settle(&fake->kernel);
	assert_int_equal(control->off.since_ns, 10 * SECOND);
	fake->off = 0;
	off_settle(&fake->kernel);
	assert_int_equal(control->off.since_ns, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clean)
	const struct CMUnitTest tests[] = {
		TEST(any_off_wins_until_each_has_taken_it_back),
		TEST(bit_set_by_hand_stays_whatever_its_source_repeats),
		TEST(names_that_a_terminal_would_obey_are_made_harmless),
		TEST(words_are_handed_to_the_next_set),
		TEST(time_off_is_cut_to_the_window),
		TEST(time_whose_end_nobody_knows_lasts_to_the_windows_end),
		TEST(targets_of_one_registry_are_one_gap_and_the_longest),
		TEST(target_is_off_until_the_last_reason_is_taken_back),
		TEST(time_that_pulls_count_elsewhere_is_no_gap),
		TEST(target_off_again_before_it_was_recorded_counts_as_one_time),
		TEST(slot_that_is_emptied_keeps_the_time_it_was_off),
		TEST(time_is_forgotten_only_when_it_is_over_and_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
