-- SPDX-License-Identifier: MIT
-- As in 007; a registry that ran before its first probe was there is not one that was switched off.
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
	case when o.source = 'late' then 'probed after its start'
		else 'switched off: ' || o.source
			|| case when o.said_by = '' then '' else ' (' || o.said_by || ')' end end,
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
