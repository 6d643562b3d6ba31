-- SPDX-License-Identifier: MIT
-- The ledger everywhere: what does not add up, and what each node lost in the last day.

-- Windows that somebody has to look at are few: both views below and pulltap.losses read them from
-- here, however many windows there are.
create index window_account_trouble on pulltap.window_account (agent, end_at)
where lost > 0 or seen <> counted + filtered + lost;

create view pulltap.unbalanced as
select w.agent, a.node, w.seq as sequence, w.start_at as window_start, w.end_at as window_end,
	w.applied_at, w.merged, w.seen, w.counted, w.filtered, w.lost,
	w.seen - w.counted - w.filtered - w.lost as difference, w.counters
from pulltap.window_account w
left join pulltap.agent a using (agent)
where w.seen <> w.counted + w.filtered + w.lost;

create or replace view pulltap.fleet as
select a.agent, a.node, a.version, a.first_seen_at as first_seen, a.last_seen_at as last_seen,
	l.last_seq as last_sequence, w.end_at as last_window_end,
	now() - w.end_at as behind, w.seen, w.counted, w.filtered, w.lost,
	t.lost_24h, t.unbalanced_24h
from pulltap.agent a
left join pulltap.ledger l using (agent)
left join pulltap.window_account w on w.agent = a.agent and w.seq = l.last_seq
cross join lateral (
	select coalesce(sum(x.lost), 0)::bigint as lost_24h,
		count(*) filter (where x.seen <> x.counted + x.filtered + x.lost)
			as unbalanced_24h
	from pulltap.window_account x
	where x.agent = a.agent and x.end_at > now() - interval '24 hours'
	and (x.lost > 0 or x.seen <> x.counted + x.filtered + x.lost)) t;

-- Readers read views, all of them, so that none is forgotten; a role that an administrator makes
-- later is granted the same by the next migration.
create function pulltap.grant_views() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
	v_view text;
begin
	if not exists (select from pg_roles where rolname = 'pulltap_reader') then
		return;
	end if;
	for v_view in select viewname from pg_views where schemaname = 'pulltap' loop
		execute format('grant select on pulltap.%I to pulltap_reader', v_view);
	end loop;
end $$;
revoke execute on function pulltap.grant_views() from public;
