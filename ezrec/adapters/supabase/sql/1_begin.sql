-- The tables and functions that EZREC's devices and the venue's own programs share.
--
-- Safe to run again, and on a project that is in use: what is there stays, what is missing is added, and if anything
-- fails nothing is changed (and psql ends with a status other than 0). A key that cannot be made because a table holds
-- doubles is such a failure: take them out first. Row level security is switched on for the tables that this makes and
-- for no others. What it warns of in the end is for people: read it.
--
-- A device has a role of its own, ezrec_device, which may do nothing with tables. It calls functions, which look its
-- token's `sub` up in ezrec_devices: that says which court it is for, and whether it has been revoked. The project's
-- secret key may call the same functions, and says which court it means. Nothing is granted to anon and authenticated,
-- but one function that counts the views of a link. What players and owners may see is not said here: give them
-- grants and policies of their own.

set ezrec.done = 'no';
begin;
set local client_min_messages = warning;
set local search_path = public, pg_temp;

create schema if not exists ezrec;
comment on schema ezrec is 'Inner parts of EZREC''s functions; not for the API.';
create table if not exists ezrec.version (version integer primary key, at timestamptz not null default now());
comment on table ezrec.version is 'Which versions of EZREC''s tables were installed here, and when.';

do $$ begin
  if (select max(version) from ezrec.version) > 1 then
    raise exception 'this project''s tables are newer than these: use the SQL of the newer EZREC';
  end if;
  if not exists (select from pg_roles where rolname = 'ezrec_device') then
    create role ezrec_device nologin noinherit;
  end if;
exception when duplicate_object or unique_violation then null;  -- made at this moment, through another database
end $$;
do $$ begin
  grant ezrec_device to authenticator;
exception when undefined_object then null;  -- not a Supabase project
end $$;

create temporary table made_here on commit drop as
  select name from unnest(array['bookings', 'videos', 'system_status', 'user_settings', 'shared_links', 'ezrec_devices',
                                'ezrec_marks', 'ezrec_clips']) as name
   where to_regclass('public.' || name) is null;

-- What version 0.1.0 was installed on: its policy tells, and on tables that it made itself, its own constraints.
create temporary table granted_before on commit drop as
  select tablename::text as name, case tablename
      when 'bookings' then 'bookings_id_plain' = any (checks)
      when 'videos' then checks @> array['videos_duration_seconds_check', 'videos_file_size_check']
      when 'system_status' then 'system_status_pkey' = any (checks) and 'fillfactor=50' = any (reloptions)
      when 'user_settings' then 'user_settings_pkey' = any (checks) and (
        select attname from pg_attribute where attrelid = pg_class.oid and attnum = 2) = 'intro_path'
      when 'shared_links' then checks @> array['shared_links_token_hash_check', 'shared_links_views_check']
      else false end as made
    from pg_policies join pg_class on relname = tablename and relnamespace = 'public'::regnamespace
    cross join lateral (select array(select conname::text from pg_constraint where conrelid = pg_class.oid) as checks) as of_it
   where schemaname = 'public' and policyname = 'ezrec_device';

-- Sees to it that a table has one index over exactly these columns, and never two that are the same.
create or replace function ezrec.keep_index(name text, on_table text, over text[], as_unique boolean, only_if text default '')
returns void language plpgsql set search_path = '' as $$
declare
  same text[];
begin
  select array_agg(relname::text order by relname = name, relname) into same
    from pg_index join pg_class on pg_class.oid = indexrelid
   where indrelid = to_regclass('public.' || on_table) and indexprs is null and indisvalid
     and (indisunique or not as_unique) and indnkeyatts = array_length(over, 1)
     and coalesce(pg_get_expr(indpred, indrelid), '') = only_if
     and over = array(select attname::text from unnest(indkey) with ordinality as key (number, place)
                        join pg_attribute on attrelid = indrelid and attnum = number
                       where place <= indnkeyatts order by place);
  if same is null then
    execute format('create %sindex %I on public.%I (%s)%s', case when as_unique then 'unique ' else '' end, name, on_table,
                   (select string_agg(quote_ident(one), ', ' order by place)
                      from unnest(over) with ordinality as each (one, place)),
                   case when only_if = '' then '' else ' where ' || only_if end);
  elsif array_length(same, 1) > 1 and name = any (same) then
    execute format('drop index public.%I', name);  -- an older version made it beside one that was there
  end if;
end $$;

