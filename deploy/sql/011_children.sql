-- SPDX-License-Identifier: MIT
-- Which manifests belong to an index, learned from the order in which one client asked for them.

create table pulltap.manifest_child (
	index_id      bigint not null references pulltap.manifest on delete cascade,
	child_id      bigint not null references pulltap.manifest on delete cascade,
	evidence      smallint not null default 1, -- 1: order of a client's requests
	seen          bigint not null, -- how often
	first_seen_at timestamptz not null,
	last_seen_at  timestamptz not null,
	primary key (index_id, child_id),
	check (index_id <> child_id)
);
create index manifest_child_child on pulltap.manifest_child (child_id);

-- Ascending by index and child. A manifest that is unknown was told by apply_manifests before.
create function pulltap.apply_children(
	p_agent uuid, p_seq bigint, p_indexes bigint[], p_children bigint[], p_counts bigint[],
	p_at timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.manifest_child as c (index_id, child_id, seen, first_seen_at,
		last_seen_at)
	select i.index_id, i.child_id, i.count, i.at, i.at
	from unnest(p_indexes, p_children, p_counts, p_at) i (index_id, child_id, count, at)
	where i.index_id <> i.child_id
	on conflict (index_id, child_id) do update
	set seen = c.seen + excluded.seen,
		first_seen_at = least(c.first_seen_at, excluded.first_seen_at),
		last_seen_at = greatest(c.last_seen_at, excluded.last_seen_at);
end $$;
revoke execute on function pulltap.apply_children from public;

create view pulltap.manifest_children as
select r.name as registry, p.name as repository,
	pulltap.digest_text(x.algorithm, x.digest) as index_digest,
	pulltap.digest_text(m.algorithm, m.digest) as child_digest,
	(array['observed'])[c.evidence] as evidence, c.seen,
	c.first_seen_at as first_seen, c.last_seen_at as last_seen, c.index_id, c.child_id
from pulltap.manifest_child c
join pulltap.manifest x on x.manifest_id = c.index_id
join pulltap.manifest m on m.manifest_id = c.child_id
join pulltap.repository p on p.repository_id = x.repository_id
join pulltap.registry r using (registry_id);

-- An index is in use when its child is, and the other way round.
create view pulltap.manifests_in_use as
select m.registry, m.repository, m.digest, m.tags, m.last_used as last_used_itself,
	i.last_used as last_used_index, c.last_used as last_used_child,
	greatest(m.last_used, i.last_used, c.last_used) as last_used,
	i.number as indexes, c.number as children, m.observed_since, m.manifest_id, m.repository_id
from pulltap.manifests m
cross join lateral (
	select count(*) as number,
		greatest(max(t.last_pull_at), max(t.last_check_at)) as last_used
	from pulltap.manifest_child x join pulltap.manifest_total t on t.manifest_id = x.index_id
	where x.child_id = m.manifest_id) i
cross join lateral (
	select count(*) as number,
		greatest(max(t.last_pull_at), max(t.last_check_at)) as last_used
	from pulltap.manifest_child x join pulltap.manifest_total t on t.manifest_id = x.child_id
	where x.index_id = m.manifest_id) c;
