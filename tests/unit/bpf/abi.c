/* SPDX-License-Identifier: MIT */
/* bpf/abi.h from the agent's side: what both sides and bpftool go by. */
#include "test.h"

#include "window/window.h"

/* A byte that no field owns would make two keys out of one. */
#define assert_packed(type, fields) assert_int_equal(sizeof(type), fields)
#define field_size(type, field) sizeof(((type *)0)->field)

static void keys_have_no_padding(void **state)
{
	(void)state;
	assert_packed(struct pt_key,
		      4 + 1 + 3 + PT_SHORT_REPOSITORY + PT_SHORT_TAG + PT_SHORT_DIGEST);
	assert_packed(struct pt_long_key,
		      4 + 1 + 3 + PT_LONG_REPOSITORY + PT_LONG_TAG + PT_LONG_DIGEST);
	assert_packed(struct pt_hint_key, 4 + 4 + 48 + 8 + PT_SHORT_DIGEST);
	assert_packed(struct pt_count, 8);
}

static void values_have_the_sizes_the_maps_were_made_for(void **state)
{
	(void)state;
	assert_packed(struct pt_ledger, LEDGER_COUNT * sizeof(uint64_t));
	assert_packed(struct pt_slot, 16 + 3 * 8 + 6 * 4 + 6 * 8);
	assert_packed(struct pt_control, 8 + 3 * 8 + 2 * sizeof(struct pt_slot) + 4 * 4 +
						 sizeof(struct pt_span) +
						 PT_OFF_SOURCES * sizeof(struct pt_word) + 2 * 8);
	assert_packed(struct pt_span, 16);
	assert_packed(struct pt_word, 2 * 64 + 8 + 8);
	assert_packed(struct pt_site,
		      4 + 4 + 2 * 8 + 104 + 4 * 8 + sizeof(struct pt_span) + 8 + 2 * 8 + 4 * 8 + 8);
	assert_packed(struct pt_registry, 64 + 2 * 8);
	assert_packed(struct pt_event, 8);
	assert_packed(struct pt_sample, 8 + 8 + PT_SAMPLE_WORDS * 8);
	assert_packed(enum pt_op, 1);
	assert_packed(enum pt_go_abi, 1);
	assert_packed(enum pt_go_map, 1);
	assert_packed(enum pt_hook, 1);
	assert_packed(struct pt_tls_layout, 3 * 8);
	assert_packed(union pt_layout, 4 * 8);
	assert_packed(struct pt_pattern, 2 * PT_PATTERN_TEXT + 2 * 4);
	assert_packed(struct pt_rule, PT_SHORT_TAG + 3 * sizeof(struct pt_pattern) + 2 * 16);
	assert_packed(struct pt_proxy, 4 + 16);
	assert_packed(struct pt_hint, 8 + PT_LONG_TAG + 4);
}

/* The programs copy and clear whole words. */
static void texts_fill_words_and_leave_room_for_their_end(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct pt_key, repository) % 8, 0);
	assert_int_equal(offsetof(struct pt_key, tag) % 8, 0);
	assert_int_equal(offsetof(struct pt_key, digest) % 8, 0);
	assert_int_equal(field_size(struct pt_key, repository) % 8, 0);
	assert_int_equal(field_size(struct pt_key, tag) % 8, 0);
	assert_int_equal(field_size(struct pt_key, digest) % 8, 0);
	assert_int_equal(sizeof(struct pt_long_key) % 8, 0);
	assert_true(PT_LONG_REPOSITORY > PT_REPOSITORY_MAX);
	assert_true(PT_LONG_TAG > PT_TAG_MAX);
	assert_true(PT_LONG_DIGEST > PT_DIGEST_MAX);
	assert_true(PT_SHORT_DIGEST > strlen("sha256:") + 64);
	assert_int_equal(PT_DIGEST_MAX, strlen("sha512:") + 128);
	assert_int_equal(field_size(struct pt_hint, tag), PT_LONG_TAG);
}

/* Spool files hold these numbers. */
static void stored_numbers_never_change(void **state)
{
	(void)state;
	assert_int_equal(PT_OP_GET, 1);
	assert_int_equal(PT_OP_HEAD, 2);
	assert_int_equal(PT_OP_PUT, 3);
	assert_int_equal(PT_OP_DELETE, 4);
	assert_int_equal(PT_OP_HINTED_GET, 5);
	assert_int_equal(PT_OP_OFF, 6);
	assert_int_equal(PT_OP_CHILD, 7);
	assert_int_equal(PT_OP_EXCLUDED, 8);
	assert_int_equal(PT_OP_RULE, 9);
	assert_int_equal(PT_OP_CLIENT_PULL, 10);
	assert_int_equal(PT_OP_CLIENT_CHECK, 11);
	assert_int_equal(PT_OP_CLIENT_HINTED_PULL, 12);
	assert_int_equal(LEDGER_seen, 0);
	assert_int_equal(LEDGER_counted, 1);
	assert_int_equal(LEDGER_filtered_stack_growth, 2);
	assert_int_equal(LEDGER_lost_map_full, 17);
	assert_int_equal(LEDGER_note_digest_missing, 24);
	assert_int_equal(LEDGER_note_overflow, 29);
	assert_int_equal(LEDGER_lost_entry, 30);
	assert_int_equal(LEDGER_note_child_unlearned, 31);
	assert_int_equal(LEDGER_filtered_excluded, 32);
	assert_int_equal(LEDGER_filtered_unanswered, 35);
	assert_int_equal(LEDGER_filtered_client_role, 36);
	assert_int_equal(LEDGER_lost_h2_unparsed, 38);
	assert_int_equal(LEDGER_lost_connection_full, 42);
	assert_int_equal(LEDGER_lost_learning, 43);
	assert_int_equal(PT_ENTRY_HTTP1, 0);
	assert_int_equal(PT_ENTRY_HTTP2, 1);
	assert_int_equal(PT_ENTRY_NGINX, 2);
	assert_int_equal(PT_ENTRY_TLS_READ, 3);
	assert_int_equal(PT_ENTRY_TLS_FREE, 6);
	assert_int_equal(PT_ENTRY_APACHE, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_have_no_padding),
		cmocka_unit_test(values_have_the_sizes_the_maps_were_made_for),
		cmocka_unit_test(texts_fill_words_and_leave_room_for_their_end),
		cmocka_unit_test(stored_numbers_never_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
