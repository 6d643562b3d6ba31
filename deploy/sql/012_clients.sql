-- SPDX-License-Identifier: MIT
-- Pulls and checks that rules excluded, apart from all that counts, and who pulled by kind of client.

alter table pulltap.tag_total
	add excluded bigint not null default 0,
	add last_excluded_at timestamptz;
alter table pulltap.manifest_total
	add excluded bigint not null default 0,
	add last_excluded_at timestamptz;

-- One row for each rule that ever excluded something.
create table pulltap.rule_total (
	registry_id      integer not null references pulltap.registry on delete cascade,
	rule             text collate "C" not null,
	excluded         bigint not null,
	first_excluded_at timestamptz not null,
	last_excluded_at timestamptz not null,
	primary key (registry_id, rule)
);

-- A dozen kinds a day and registry at most.
create table pulltap.client_day (
	registry_id integer not null references pulltap.registry on delete cascade,
	day         date not null,
	client      text collate "C" not null,
	pulls       bigint not null,
	checks      bigint not null,
	last_at     timestamptz not null,
	primary key (registry_id, day, client)
);

-- Ids ascending, of apply_tags and apply_manifests before it.
create function pulltap.apply_excluded(
	p_agent uuid, p_seq bigint, p_tags bigint[], p_tag_counts bigint[],
	p_tag_at timestamptz[], p_manifests bigint[], p_manifest_counts bigint[],
	p_manifest_at timestamptz[]
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	update pulltap.tag_total t set
		excluded = t.excluded + i.count,
		last_excluded_at = greatest(t.last_excluded_at, i.at)
	from unnest(p_tags, p_tag_counts, p_tag_at) i (tag_id, count, at)
	where t.tag_id = i.tag_id;
	update pulltap.manifest_total t set
		excluded = t.excluded + i.count,
		last_excluded_at = greatest(t.last_excluded_at, i.at)
	from unnest(p_manifests, p_manifest_counts, p_manifest_at) i (manifest_id, count, at)
	where t.manifest_id = i.manifest_id;
end $$;

-- p_ops as in enum pt_op: 9 a rule's, 10 a client's pulls, 11 its checks, 12 its pulls whose HEAD
-- was counted as a check before.
create function pulltap.apply_names(
	p_agent uuid, p_seq bigint, p_registries text[], p_names text[], p_ops smallint[],
	p_counts bigint[], p_at timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.registry (name, observed_since)
	select i.name collate "C", min(i.at)
	from unnest(p_registries, p_at) i (name, at)
	where not exists (select from pulltap.registry r where r.name = i.name)
	group by 1 order by 1
	on conflict (name) do nothing;

	insert into pulltap.rule_total as t
		(registry_id, rule, excluded, first_excluded_at, last_excluded_at)
	select r.registry_id, i.name, sum(i.count), min(i.at), max(i.at)
	from unnest(p_registries, p_names, p_ops, p_counts, p_at)
		i (registry, name, op, count, at)
	join pulltap.registry r on r.name = i.registry
	where i.op = 9
	group by 1, 2 order by 1, 2
	on conflict (registry_id, rule) do update
	set excluded = t.excluded + excluded.excluded,
		first_excluded_at = least(t.first_excluded_at, excluded.first_excluded_at),
		last_excluded_at = greatest(t.last_excluded_at, excluded.last_excluded_at);

	insert into pulltap.client_day as t (registry_id, day, client, pulls, checks, last_at)
	select r.registry_id, (i.at at time zone 'UTC')::date, i.name,
		coalesce(sum(i.count) filter (where i.op in (10, 12)), 0),
		coalesce(sum(case i.op when 11 then i.count when 12 then -i.count end), 0),
		max(i.at)
	from unnest(p_registries, p_names, p_ops, p_counts, p_at)
		i (registry, name, op, count, at)
	join pulltap.registry r on r.name = i.registry
	where i.op in (10, 11, 12)
	group by 1, 2, 3 order by 1, 2, 3
	on conflict (registry_id, day, client) do update
	set pulls = t.pulls + excluded.pulls, checks = t.checks + excluded.checks,
		last_at = greatest(t.last_at, excluded.last_at);
end $$;
revoke execute on function pulltap.apply_excluded, pulltap.apply_names from public;

create view pulltap.rules as
select r.name as registry, t.rule, t.excluded, t.first_excluded_at as first_excluded,
	t.last_excluded_at as last_excluded
from pulltap.rule_total t join pulltap.registry r using (registry_id);

create view pulltap.clients as
select r.name as registry, t.day, t.client, t.pulls, t.checks, t.last_at as last_seen
from pulltap.client_day t join pulltap.registry r using (registry_id);

-- As before, and what rules excluded.
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
	t.last_estimated_at as last_estimated_pull, t.excluded,
	t.last_excluded_at as last_excluded
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
	t.first_check_at as first_check, t.hinted as hinted_pulls, t.excluded,
	t.last_excluded_at as last_excluded
from pulltap.manifest m
join pulltap.manifest_total t using (manifest_id)
join pulltap.repository p on p.repository_id = m.repository_id
join pulltap.registry r using (registry_id);
