-- SPDX-License-Identifier: MIT
-- Two group roles without login: pulltap_agent may run the functions an agent needs and nothing
-- else, pulltap_reader may read the views. An operator grants them:
--   create role node_agent login password '...' in role pulltap_agent;
-- Whoever migrates may lack the right to create roles: then an administrator creates the two and
-- the next `pulltap migrate` grants what they need.

revoke execute on all functions in schema pulltap from public;

create function pulltap.grant_roles() returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
	v_role text;
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
			pulltap.intern_tags, pulltap.intern_manifests, pulltap.claim_window,
			pulltap.apply_tags, pulltap.apply_manifests, pulltap.apply_days,
			pulltap.apply_versions, pulltap.apply_rejected
		to pulltap_agent;
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
revoke execute on function pulltap.grant_roles() from public;
