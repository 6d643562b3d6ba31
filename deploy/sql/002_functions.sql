-- SPDX-License-Identifier: MIT
-- What an agent may do, as functions that run with their owner's rights: an agent's role needs
-- LOGIN and EXECUTE, and no right on any table. One window is one transaction:
--
--   claim_window  takes the sequence in the ledger; false: it was taken, roll back and drop it
--   apply_*       any number of calls, identifiers ascending over all calls of one function
--   commit
--
-- SQLSTATE PT001: an identifier is unknown (names were removed behind an agent's cache): roll
-- back, intern again, retry the same sequence. PT002: the window was not claimed in this
-- transaction.
--
-- Rows are met in the order of the sorted arrays, so that two agents never wait for each other in
-- a ring. That holds for a nested loop over the array alone, hence the planner settings.

-- Names. Their own short transaction, safe to repeat. Only what is missing is inserted: an ON
-- CONFLICT that hits burns a value of the sequence each time. Looked up by scalar subqueries, one
-- index probe each: a join leaves the planner free to read a whole registry for each name, which
-- it does while the tables are young and it has no statistics.

create function pulltap.intern_repositories(
	p_registries text[], p_repositories text[], p_since timestamptz
) returns bigint[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
begin
	insert into pulltap.registry (name, observed_since)
	select distinct n.name collate "C", p_since
	from unnest(p_registries) n (name)
	where not exists (select from pulltap.registry r where r.name = n.name)
	order by 1
	on conflict (name) do nothing;

	update pulltap.registry r set observed_since = p_since
	where r.name = any (p_registries) and r.observed_since > p_since;

	insert into pulltap.repository (registry_id, name)
	select distinct r.registry_id, n.name collate "C"
	from unnest(p_registries, p_repositories) n (registry, name)
	join pulltap.registry r on r.name = n.registry
	where (select x.repository_id from pulltap.repository x
	       where x.registry_id = r.registry_id and x.name = n.name) is null
	order by 1, 2
	on conflict (registry_id, name) do nothing;

	return (
		select array_agg((select x.repository_id from pulltap.repository x
				  where x.registry_id = r.registry_id and x.name = n.name)
				 order by n.ord)
		from unnest(p_registries, p_repositories) with ordinality n (registry, name, ord)
		join pulltap.registry r on r.name = n.registry
	);
end $$;

-- Returns the identifiers in the order of the names, each with a row of zeros in tag_total.
create function pulltap.intern_tags(
	p_since timestamptz, p_registries text[], p_repositories text[], p_tags text[]
) returns bigint[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
	v_repositories bigint[] :=
		pulltap.intern_repositories(p_registries, p_repositories, p_since);
	v_ids bigint[];
begin
	insert into pulltap.tag (repository_id, name)
	select distinct n.repository_id, n.name collate "C"
	from unnest(v_repositories, p_tags) n (repository_id, name)
	where (select t.tag_id from pulltap.tag t
	       where t.repository_id = n.repository_id and t.name = n.name) is null
	order by 1, 2
	on conflict (repository_id, name) do nothing;

	select array_agg((select t.tag_id from pulltap.tag t
			  where t.repository_id = n.repository_id and t.name = n.name)
			 order by n.ord) into v_ids
	from unnest(v_repositories, p_tags) with ordinality n (repository_id, name, ord);

	insert into pulltap.tag_total (tag_id)
	select distinct n.id from unnest(v_ids) n (id)
	where not exists (select from pulltap.tag_total t where t.tag_id = n.id)
	order by 1
	on conflict (tag_id) do nothing;
	return v_ids;
end $$;

create function pulltap.intern_manifests(
	p_since timestamptz, p_registries text[], p_repositories text[], p_algorithms text[],
	p_digests bytea[]
) returns bigint[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
	v_repositories bigint[] :=
		pulltap.intern_repositories(p_registries, p_repositories, p_since);
	v_ids bigint[];
begin
	insert into pulltap.manifest (repository_id, digest, algorithm)
	select distinct n.repository_id, n.digest, n.algorithm collate "C"
	from unnest(v_repositories, p_digests, p_algorithms) n (repository_id, digest, algorithm)
	where (select m.manifest_id from pulltap.manifest m
	       where m.repository_id = n.repository_id and m.digest = n.digest
	       and m.algorithm = n.algorithm) is null
	order by 1, 2, 3
	on conflict (repository_id, digest, algorithm) do nothing;

	select array_agg((select m.manifest_id from pulltap.manifest m
			  where m.repository_id = n.repository_id and m.digest = n.digest
			  and m.algorithm = n.algorithm)
			 order by n.ord) into v_ids
	from unnest(v_repositories, p_digests, p_algorithms) with ordinality
		n (repository_id, digest, algorithm, ord);

	insert into pulltap.manifest_total (manifest_id)
	select distinct n.id from unnest(v_ids) n (id)
	where not exists (select from pulltap.manifest_total t where t.manifest_id = n.id)
	order by 1
	on conflict (manifest_id) do nothing;
	return v_ids;
end $$;

-- A window.

create function pulltap.claim_window(
	p_agent uuid, p_seq bigint, p_node text, p_version text,
	p_start timestamptz, p_end timestamptz, p_merged integer, p_rows bigint,
	p_counters text[], p_values bigint[]
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	insert into pulltap.ledger as l (agent, last_seq) values (p_agent, p_seq)
	on conflict (agent) do update set last_seq = excluded.last_seq
	where l.last_seq < excluded.last_seq;
	if not found then
		return false;
	end if;

	insert into pulltap.agent (agent, node, version) values (p_agent, p_node, p_version)
	on conflict (agent) do update
	set node = excluded.node, version = excluded.version, last_seen_at = now();

	insert into pulltap.window_account (agent, seq, start_at, end_at, merged, rows,
		seen, counted, filtered, lost, counters)
	select p_agent, p_seq, p_start, p_end, p_merged, p_rows,
		coalesce(sum(c.value) filter (where c.name = 'seen'), 0),
		coalesce(sum(c.value) filter (where c.name = 'counted'), 0),
		coalesce(sum(c.value) filter (where starts_with(c.name, 'filtered_')), 0),
		coalesce(sum(c.value) filter (where starts_with(c.name, 'lost_')), 0),
		coalesce(jsonb_object_agg(c.name, c.value) filter (where c.value <> 0), '{}')
	from unnest(p_counters, p_values) c (name, value);
	return true;
end $$;

-- Guards against a client that forgot to claim, which would count twice after a lost answer.
create function pulltap.require_claim(p_agent uuid, p_seq bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	if not exists (select from pulltap.window_account w
		       where w.agent = p_agent and w.seq = p_seq
		       and w.xmin = pg_current_xact_id()::xid) then
		raise exception 'window % of % is not claimed in this transaction', p_seq, p_agent
			using errcode = 'PT002';
	end if;
end $$;

-- What an observation means for a tag's row: 0 nothing, 1 it still names the manifest, 2 it names
-- another one now, 3 news from the past. Times are whole seconds in the kernel, so equal times
-- are usual around a push; then the later arrival wins. A pull that was told by a hint (5) shows
-- what the tag named at its check, which is another record: it counts only when nothing else is
-- known.
create function pulltap.judge(
	evidence smallint, seen timestamptz, manifest bigint, known_seen timestamptz, known bigint
) returns smallint
language sql immutable
return case
	when evidence = 0 or (evidence = 5 and known_seen is not null) then 0::smallint
	when known_seen is null or seen >= known_seen
		then case when manifest is not distinct from known then 1::smallint else 2::smallint end
	else 3::smallint
end;

create type pulltap.tag_move as (
	tag_id      bigint,
	manifest_id bigint, -- null: the tag was deleted
	since       timestamptz, -- first time it was seen so within the window
	seen        timestamptz,
	known_seen  timestamptz, -- newest observation before
	evidence    smallint
);

-- Ends the current versions of tags and begins new ones. One by one: moves are rare, and a join
-- with the array leaves the planner free to read all versions for each move while the table is
-- young and it has no statistics.
create function pulltap.move_tags(p_moves pulltap.tag_move[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	m pulltap.tag_move;
begin
	foreach m in array p_moves loop
		update pulltap.tag_version v
		set valid_to = case when m.since > m.known_seen then m.since else m.seen end,
			last_seen_at = m.known_seen, ended_by = m.evidence
		where v.tag_id = m.tag_id and v.valid_to is null;

		continue when m.manifest_id is null;
		insert into pulltap.tag_version (tag_id, manifest_id, valid_from, started_by)
		values (m.tag_id, m.manifest_id,
			case when m.known_seen is null or m.since > m.known_seen
				then m.since else m.seen end,
			m.evidence);
	end loop;
end $$;

create function pulltap.apply_tags(
	p_agent uuid, p_seq bigint, p_ids bigint[],
	p_pulls bigint[], p_checks bigint[], p_pushes bigint[],
	p_days integer[], p_day_pulls bigint[], p_day_checks bigint[], -- newest day, 0: no use
	p_first_pulls timestamptz[], p_last_pulls timestamptz[], p_last_checks timestamptz[],
	p_last_pushes timestamptz[], p_last_deletes timestamptz[],
	p_manifests bigint[], p_since timestamptz[], p_seen timestamptz[], -- newest observation
	p_evidence smallint[] -- 0: none
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
	v_count bigint;
	v_moves pulltap.tag_move[];
	v_late pulltap.tag_move[];
begin
	perform pulltap.require_claim(p_agent, p_seq);
	with updated as (
		update pulltap.tag_total t set
			pulls = t.pulls + i.pulls,
			checks = t.checks + i.checks,
			pushes = t.pushes + i.pushes,
			first_pull_at = least(t.first_pull_at, i.first_pull),
			last_pull_at = greatest(t.last_pull_at, i.last_pull),
			last_check_at = greatest(t.last_check_at, i.last_check),
			last_push_at = greatest(t.last_push_at, i.last_push),
			last_delete_at = greatest(t.last_delete_at, i.last_delete),
			last_day = greatest(t.last_day, i.day),
			day_pulls = case when i.day > t.last_day then i.day_pulls
				when i.day = t.last_day then t.day_pulls + i.day_pulls
				else t.day_pulls end,
			day_checks = case when i.day > t.last_day then i.day_checks
				when i.day = t.last_day then t.day_checks + i.day_checks
				else t.day_checks end,
			spilled_day = case when i.day > t.last_day and t.last_day > 0
				then t.last_day end,
			spilled_pulls = case when i.day > t.last_day then t.day_pulls end,
			spilled_checks = case when i.day > t.last_day then t.day_checks end,
			manifest_id = case pulltap.judge(i.evidence, i.seen, i.manifest_id,
					t.manifest_seen_at, t.manifest_id)
				when 2 then i.manifest_id else t.manifest_id end,
			manifest_seen_at = case pulltap.judge(i.evidence, i.seen, i.manifest_id,
					t.manifest_seen_at, t.manifest_id)
				when 1 then i.seen
				when 2 then greatest(i.seen,
					t.manifest_seen_at + interval '1 microsecond')
				else t.manifest_seen_at end,
			spilled_change = nullif(pulltap.judge(i.evidence, i.seen, i.manifest_id,
					t.manifest_seen_at, t.manifest_id), 0),
			spilled_seen_at = case when pulltap.judge(i.evidence, i.seen, i.manifest_id,
					t.manifest_seen_at, t.manifest_id) >= 2
				then t.manifest_seen_at end
		from unnest(p_ids, p_pulls, p_checks, p_pushes, p_days, p_day_pulls, p_day_checks,
			p_first_pulls, p_last_pulls, p_last_checks, p_last_pushes, p_last_deletes,
			p_manifests, p_since, p_seen, p_evidence)
			i (tag_id, pulls, checks, pushes, day, day_pulls, day_checks,
			first_pull, last_pull, last_check, last_push, last_delete,
			manifest_id, since, seen, evidence)
		where t.tag_id = i.tag_id
		returning t.tag_id, t.last_day, t.spilled_day, t.spilled_pulls, t.spilled_checks,
			t.spilled_change, t.spilled_seen_at, t.manifest_seen_at,
			i.day, i.day_pulls, i.day_checks, i.manifest_id, i.since, i.seen, i.evidence
	), history as (
		insert into pulltap.tag_day as d (tag_id, day, pulls, checks)
		select u.tag_id, date '1970-01-01' + u.spilled_day, u.spilled_pulls,
			u.spilled_checks
		from updated u
		where u.spilled_day is not null
			and (u.spilled_pulls <> 0 or u.spilled_checks <> 0)
		union all
		select u.tag_id, date '1970-01-01' + u.day, u.day_pulls, u.day_checks
		from updated u
		where u.day < u.last_day and u.day > 0
			and (u.day_pulls <> 0 or u.day_checks <> 0)
		on conflict (tag_id, day) do update
		set pulls = d.pulls + excluded.pulls, checks = d.checks + excluded.checks
	)
	select count(*),
		array_agg(row(u.tag_id, u.manifest_id, u.since, u.manifest_seen_at,
			u.spilled_seen_at, u.evidence)::pulltap.tag_move)
			filter (where u.spilled_change = 2),
		array_agg(row(u.tag_id, u.manifest_id, u.since, u.seen, null,
			u.evidence)::pulltap.tag_move)
			filter (where u.spilled_change = 3)
	into v_count, v_moves, v_late
	from updated u;

	if v_count <> cardinality(p_ids) then
		raise exception '% of % tags are unknown', cardinality(p_ids) - v_count,
			cardinality(p_ids) using errcode = 'PT001';
	end if;
	if v_moves is not null then
		perform pulltap.move_tags(v_moves);
	end if;
	if v_late is not null then
		perform pulltap.observe_late(v_late);
	end if;
end $$;

create function pulltap.apply_manifests(
	p_agent uuid, p_seq bigint, p_ids bigint[],
	p_pulls bigint[], p_checks bigint[], p_pushes bigint[],
	p_days integer[], p_day_pulls bigint[], p_day_checks bigint[],
	p_first_pulls timestamptz[], p_last_pulls timestamptz[], p_last_checks timestamptz[],
	p_last_pushes timestamptz[], p_last_deletes timestamptz[]
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
	v_count bigint;
begin
	perform pulltap.require_claim(p_agent, p_seq);
	with updated as (
		update pulltap.manifest_total t set
			pulls = t.pulls + i.pulls,
			checks = t.checks + i.checks,
			pushes = t.pushes + i.pushes,
			first_pull_at = least(t.first_pull_at, i.first_pull),
			last_pull_at = greatest(t.last_pull_at, i.last_pull),
			last_check_at = greatest(t.last_check_at, i.last_check),
			last_push_at = greatest(t.last_push_at, i.last_push),
			last_delete_at = greatest(t.last_delete_at, i.last_delete),
			last_day = greatest(t.last_day, i.day),
			day_pulls = case when i.day > t.last_day then i.day_pulls
				when i.day = t.last_day then t.day_pulls + i.day_pulls
				else t.day_pulls end,
			day_checks = case when i.day > t.last_day then i.day_checks
				when i.day = t.last_day then t.day_checks + i.day_checks
				else t.day_checks end,
			spilled_day = case when i.day > t.last_day and t.last_day > 0
				then t.last_day end,
			spilled_pulls = case when i.day > t.last_day then t.day_pulls end,
			spilled_checks = case when i.day > t.last_day then t.day_checks end
		from unnest(p_ids, p_pulls, p_checks, p_pushes, p_days, p_day_pulls, p_day_checks,
			p_first_pulls, p_last_pulls, p_last_checks, p_last_pushes, p_last_deletes)
			i (manifest_id, pulls, checks, pushes, day, day_pulls, day_checks,
			first_pull, last_pull, last_check, last_push, last_delete)
		where t.manifest_id = i.manifest_id
		returning t.manifest_id, t.last_day, t.spilled_day, t.spilled_pulls,
			t.spilled_checks, i.day, i.day_pulls, i.day_checks
	), history as (
		insert into pulltap.manifest_day as d (manifest_id, day, pulls, checks)
		select u.manifest_id, date '1970-01-01' + u.spilled_day, u.spilled_pulls,
			u.spilled_checks
		from updated u
		where u.spilled_day is not null
			and (u.spilled_pulls <> 0 or u.spilled_checks <> 0)
		union all
		select u.manifest_id, date '1970-01-01' + u.day, u.day_pulls, u.day_checks
		from updated u
		where u.day < u.last_day and u.day > 0
			and (u.day_pulls <> 0 or u.day_checks <> 0)
		on conflict (manifest_id, day) do update
		set pulls = d.pulls + excluded.pulls, checks = d.checks + excluded.checks
	)
	select count(*) into v_count from updated;

	if v_count <> cardinality(p_ids) then
		raise exception '% of % manifests are unknown', cardinality(p_ids) - v_count,
			cardinality(p_ids) using errcode = 'PT001';
	end if;
end $$;

-- Days of a window before its newest: a window over midnight, or several merged. Their sums came
-- with apply_tags and apply_manifests, which also moved each row to a later day than these: so a
-- day is either in the row or in the history, never in both.
create function pulltap.apply_days(
	p_agent uuid, p_seq bigint,
	p_tags bigint[], p_tag_days integer[], p_tag_pulls bigint[], p_tag_checks bigint[],
	p_manifests bigint[], p_manifest_days integer[], p_manifest_pulls bigint[],
	p_manifest_checks bigint[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.tag_day as d (tag_id, day, pulls, checks)
	select i.id, date '1970-01-01' + i.day, i.pulls, i.checks
	from unnest(p_tags, p_tag_days, p_tag_pulls, p_tag_checks) i (id, day, pulls, checks)
	on conflict (tag_id, day) do update
	set pulls = d.pulls + excluded.pulls, checks = d.checks + excluded.checks;

	insert into pulltap.manifest_day as d (manifest_id, day, pulls, checks)
	select i.id, date '1970-01-01' + i.day, i.pulls, i.checks
	from unnest(p_manifests, p_manifest_days, p_manifest_pulls, p_manifest_checks)
		i (id, day, pulls, checks)
	on conflict (manifest_id, day) do update
	set pulls = d.pulls + excluded.pulls, checks = d.checks + excluded.checks;
end $$;

create function pulltap.apply_rejected(
	p_agent uuid, p_seq bigint, p_registries bytea[], p_repositories bytea[], p_tags bytea[],
	p_digests bytea[], p_reasons text[], p_counts bigint[], p_last timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.rejected as r (registry, repository, tag, digest, reason, count,
		first_at, last_at, agent, seq)
	select i.registry, i.repository, i.tag, i.digest, i.reason collate "C", sum(i.count),
		min(i.last), max(i.last), p_agent, p_seq
	from unnest(p_registries, p_repositories, p_tags, p_digests, p_reasons, p_counts, p_last)
		i (registry, repository, tag, digest, reason, count, last)
	group by 1, 2, 3, 4, 5
	order by 1, 2, 3, 4, 5
	on conflict (registry, repository, tag, digest, reason) do update
	set count = r.count + excluded.count, windows = r.windows + 1,
		first_at = least(r.first_at, excluded.first_at),
		last_at = greatest(r.last_at, excluded.last_at),
		agent = excluded.agent, seq = excluded.seq;
end $$;
