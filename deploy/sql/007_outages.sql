-- SPDX-License-Identifier: MIT
-- After a long outage a window may hold several that were merged, first to last. Pauses between
-- windows are told by a clock that is never set.

-- The stream's window before, and how long ago that ended; null: not known, then numbers and the
-- clock's times have to do.
alter table pulltap.window_account add column before_seq bigint, add column pause_ms bigint;

-- Takes the sequence in the ledger; false: it was taken, roll back and drop it. PT003: some of the
-- windows in it were applied by themselves, and nobody can tell which counts those were. Agents
-- never merge what they may have sent; files that were copied back by hand can come to this.
drop function pulltap.claim_window(uuid, bigint, text, text, timestamptz, timestamptz, integer,
	bigint, text[], bigint[]);
create function pulltap.claim_window(
	p_agent uuid, p_seq bigint, p_node text, p_version text,
	p_start timestamptz, p_end timestamptz, p_merged integer, p_rows bigint,
	p_counters text[], p_values bigint[], p_before bigint,
	p_pause_ms bigint
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	v_before bigint;
begin
	select l.last_seq into v_before from pulltap.ledger l where l.agent = p_agent for update;
	if v_before < p_seq and v_before > p_seq - p_merged then
		raise exception 'windows % to % of % are one, but % was applied before',
			p_seq - p_merged + 1, p_seq, p_agent, v_before using errcode = 'PT003';
	end if;
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
		seen, counted, filtered, lost, counters, before_seq, pause_ms)
	select p_agent, p_seq, p_start, p_end, p_merged, p_rows,
		coalesce(sum(c.value) filter (where c.name = 'seen'), 0),
		coalesce(sum(c.value) filter (where c.name = 'counted'), 0),
		coalesce(sum(c.value) filter (where starts_with(c.name, 'filtered_')), 0),
		coalesce(sum(c.value) filter (where starts_with(c.name, 'lost_')), 0),
		coalesce(jsonb_object_agg(c.name, c.value) filter (where c.value <> 0), '{}'),
		p_before, p_pause_ms
	from unnest(p_counters, p_values) c (name, value);
	return true;
end $$;
revoke execute on function pulltap.claim_window from public;

create or replace view pulltap.windows as
select w.agent, a.node, w.seq as sequence, w.start_at as window_start, w.end_at as window_end,
	w.applied_at, w.merged, w.rows, w.seen, w.counted, w.filtered, w.lost,
	w.seen = w.counted + w.filtered + w.lost as balanced, w.counters,
	w.pause_ms * interval '1 millisecond' as pause_before
from pulltap.window_account w
left join pulltap.agent a using (agent);

-- As in 006, but a clock that was set between two windows neither makes a gap nor hides one, and
-- numbers that were never used are not missing.
create or replace view pulltap.gaps as
select g.agent, a.node, g.last_seq as sequence_before, g.seq as sequence_after,
	case when g.before_seq = g.last_seq then 0 else g.seq - g.merged - g.last_seq end
		as missing_sequences,
	g.start_at - g.gap as gap_start, g.start_at as gap_end, g.gap as duration,
	'not watched' as reason, null::text as registry
from (
	select x.*, case when x.before_seq = x.last_seq and x.pause_ms is not null
		then x.pause_ms * interval '1 millisecond' else x.start_at - x.last_end end as gap
	from (
		select w.agent, w.seq, w.merged, w.start_at, w.before_seq, w.pause_ms,
			lag(w.seq) over s as last_seq, lag(w.end_at) over s as last_end
		from pulltap.window_account w
		window s as (partition by w.agent order by w.seq)
	) x
) g
left join pulltap.agent a using (agent)
where g.last_seq is not null and g.gap > interval '1 second'
union all
select o.agent, a.node, min(o.seq), max(o.seq), 0::bigint,
	min(o.start_at), max(o.until_at), sum(o.until_at - o.start_at),
	'switched off: ' || o.source || case when o.said_by = '' then '' else ' (' || o.said_by || ')' end,
	nullif(o.registry, '')
from (
	select b.*, count(*) filter (where b.begins) over (
		partition by b.agent, b.registry, b.source, b.said_by order by b.seq) as number
	from (
		select t.agent, t.seq, t.registry, t.source, t.said_by, t.until_at,
			t.until_at - t.off_ms * interval '1 millisecond' as start_at,
			coalesce(t.until_at - t.off_ms * interval '1 millisecond'
				- lag(t.until_at) over (
					partition by t.agent, t.registry, t.source, t.said_by
					order by t.seq) > interval '1 second', true) as begins
		from pulltap.off_time t
	) b
) o
left join pulltap.agent a using (agent)
group by o.agent, a.node, o.registry, o.source, o.said_by, o.number;
