-- SPDX-License-Identifier: MIT
-- Pulls and checks told apart as finely as others' notions of a pull need it, and pulls whose HEAD
-- and GET went to different nodes, estimated and kept apart from what was counted.

-- hinted: how many of the pulls came by digest after a HEAD of the tag. last_direct_at: the latest
-- GET of the tag by name. estimated_pulls are in no other sum.
alter table pulltap.tag_total
	add hinted bigint not null default 0,
	add first_check_at timestamptz,
	add last_direct_at timestamptz,
	add estimated_pulls bigint not null default 0,
	add last_estimated_at timestamptz;
alter table pulltap.manifest_total
	add hinted bigint not null default 0,
	add first_check_at timestamptz;

drop function pulltap.apply_tags;
create function pulltap.apply_tags(
	p_agent uuid, p_seq bigint, p_ids bigint[],
	p_pulls bigint[], p_checks bigint[], p_pushes bigint[], p_hinted bigint[],
	p_days integer[], p_day_pulls bigint[], p_day_checks bigint[], -- newest day, 0: no use
	p_first_pulls timestamptz[], p_last_pulls timestamptz[], p_first_checks timestamptz[],
	p_last_checks timestamptz[], p_last_pushes timestamptz[], p_last_deletes timestamptz[],
	p_manifests bigint[], p_since timestamptz[], p_seen timestamptz[], -- newest observation
	p_evidence smallint[], -- 0: none
	p_last_directs timestamptz[]
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
			hinted = t.hinted + i.hinted,
			first_pull_at = least(t.first_pull_at, i.first_pull),
			last_pull_at = greatest(t.last_pull_at, i.last_pull),
			first_check_at = least(t.first_check_at, i.first_check),
			last_check_at = greatest(t.last_check_at, i.last_check),
			last_direct_at = greatest(t.last_direct_at, i.last_direct),
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
		from unnest(p_ids, p_pulls, p_checks, p_pushes, p_hinted, p_days, p_day_pulls,
			p_day_checks, p_first_pulls, p_last_pulls, p_first_checks, p_last_checks,
			p_last_pushes, p_last_deletes, p_manifests, p_since, p_seen, p_evidence,
			p_last_directs)
			i (tag_id, pulls, checks, pushes, hinted, day, day_pulls, day_checks,
			first_pull, last_pull, first_check, last_check, last_push, last_delete,
			manifest_id, since, seen, evidence, last_direct)
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

drop function pulltap.apply_manifests;
create function pulltap.apply_manifests(
	p_agent uuid, p_seq bigint, p_ids bigint[],
	p_pulls bigint[], p_checks bigint[], p_pushes bigint[], p_hinted bigint[],
	p_days integer[], p_day_pulls bigint[], p_day_checks bigint[],
	p_first_pulls timestamptz[], p_last_pulls timestamptz[], p_first_checks timestamptz[],
	p_last_checks timestamptz[], p_last_pushes timestamptz[], p_last_deletes timestamptz[]
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
			hinted = t.hinted + i.hinted,
			first_pull_at = least(t.first_pull_at, i.first_pull),
			last_pull_at = greatest(t.last_pull_at, i.last_pull),
			first_check_at = least(t.first_check_at, i.first_check),
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
		from unnest(p_ids, p_pulls, p_checks, p_pushes, p_hinted, p_days, p_day_pulls,
			p_day_checks, p_first_pulls, p_last_pulls, p_first_checks, p_last_checks,
			p_last_pushes, p_last_deletes)
			i (manifest_id, pulls, checks, pushes, hinted, day, day_pulls, day_checks,
			first_pull, last_pull, first_check, last_check, last_push, last_delete)
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

-- What no node could pair by itself: HEADs of a tag that no GET followed (tag_id is set), GETs by
-- digest that no HEAD preceded (tag_id is null). A window's rows are inserted and never changed,
-- apply_pairs() takes them: neither waits for the other.
create table pulltap.unpaired (
	agent       uuid not null,
	tag_id      bigint,
	manifest_id bigint not null,
	count       bigint not null, -- less than 0: the GET of a HEAD from an earlier window
	at          timestamptz not null
);

-- Rows that apply_pairs() would leave behind are left out: those of a clock that is far off, and
-- those of an outage longer than a day.
create function pulltap.apply_unpaired(
	p_agent uuid, p_seq bigint, p_tags bigint[], p_manifests bigint[], p_counts bigint[],
	p_at timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.unpaired (agent, tag_id, manifest_id, count, at)
	select p_agent, i.tag_id, i.manifest_id, i.count, i.at
	from unnest(p_tags, p_manifests, p_counts, p_at) i (tag_id, manifest_id, count, at)
	where i.at between now() - interval '1 day' and now() + interval '5 minutes';
end $$;

-- Pairs HEADs of one agent with GETs of another: per manifest and slice of five minutes as many as
-- can be paired at most so that no pair is of one agent, shared among the tags by their HEADs. A
-- slice is settled once, when every agent that was heard of within the last hour has passed it, or
-- when it is an hour old; its rows go in the same transaction. One slice a call, so that it stays
-- short. Returns whether the agent has anybody to pair with: alone it need not send its rows.
create function pulltap.apply_pairs(p_agent uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	v_others boolean;
	v_until timestamptz;
	v_slice timestamptz;
begin
	select coalesce(bool_or(a.agent <> p_agent), false),
		greatest(least(min(w.end_at), now()), now() - interval '1 hour')
	into v_others, v_until
	from pulltap.agent a
	join pulltap.ledger l using (agent)
	left join pulltap.window_account w on w.agent = a.agent and w.seq = l.last_seq
	where a.last_seen_at > now() - interval '1 hour';

	if not pg_try_advisory_xact_lock(7885447, 2) then
		return v_others;
	end if;
	select date_bin('5 minutes', min(u.at), 'epoch') + interval '5 minutes' into v_slice
	from pulltap.unpaired u;
	if v_slice is null or v_slice > v_until then
		return v_others;
	end if;
	with taken as (
		delete from pulltap.unpaired u where u.at < v_slice
		returning u.agent, u.tag_id, u.manifest_id, u.count, u.at
	), sides as (
		select manifest_id, agent,
			greatest(sum(count) filter (where tag_id is not null), 0) as heads,
			greatest(sum(count) filter (where tag_id is null), 0) as gets
		from taken group by 1, 2
	), pairs as (
		-- one agent's HEADs and GETs can only be paired with those of all others
		select manifest_id, least(sum(heads), sum(gets),
			sum(heads) + sum(gets) - max(heads + gets)) as pairs
		from sides group by 1
	), named as (
		select manifest_id, tag_id, max(at) as at, greatest(sum(count), 0) as heads
		from taken where tag_id is not null group by 1, 2
	), shares as (
		-- rounded so that the shares add up to the whole
		select tag_id, at, trunc(pairs * upto / whole)
			- trunc(pairs * (upto - heads) / whole) as pulls
		from (
			select n.tag_id, n.at, n.heads, least(p.pairs, sum(n.heads) over s) as pairs,
				sum(n.heads) over (partition by n.manifest_id
					order by n.tag_id) as upto,
				sum(n.heads) over s as whole
			from named n join pairs p using (manifest_id)
			where p.pairs > 0 and n.heads > 0
			window s as (partition by n.manifest_id)
		) x
	)
	update pulltap.tag_total t set
		estimated_pulls = t.estimated_pulls + i.pulls,
		last_estimated_at = greatest(t.last_estimated_at, i.at)
	from (select tag_id, sum(pulls)::bigint as pulls, max(at) as at
	      from shares where pulls > 0 group by 1 order by 1) i
	where t.tag_id = i.tag_id;
	return v_others;
end $$;

create or replace view pulltap.tags as
select r.name as registry, p.name as repository, g.name as tag,
	pulltap.digest_text(m.algorithm, m.digest) as digest,
	t.pulls, t.checks, t.pushes,
	t.first_pull_at as first_pull, t.last_pull_at as last_pull, t.last_check_at as last_check,
	greatest(t.last_pull_at, t.last_check_at) as last_used,
	t.last_push_at as last_push, t.last_delete_at as last_delete,
	t.manifest_seen_at as digest_seen,
	case when t.last_day > 0 then date '1970-01-01' + t.last_day end as last_day,
	t.last_day as last_day_number, r.observed_since, g.tag_id, g.repository_id, t.manifest_id,
	t.first_check_at as first_check, t.hinted as hinted_pulls,
	t.last_direct_at as last_direct_pull, t.estimated_pulls,
	t.last_estimated_at as last_estimated_pull
from pulltap.tag g
join pulltap.tag_total t using (tag_id)
join pulltap.repository p on p.repository_id = g.repository_id
join pulltap.registry r using (registry_id)
left join pulltap.manifest m on m.manifest_id = t.manifest_id;

create or replace view pulltap.manifests as
select r.name as registry, p.name as repository,
	pulltap.digest_text(m.algorithm, m.digest) as digest,
	array(select g.name::text from pulltap.tag_version v join pulltap.tag g using (tag_id)
	      where v.manifest_id = m.manifest_id and v.valid_to is null order by 1) as tags,
	t.pulls, t.checks, t.pushes,
	t.first_pull_at as first_pull, t.last_pull_at as last_pull, t.last_check_at as last_check,
	greatest(t.last_pull_at, t.last_check_at) as last_used,
	t.last_push_at as last_push, t.last_delete_at as last_delete,
	case when t.last_day > 0 then date '1970-01-01' + t.last_day end as last_day,
	t.last_day as last_day_number, r.observed_since, m.manifest_id, m.repository_id,
	t.first_check_at as first_check, t.hinted as hinted_pulls
from pulltap.manifest m
join pulltap.manifest_total t using (manifest_id)
join pulltap.repository p on p.repository_id = m.repository_id
join pulltap.registry r using (registry_id);

-- What Quay would have counted: HEAD and GET alike. A manifest's HEAD by tag and the GET that
-- follows are two there.
create view pulltap.tags_as_quay as
select registry, repository, tag, pulls + checks as pulls, last_used as last_pull,
	observed_since, tag_id
from pulltap.tags;

create view pulltap.manifests_as_quay as
select registry, repository, digest, pulls + checks + hinted_pulls as pulls,
	last_used as last_pull, observed_since, manifest_id
from pulltap.manifests;

-- What Harbor would have counted: no HEAD at all, a tag by GET of its name alone.
create view pulltap.tags_as_harbor as
select registry, repository, tag, pulls - hinted_pulls as pulls, last_direct_pull as last_pull,
	observed_since, tag_id
from pulltap.tags;

create view pulltap.manifests_as_harbor as
select registry, repository, digest, pulls, last_pull, observed_since, manifest_id
from pulltap.manifests;

revoke execute on function pulltap.apply_tags, pulltap.apply_manifests, pulltap.apply_unpaired,
	pulltap.apply_pairs from public;
