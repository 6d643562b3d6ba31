-- SPDX-License-Identifier: MIT
-- Names are interned once; counts live in narrow rows that are updated in place. Nothing here is
-- meant to be read by people: the views of 003 are, and stay when the tables change.

create schema pulltap;

create table pulltap.schema_version (
	number     integer primary key,
	checksum   text not null,
	applied_at timestamptz not null default now()
);

-- What an agent asks first. It has to work with every version of the schema.
create function pulltap.schema_number() returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select coalesce(max(number), 0) from pulltap.schema_version $$;

-- Names. Collation C: compared by bytes, the same on every machine.

create table pulltap.registry (
	registry_id    bigint generated always as identity primary key,
	name           text collate "C" not null unique,
	observed_since timestamptz not null
);

create table pulltap.repository (
	repository_id bigint generated always as identity primary key,
	registry_id   bigint not null references pulltap.registry,
	name          text collate "C" not null,
	unique (registry_id, name)
);

create table pulltap.tag (
	tag_id        bigint generated always as identity primary key,
	repository_id bigint not null references pulltap.repository,
	name          text collate "C" not null,
	unique (repository_id, name)
);

-- One digest may live in many repositories: the pair is the manifest.
create table pulltap.manifest (
	manifest_id   bigint generated always as identity primary key,
	repository_id bigint not null references pulltap.repository,
	digest        bytea not null,
	algorithm     text collate "C" not null,
	unique (repository_id, digest, algorithm)
);

-- Totals. The row keeps the counts of its newest day beside the sums: a day goes to the history
-- once, when a later one begins. last_day counts days since 1970-01-01 (UTC), 0 is never used; it
-- changes once a day and is the only indexed column that changes, so that all other updates stay
-- within their page (HOT). An index on any time or count would end that.
--
-- The spilled_* columns hold what the latest update pushed out of the row. Only the RETURNING of
-- that very update reads them: it sees new values alone, and a second look would race.

create table pulltap.tag_total (
	tag_id           bigint primary key references pulltap.tag on delete cascade,
	pulls            bigint not null default 0,
	checks           bigint not null default 0,
	pushes           bigint not null default 0,
	day_pulls        bigint not null default 0,
	day_checks       bigint not null default 0,
	last_day         integer not null default 0,
	spilled_change   smallint,
	manifest_id      bigint,
	manifest_seen_at timestamptz,
	first_pull_at    timestamptz,
	last_pull_at     timestamptz,
	last_check_at    timestamptz,
	last_push_at     timestamptz,
	last_delete_at   timestamptz,
	spilled_pulls    bigint,
	spilled_checks   bigint,
	spilled_seen_at  timestamptz,
	spilled_day      integer
) with (fillfactor = 85);
create index tag_total_last_day on pulltap.tag_total (last_day, tag_id);

create table pulltap.manifest_total (
	manifest_id    bigint primary key references pulltap.manifest on delete cascade,
	pulls          bigint not null default 0,
	checks         bigint not null default 0,
	pushes         bigint not null default 0,
	day_pulls      bigint not null default 0,
	day_checks     bigint not null default 0,
	last_day       integer not null default 0,
	first_pull_at  timestamptz,
	last_pull_at   timestamptz,
	last_check_at  timestamptz,
	last_push_at   timestamptz,
	last_delete_at timestamptz,
	spilled_pulls  bigint,
	spilled_checks bigint,
	spilled_day    integer
) with (fillfactor = 85);
create index manifest_total_last_day on pulltap.manifest_total (last_day, manifest_id);

-- History by day. Months are made ahead by pulltap.maintain(); a day without a month of its own
-- (an old spool, a clock far off) falls into the default partition and is never refused.

create table pulltap.tag_day (
	tag_id bigint not null,
	day    date not null,
	pulls  bigint not null,
	checks bigint not null,
	primary key (tag_id, day)
) partition by range (day);
create table pulltap.tag_day_default partition of pulltap.tag_day default;

create table pulltap.manifest_day (
	manifest_id bigint not null,
	day         date not null,
	pulls       bigint not null,
	checks      bigint not null,
	primary key (manifest_id, day)
) partition by range (day);
create table pulltap.manifest_day_default partition of pulltap.manifest_day default;

-- Which manifest a tag named, from when to when. started_by and ended_by are numbers of an
-- operation: 1 pull, 2 check, 3 put, 4 delete, 5 pull after a check of the tag.
create table pulltap.tag_version (
	tag_id       bigint not null references pulltap.tag on delete cascade,
	manifest_id  bigint not null references pulltap.manifest on delete cascade,
	valid_from   timestamptz not null,
	valid_to     timestamptz,
	last_seen_at timestamptz, -- of an ended version; a current one's is in tag_total
	started_by   smallint not null,
	ended_by     smallint,
	primary key (tag_id, valid_from),
	check (valid_to > valid_from)
);
create unique index tag_version_current on pulltap.tag_version (tag_id) where valid_to is null;
create index tag_version_manifest on pulltap.tag_version (manifest_id);

-- Agents and their books.

create table pulltap.agent (
	agent         uuid primary key,
	node          text not null,
	version       text not null,
	first_seen_at timestamptz not null default now(),
	last_seen_at  timestamptz not null default now()
) with (fillfactor = 50);

-- One row per stream: every window with a sequence up to last_seq has been dealt with.
create table pulltap.ledger (
	agent    uuid primary key,
	last_seq bigint not null
) with (fillfactor = 50);

create table pulltap.window_account (
	agent      uuid not null,
	seq        bigint not null,
	start_at   timestamptz not null,
	end_at     timestamptz not null,
	applied_at timestamptz not null default now(),
	merged     integer not null,
	rows       bigint not null,
	seen       bigint not null,
	counted    bigint not null,
	filtered   bigint not null,
	lost       bigint not null,
	counters   jsonb not null, -- every counter that is not zero, by its name in the kernel
	primary key (agent, seq)
);
create index window_account_end on pulltap.window_account (end_at);

create table pulltap.feature_flag (
	scope  text primary key,
	value  text not null,
	set_by text not null default session_user,
	set_at timestamptz not null default now()
);

-- Rows that text columns could not hold, byte for byte, with how often and why.
create table pulltap.rejected (
	registry   bytea not null,
	repository bytea not null,
	tag        bytea not null,
	digest     bytea not null,
	reason     text collate "C" not null,
	count      bigint not null,
	windows    bigint not null default 1,
	first_at   timestamptz not null,
	last_at    timestamptz not null,
	agent      uuid not null, -- of the latest window
	seq        bigint not null,
	primary key (registry, repository, tag, digest, reason)
);
