-- SPDX-License-Identifier: MIT
-- The history of tags where order is not the order of arrival: several agents, a spool replayed
-- after an outage, several manifests under one tag within a window, deletion by digest.

-- One observation of a tag; p_manifest null: the tag was gone.
create function pulltap.observe(
	p_tag bigint, p_manifest bigint, p_at timestamptz, p_evidence smallint
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	t record;
	v_at timestamptz;
begin
	select manifest_id, manifest_seen_at into t
	from pulltap.tag_total where tag_id = p_tag for update;
	if not found then
		raise exception 'tag % is unknown', p_tag using errcode = 'PT001';
	end if;
	case pulltap.judge(p_evidence, p_at, p_manifest, t.manifest_seen_at, t.manifest_id)
	when 0 then
		return;
	when 1 then
		update pulltap.tag_total set manifest_seen_at = p_at where tag_id = p_tag;
		return;
	when 2 then
		v_at := greatest(p_at, t.manifest_seen_at + interval '1 microsecond');
		update pulltap.tag_total set manifest_id = p_manifest, manifest_seen_at = v_at
		where tag_id = p_tag;
		perform pulltap.move_tags(array[row(p_tag, p_manifest, v_at, v_at,
			t.manifest_seen_at, p_evidence)::pulltap.tag_move]);
		return;
	else
		perform pulltap.observe_past(p_tag, p_manifest, p_at, p_evidence,
			t.manifest_seen_at);
	end case;
end $$;

-- An observation before the newest one of the tag. Between two observations of other manifests
-- the change is put at the later of them.
create function pulltap.observe_past(
	p_tag bigint, p_manifest bigint, p_at timestamptz, p_evidence smallint,
	p_newest timestamptz
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	v pulltap.tag_version; -- holds p_at
	n pulltap.tag_version; -- the next one
	v_seen timestamptz;
begin
	if exists (select from pulltap.tag_version x
		   where x.tag_id = p_tag and x.valid_from = p_at
		   and x.manifest_id is distinct from p_manifest) then
		p_at := p_at + interval '1 microsecond'; -- of equal times the later arrival wins
	end if;
	select * into v from pulltap.tag_version x
	where x.tag_id = p_tag and x.valid_from <= p_at
		and (x.valid_to is null or x.valid_to > p_at);
	select * into n from pulltap.tag_version x
	where x.tag_id = p_tag and x.valid_from > p_at order by x.valid_from limit 1;

	if v.manifest_id = p_manifest then
		update pulltap.tag_version x set last_seen_at = greatest(x.last_seen_at, p_at)
		where x.tag_id = p_tag and x.valid_from = v.valid_from and x.valid_to is not null;
		return;
	end if;
	if v.tag_id is null then
		if p_manifest is null then
			return;
		elsif n.manifest_id = p_manifest then
			update pulltap.tag_version x set valid_from = p_at, started_by = p_evidence
			where x.tag_id = p_tag and x.valid_from = n.valid_from;
		else
			-- without a next version the newest observation was the deletion
			insert into pulltap.tag_version (tag_id, manifest_id, valid_from, valid_to,
				last_seen_at, started_by, ended_by)
			values (p_tag, p_manifest, p_at, coalesce(n.valid_from, p_newest), p_at,
				p_evidence, coalesce(n.started_by, 4));
		end if;
		return;
	end if;
	if v.valid_from >= p_at then
		return; -- both microseconds are taken
	end if;

	v_seen := case when v.valid_to is null then p_newest
		else coalesce(v.last_seen_at, v.valid_from) end;
	update pulltap.tag_version x
	set valid_to = p_at, ended_by = p_evidence, last_seen_at = least(v_seen, p_at)
	where x.tag_id = p_tag and x.valid_from = v.valid_from;
	if v_seen > p_at then
		-- the old one came back, at the latest when it was last seen
		insert into pulltap.tag_version (tag_id, manifest_id, valid_from, valid_to,
			last_seen_at, started_by, ended_by)
		values (p_tag, v.manifest_id, v_seen, v.valid_to,
			case when v.valid_to is not null then v_seen end, v.started_by, v.ended_by);
		if p_manifest is not null then
			insert into pulltap.tag_version (tag_id, manifest_id, valid_from, valid_to,
				last_seen_at, started_by, ended_by)
			values (p_tag, p_manifest, p_at, v_seen, p_at, p_evidence, v.started_by);
		end if;
	elsif p_manifest is not null then
		if n.manifest_id = p_manifest and n.valid_from = v.valid_to then
			update pulltap.tag_version x set valid_from = p_at, started_by = p_evidence
			where x.tag_id = p_tag and x.valid_from = n.valid_from;
		else
			insert into pulltap.tag_version (tag_id, manifest_id, valid_from, valid_to,
				last_seen_at, started_by, ended_by)
			values (p_tag, p_manifest, p_at, v.valid_to, p_at, p_evidence, v.ended_by);
		end if;
	end if;
end $$;

-- Late observations, most of which say what is known: one look at all of them, then one by one
-- what is left.
create function pulltap.observe_late(p_moves pulltap.tag_move[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
	m record;
begin
	update pulltap.tag_version v set last_seen_at = i.seen
	from (select x.tag_id, x.manifest_id, x.seen from unnest(p_moves) x
	      order by x.tag_id, x.seen desc) i
	where v.tag_id = i.tag_id and v.manifest_id = i.manifest_id
		and v.valid_from <= i.seen and v.valid_to > i.seen
		and i.seen > coalesce(v.last_seen_at, v.valid_from);

	for m in
		select i.tag_id, i.manifest_id, i.seen, i.evidence
		from unnest(p_moves) i
		where (select v.tag_id from pulltap.tag_version v
		       where v.tag_id = i.tag_id and v.manifest_id = i.manifest_id
		       and v.valid_from <= i.seen and (v.valid_to is null or v.valid_to > i.seen)
		       limit 1) is null
		order by i.tag_id, i.seen
	loop
		perform pulltap.observe(m.tag_id, m.manifest_id, m.seen, m.evidence);
	end loop;
end $$;

-- Observations of a window beside each tag's newest, and manifests deleted by digest: that ends
-- every version of a tag which named them.
create function pulltap.apply_versions(
	p_agent uuid, p_seq bigint,
	p_tags bigint[], p_manifests bigint[], p_at timestamptz[], p_evidence smallint[],
	p_deleted bigint[], p_deleted_at timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	m record;
begin
	perform pulltap.require_claim(p_agent, p_seq);
	perform pulltap.observe_late((
		select array_agg(row(i.tag_id, i.manifest_id, i.seen, i.seen, null,
			i.evidence)::pulltap.tag_move)
		from unnest(p_tags, p_manifests, p_at, p_evidence)
			i (tag_id, manifest_id, seen, evidence)));
	for m in
		select v.tag_id, i.seen
		from unnest(p_deleted, p_deleted_at) i (manifest_id, seen)
		join pulltap.tag_version v on v.manifest_id = i.manifest_id
			and v.valid_from <= i.seen and (v.valid_to is null or v.valid_to > i.seen)
		order by v.tag_id, i.seen
	loop
		perform pulltap.observe(m.tag_id, null, m.seen, 4::smallint);
	end loop;
end $$;

-- Months of history ahead of time; rows that fell into the default partition move to their month.
-- One agent at a time, and never in a window's transaction: it locks the default partition.
create function pulltap.maintain() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
	v_made integer := 0;
	v_parent text;
	v_key text;
	v_name text;
	v_month date;
begin
	if not pg_try_advisory_xact_lock(7885447, 1) then
		return 0;
	end if;
	for v_parent, v_key in values ('tag_day', 'tag_id'), ('manifest_day', 'manifest_id')
	loop
		for v_month in
			select generate_series(date_trunc('month', (now() at time zone 'UTC')),
				date_trunc('month', (now() at time zone 'UTC')) + interval '2 months',
				interval '1 month')::date
		loop
			v_name := v_parent || to_char(v_month, '_YYYY_MM');
			continue when to_regclass('pulltap.' || v_name) is not null;
			execute format('create table pulltap.%I (like pulltap.%I including all)',
				v_name, v_parent);
			execute format('with moved as (delete from pulltap.%I where day >= %L and '
				'day < %L returning *) insert into pulltap.%I select * from moved',
				v_parent || '_default', v_month, v_month + interval '1 month', v_name);
			execute format('alter table pulltap.%I attach partition pulltap.%I '
				'for values from (%L) to (%L)', v_parent, v_name, v_month,
				(v_month + interval '1 month')::date);
			v_made := v_made + 1;
		end loop;
	end loop;
	return v_made;
end $$;
