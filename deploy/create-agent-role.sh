#!/bin/sh
# SPDX-License-Identifier: MIT
#
# create-agent-role.sh ROLE CONNINFO [PASSFILE]: makes (or corrects) the login role that agents use:
# a member of pulltap_agent and nothing else. Run it as an administrator of the database that
# `pulltap migrate` has prepared.
#
# With PASSFILE a password is made and appended to that file (mode 0600), in the form that
# PGPASSFILE wants. Without, the password is the first line of standard input. It goes to the server
# hashed, so that no log there holds it, and is in no process list here.
set -eu

usage() {
	echo "usage: $0 ROLE CONNINFO [PASSFILE]   (without PASSFILE the password comes on stdin)" >&2
	exit 2
}

[ $# -eq 2 ] || [ $# -eq 3 ] || usage
role=$1
conninfo=$2
passfile=${3-}
case $role in
'' | *[!a-z0-9_]* | [0-9]*)
	echo "$0: ROLE may hold a-z, 0-9 and _, and starts with a letter" >&2
	exit 2
	;;
pulltap_agent | pulltap_reader)
	echo "$0: $role is the group; name a role that becomes its member" >&2
	exit 2
	;;
esac
case $conninfo in
*password=* | *://*:*@*)
	echo "$0: a password in CONNINFO would show in the process list: use PGPASSFILE" >&2
	exit 2
	;;
esac

# As administrators' settings may have it otherwise: no file of psql's, stop at the first error.
ask() {
	psql -X -A -t -q -v ON_ERROR_STOP=1 -v role="$role" "$@" "$conninfo"
}

if [ -n "$passfile" ]; then
	password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
else
	IFS= read -r password || [ -n "$password" ] || {
		echo "$0: no password on standard input" >&2
		exit 2
	}
fi
[ -n "$password" ] || {
	echo "$0: the password is empty" >&2
	exit 2
}

ask -f - <<'SQL'
do $$ begin
	if not exists (select from pg_roles where rolname = 'pulltap_agent') then
		raise exception 'the group pulltap_agent is missing: run "pulltap migrate" first';
	end if;
end $$;
set password_encryption = 'scram-sha-256';
select format('create role %I', :'role')
	where not exists (select from pg_roles where rolname = :'role') \gexec
select format('alter role %I login nosuperuser nocreatedb nocreaterole noreplication nobypassrls '
	'inherit', :'role') \gexec
select format('revoke %I from %I', g.rolname, :'role')
	from pg_auth_members m
	join pg_roles g on g.oid = m.roleid
	join pg_roles r on r.oid = m.member
	where r.rolname = :'role' and g.rolname <> 'pulltap_agent' \gexec
select format('grant pulltap_agent to %I', :'role') \gexec
select format('grant connect on database %I to %I', current_database(), :'role') \gexec
SQL

# psql hashes it (SCRAM) before it is sent. Without a terminal of its own psql reads from the pipe.
printf '%s\n%s\n' "$password" "$password" |
	setsid -w psql -X -q -v ON_ERROR_STOP=1 -c "\\password $role" "$conninfo" >/dev/null

if [ -n "$passfile" ]; then
	database=$(ask -c 'select current_database()')
	umask 077
	touch "$passfile"
	chmod 600 "$passfile"
	printf '*:*:%s:%s:%s\n' "$(printf %s "$database" | sed 's/[\\:]/\\&/g')" "$role" \
		"$password" >>"$passfile"
	echo "role $role is ready; give $passfile to the agent's user and name it in PGPASSFILE" >&2
else
	echo "role $role is ready" >&2
fi
