-- SPDX-License-Identifier: MIT
-- The stable interface: for people, dashboards, the API and prune jobs. Columns may be added at
-- the end; none goes or changes its meaning without a new major version. docs/schema.md explains
-- each. last_used is the later of last pull and last check; null: never, since observed_since.

create function pulltap.digest_text(algorithm text, digest bytea) returns text
language sql immutable parallel safe
return algorithm || ':' || encode(digest, 'hex');

create function pulltap.evidence_name(evidence smallint) returns text
language sql immutable parallel safe
return (array['pull', 'check', 'put', 'delete', 'pull'])[evidence];

create view pulltap.tags as
select r.name as registry, p.name as repository, g.name as tag,
	pulltap.digest_text(m.algorithm, m.digest) as digest,
	t.pulls, t.checks, t.pushes,
	t.first_pull_at as first_pull, t.last_pull_at as last_pull, t.last_check_at as last_check,
	greatest(t.last_pull_at, t.last_check_at) as last_used,
	t.last_push_at as last_push, t.last_delete_at as last_delete,
	t.manifest_seen_at as digest_seen,
	case when t.last_day > 0 then date '1970-01-01' + t.last_day end as last_day,
	t.last_day as last_day_number, r.observed_since, g.tag_id, g.repository_id, t.manifest_id
from pulltap.tag g
join pulltap.tag_total t using (tag_id)
join pulltap.repository p on p.repository_id = g.repository_id
join pulltap.registry r using (registry_id)
left join pulltap.manifest m on m.manifest_id = t.manifest_id;

create view pulltap.manifests as
select r.name as registry, p.name as repository,
	pulltap.digest_text(m.algorithm, m.digest) as digest,
	array(select g.name::text from pulltap.tag_version v join pulltap.tag g using (tag_id)
	      where v.manifest_id = m.manifest_id and v.valid_to is null order by 1) as tags,
	t.pulls, t.checks, t.pushes,
	t.first_pull_at as first_pull, t.last_pull_at as last_pull, t.last_check_at as last_check,
	greatest(t.last_pull_at, t.last_check_at) as last_used,
	t.last_push_at as last_push, t.last_delete_at as last_delete,
	case when t.last_day > 0 then date '1970-01-01' + t.last_day end as last_day,
	t.last_day as last_day_number, r.observed_since, m.manifest_id, m.repository_id
from pulltap.manifest m
join pulltap.manifest_total t using (manifest_id)
join pulltap.repository p on p.repository_id = m.repository_id
join pulltap.registry r using (registry_id);

create view pulltap.repositories as
select r.name as registry, p.name as repository,
	t.tags, m.manifests, t.pulls as tag_pulls, t.checks as tag_checks,
	m.pulls as manifest_pulls, m.checks as manifest_checks,
	least(t.first_pull, m.first_pull) as first_pull,
	greatest(t.last_pull, m.last_pull) as last_pull,
	greatest(t.last_check, m.last_check) as last_check,
	greatest(t.last_pull, m.last_pull, t.last_check, m.last_check) as last_used,
	r.observed_since, p.repository_id
from pulltap.repository p
join pulltap.registry r using (registry_id)
cross join lateral (
	select count(*) as tags, coalesce(sum(x.pulls), 0)::bigint as pulls,
		coalesce(sum(x.checks), 0)::bigint as checks, min(x.first_pull_at) as first_pull,
		max(x.last_pull_at) as last_pull, max(x.last_check_at) as last_check
	from pulltap.tag g join pulltap.tag_total x using (tag_id)
	where g.repository_id = p.repository_id) t
cross join lateral (
	select count(*) as manifests, coalesce(sum(x.pulls), 0)::bigint as pulls,
		coalesce(sum(x.checks), 0)::bigint as checks, min(x.first_pull_at) as first_pull,
		max(x.last_pull_at) as last_pull, max(x.last_check_at) as last_check
	from pulltap.manifest g join pulltap.manifest_total x using (manifest_id)
	where g.repository_id = p.repository_id) m;

create view pulltap.tag_history as
select r.name as registry, p.name as repository, g.name as tag,
	pulltap.digest_text(m.algorithm, m.digest) as digest,
	v.valid_from, v.valid_to,
	pulltap.evidence_name(v.started_by) as started_by,
	pulltap.evidence_name(v.ended_by) as ended_by,
	case when v.valid_to is null then t.manifest_seen_at else v.last_seen_at end as last_seen,
	v.valid_to is null as is_current, v.tag_id, v.manifest_id
from pulltap.tag_version v
join pulltap.tag g using (tag_id)
join pulltap.tag_total t using (tag_id)
join pulltap.manifest m on m.manifest_id = v.manifest_id
join pulltap.repository p on p.repository_id = g.repository_id
join pulltap.registry r using (registry_id);

-- Days: the history and the day that still stands in the total's row.

create view pulltap.tag_daily as
select r.name as registry, p.name as repository, g.name as tag, d.day, d.pulls, d.checks,
	d.tag_id
from (
	select x.tag_id, x.day, x.pulls, x.checks from pulltap.tag_day x
	union all
	select t.tag_id, date '1970-01-01' + t.last_day, t.day_pulls, t.day_checks
	from pulltap.tag_total t
	where t.last_day > 0 and (t.day_pulls <> 0 or t.day_checks <> 0)
) d
join pulltap.tag g using (tag_id)
join pulltap.repository p using (repository_id)
join pulltap.registry r using (registry_id);

create view pulltap.manifest_daily as
select r.name as registry, p.name as repository,
	pulltap.digest_text(m.algorithm, m.digest) as digest, d.day, d.pulls, d.checks,
	d.manifest_id
from (
	select x.manifest_id, x.day, x.pulls, x.checks from pulltap.manifest_day x
	union all
	select t.manifest_id, date '1970-01-01' + t.last_day, t.day_pulls, t.day_checks
	from pulltap.manifest_total t
	where t.last_day > 0 and (t.day_pulls <> 0 or t.day_checks <> 0)
) d
join pulltap.manifest m using (manifest_id)
join pulltap.repository p using (repository_id)
join pulltap.registry r using (registry_id);

-- Agents and their books.

create view pulltap.windows as
select w.agent, a.node, w.seq as sequence, w.start_at as window_start, w.end_at as window_end,
	w.applied_at, w.merged, w.rows, w.seen, w.counted, w.filtered, w.lost,
	w.seen = w.counted + w.filtered + w.lost as balanced, w.counters
from pulltap.window_account w
left join pulltap.agent a using (agent);

create view pulltap.losses as
select w.agent, a.node, w.seq as sequence, w.start_at as window_start, w.end_at as window_end,
	c.key as reason, c.value::bigint as count
from pulltap.window_account w
left join pulltap.agent a using (agent)
cross join lateral jsonb_each_text(w.counters) c
where w.lost > 0 and starts_with(c.key, 'lost_');

-- Time between two windows of one agent that nobody watched; windows meet within milliseconds.
create view pulltap.gaps as
select g.agent, a.node, g.before_seq as sequence_before, g.seq as sequence_after,
	g.seq - g.before_seq - 1 as missing_sequences,
	g.before_end as gap_start, g.start_at as gap_end, g.start_at - g.before_end as duration
from (
	select w.agent, w.seq, w.start_at,
		lag(w.seq) over s as before_seq, lag(w.end_at) over s as before_end
	from pulltap.window_account w
	window s as (partition by w.agent order by w.seq)
) g
left join pulltap.agent a using (agent)
where g.before_seq is not null and g.start_at - g.before_end > interval '1 second';

create view pulltap.fleet as
select a.agent, a.node, a.version, a.first_seen_at as first_seen, a.last_seen_at as last_seen,
	l.last_seq as last_sequence, w.end_at as last_window_end,
	now() - w.end_at as behind, w.seen, w.counted, w.filtered, w.lost
from pulltap.agent a
left join pulltap.ledger l using (agent)
left join pulltap.window_account w on w.agent = a.agent and w.seq = l.last_seq;

create view pulltap.rejects as
select encode(x.registry, 'escape') as registry,
	encode(x.repository, 'escape') as repository, encode(x.tag, 'escape') as tag,
	encode(x.digest, 'escape') as digest, x.reason, x.count, x.windows, x.first_at, x.last_at,
	a.node, x.agent, x.seq as sequence
from pulltap.rejected x
left join pulltap.agent a using (agent);
