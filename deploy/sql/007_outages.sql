-- SPDX-License-Identifier: MIT
-- After a long outage a window may hold several that were merged, first to last.

-- Takes the sequence in the ledger; false: it was taken, roll back and drop it. PT003: some of the
-- windows in it were applied by themselves, and nobody can tell which counts those were. Agents
-- never merge what they may have sent; files that were copied back by hand can come to this.
create or replace function pulltap.claim_window(
	p_agent uuid, p_seq bigint, p_node text, p_version text,
	p_start timestamptz, p_end timestamptz, p_merged integer, p_rows bigint,
	p_counters text[], p_values bigint[]
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
