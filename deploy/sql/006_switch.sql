-- SPDX-License-Identifier: MIT
-- The kill switch: rows that agents listen to, and the time during which nothing was counted.

-- fleet, node:NAME or registry:NAME is on or off. What else a row might say would be nobody's word.
alter table pulltap.feature_flag
	add constraint feature_flag_scope
		check (scope = 'fleet' or scope ~ '^(node|registry):.+$') not valid,
	add constraint feature_flag_value check (value in ('on', 'off')) not valid;

-- Who and when follow from the statement, also from an update that does not name them.
create function pulltap.feature_flag_set() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
	if tg_op = 'UPDATE' and new.set_by = old.set_by then
		new.set_by := session_user;
	end if;
	if tg_op = 'UPDATE' and new.set_at = old.set_at then
		new.set_at := now();
	end if;
	return new;
end $$;
create trigger feature_flag_set before insert or update on pulltap.feature_flag
for each row execute function pulltap.feature_flag_set();

create function pulltap.feature_flag_told() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
	perform pg_notify('pulltap_feature_flag', '');
	return null;
end $$;
create trigger feature_flag_told after insert or update or delete or truncate
on pulltap.feature_flag
for each statement execute function pulltap.feature_flag_told();

-- How long counting was off within a window, and who said so. An empty registry is all of them.
create table pulltap.off_time (
	agent    uuid not null,
	seq      bigint not null,
	registry text collate "C" not null,
	source   text collate "C" not null,
	said_by  text collate "C" not null,
	off_ms   bigint not null,
	until_at timestamptz not null,
	primary key (agent, seq, registry, source, said_by)
);

create function pulltap.apply_off(
	p_agent uuid, p_seq bigint, p_registries text[], p_sources text[], p_said_by text[],
	p_ms bigint[], p_until timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
	perform pulltap.require_claim(p_agent, p_seq);
	insert into pulltap.off_time (agent, seq, registry, source, said_by, off_ms, until_at)
	select p_agent, p_seq, i.registry collate "C", i.source collate "C",
		i.said_by collate "C", sum(i.ms), max(i.until_at)
	from unnest(p_registries, p_sources, p_said_by, p_ms, p_until)
		i (registry, source, said_by, ms, until_at)
	group by 3, 4, 5;
end $$;

-- Time between two windows of one agent that nobody watched (windows meet within milliseconds), and
-- time switched off: what follows upon itself within a second is one gap.
create or replace view pulltap.gaps as
select g.agent, a.node, g.before_seq as sequence_before, g.seq as sequence_after,
	g.seq - g.before_seq - 1 as missing_sequences,
	g.before_end as gap_start, g.start_at as gap_end, g.start_at - g.before_end as duration,
	'not watched' as reason, null::text as registry
from (
	select w.agent, w.seq, w.start_at,
		lag(w.seq) over s as before_seq, lag(w.end_at) over s as before_end
	from pulltap.window_account w
	window s as (partition by w.agent order by w.seq)
) g
left join pulltap.agent a using (agent)
where g.before_seq is not null and g.start_at - g.before_end > interval '1 second'
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

-- The same as before, and every function by which a window is applied: those of later files too.
create or replace function pulltap.grant_roles() returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
	v_role text;
	v_function regprocedure;
	v_missing text[] := '{}';
begin
	foreach v_role in array array['pulltap_agent', 'pulltap_reader'] loop
		begin
			if not exists (select from pg_roles where rolname = v_role) then
				execute format('create role %I nologin', v_role);
			end if;
		exception
		when insufficient_privilege then
			v_missing := v_missing || v_role;
		when duplicate_object or unique_violation then
			null; -- another database of this cluster was faster
		end;
	end loop;

	if not 'pulltap_agent' = any (v_missing) then
		grant usage on schema pulltap to pulltap_agent;
		grant execute on function
			pulltap.schema_number(), pulltap.maintain(),
			pulltap.intern_tags, pulltap.intern_manifests, pulltap.claim_window
		to pulltap_agent;
		for v_function in select oid from pg_proc
				  where pronamespace = 'pulltap'::regnamespace
				  and starts_with(proname, 'apply_') loop
			execute format('grant execute on function %s to pulltap_agent', v_function);
		end loop;
		grant select on pulltap.feature_flag to pulltap_agent;
	end if;
	if not 'pulltap_reader' = any (v_missing) then
		grant usage on schema pulltap to pulltap_reader;
		grant execute on function pulltap.schema_number(), pulltap.digest_text,
			pulltap.evidence_name to pulltap_reader;
		grant select on pulltap.tags, pulltap.manifests, pulltap.repositories,
			pulltap.tag_history, pulltap.tag_daily, pulltap.manifest_daily,
			pulltap.windows, pulltap.losses, pulltap.gaps, pulltap.fleet,
			pulltap.rejects, pulltap.feature_flag to pulltap_reader;
	end if;
	return nullif(array_to_string(v_missing, ', '), '');
end $$;
revoke execute on function pulltap.grant_roles(), pulltap.apply_off, pulltap.feature_flag_set(),
	pulltap.feature_flag_told() from public;
