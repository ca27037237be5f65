-- ---------------------------------------------------------------------------------------------------- who may do what

create or replace function ezrec.open_doors() returns table (about text, problem text, remedy text)
language plpgsql stable set search_path = '' as $$
declare
  one record;
begin
  for one in  -- tables without row level security
    select relname::text as name, string_agg(distinct role || ' may ' || lower(verb), ', ' order by role || ' may ' || lower(verb)) as may
      from pg_catalog.pg_class, unnest(array['anon', 'authenticated', 'ezrec_device']) as role,
           unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as verb
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and (not relrowsecurity or role = 'ezrec_device')
       and relname in ('bookings', 'videos', 'system_status', 'user_settings', 'shared_links', 'cameras', 'recordings')
       and role in (select rolname from pg_catalog.pg_roles)
       and (has_table_privilege(role, pg_class.oid, verb)
            or verb <> 'DELETE' and has_any_column_privilege(role, pg_class.oid, verb))
     group by relname
  loop
    about := one.name;
    problem := 'the table is open: ' || one.may;
    remedy := format('alter table public.%I enable row level security; revoke all on public.%1$I from anon, authenticated, '
                     'public;', one.name);
    return next;
  end loop;
  for one in  -- policies that let everybody in
    select tablename::text as name, policyname::text as policy, cmd, roles
      from pg_catalog.pg_policies
     where schemaname = 'public' and permissive = 'PERMISSIVE' and roles && array['public', 'anon', 'authenticated']::name[]
       and tablename in ('bookings', 'videos', 'system_status', 'user_settings', 'shared_links', 'cameras', 'recordings')
       and (qual = 'true' or qual is null and with_check = 'true')
       and exists (select from unnest(array['anon', 'authenticated']) as role
                    where (roles && array['public', role]::name[])
                      and has_any_column_privilege(role, format('public.%I', tablename)::regclass, 'SELECT, INSERT, UPDATE'))
  loop
    about := one.name;
    problem := format('the policy %s lets %s %s every row', one.policy, array_to_string(one.roles, ', '),
                      case one.cmd when 'ALL' then 'read and change' else lower(one.cmd) end);
    remedy := format('drop policy %I on public.%I;', one.policy, one.name);
    return next;
  end loop;
  for one in  -- views that read with their owner's rights
    select distinct seen.relname::text as name
      from pg_catalog.pg_depend join pg_catalog.pg_rewrite on pg_rewrite.oid = objid
      join pg_catalog.pg_class as seen on seen.oid = ev_class
      join pg_catalog.pg_class as base on base.oid = refobjid
     where pg_depend.classid = 'pg_catalog.pg_rewrite'::regclass and seen.relkind = 'v'
       and seen.relnamespace = 'public'::regnamespace and base.relnamespace = 'public'::regnamespace
       and base.relname in ('bookings', 'videos', 'system_status', 'user_settings', 'shared_links')
       and not coalesce(seen.reloptions && array['security_invoker=true', 'security_invoker=on'], false)
       and exists (select from unnest(array['anon', 'authenticated']) as role
                    where role in (select rolname from pg_catalog.pg_roles) and has_table_privilege(role, seen.oid, 'SELECT'))
  loop
    about := one.name;
    problem := 'the view shows rows of EZREC''s tables to whoever may read it, whatever their policies say';
    remedy := format('alter view public.%I set (security_invoker = on);', one.name);
    return next;
  end loop;
end $$;
comment on function ezrec.open_doors is 'Which tables of the project are open to strangers, and what would close them. Nothing is changed.';
comment on function public.ezrec_check is
  'What of this court''s rows the project would not take, what is open to strangers, and which rows are there twice or '
  'point nowhere (about ends with " rows"), each with what would put it right. Nothing is changed.';

do $$
declare
  one record;
  verb text;
  for_device constant text[] := array['ezrec_version', 'ezrec_check', 'ezrec_bookings', 'ezrec_beat', 'ezrec_tell',
    'ezrec_booking_put', 'ezrec_booking_cancel', 'publish_video', 'ezrec_videos', 'ezrec_settings', 'ezrec_mark_put',
    'ezrec_clip_put', 'ezrec_erase', 'ezrec_link_make', 'ezrec_link_revoke'];
  for_anybody constant text[] := array['ezrec_link_seen'];
begin
  for one in select name from made_here loop
    execute format('alter table public.%I enable row level security', one.name);
  end loop;
  for one in select oid::regprocedure as name from pg_proc where pronamespace = 'ezrec'::regnamespace
                or pronamespace = 'public'::regnamespace and (proname ~ '^ezrec_' or proname = 'publish_video') loop
    execute format('revoke all on function %s from public, ezrec_device', one.name);
  end loop;
  revoke all on schema ezrec from public;
  if (select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')) < 3 then
    return;  -- not a Supabase project: whoever owns the tables decides
  end if;

  for one in select name from made_here loop
    execute format('revoke all on public.%I from anon, authenticated', one.name);
  end loop;
  for one in select granted_before.name, policy.policyname from granted_before  -- what version 0.1.0 granted
               join pg_policies as policy on schemaname = 'public' and tablename = name and policyname = 'ezrec_device' loop
    execute format('drop policy ezrec_device on public.%I', one.name);
    if (select made from granted_before where name = one.name) then
      foreach verb in array array['SELECT', 'INSERT', 'UPDATE'] loop
        if not exists (select from pg_policies where schemaname = 'public' and tablename = one.name and cmd in (verb, 'ALL')
                          and roles && array['public', 'authenticated']::name[]) then  -- the venue's own rule needs it
          execute format('revoke %s on public.%I from authenticated', verb, one.name);
          if one.name = 'bookings' and verb = 'UPDATE' then
            revoke update (status, status_reason) on public.bookings from authenticated;
          end if;
        end if;
      end loop;
    end if;
  end loop;
  begin
    drop function if exists public.ezrec_claim(text);
  exception when dependent_objects_still_exist then null;  -- a rule of the venue's own uses it
  end;

  grant all on public.bookings, public.videos, public.system_status, public.user_settings, public.shared_links,
    public.ezrec_devices, public.ezrec_marks, public.ezrec_clips to service_role;
  grant usage on schema public to ezrec_device;
  grant usage on schema ezrec to anon, service_role;
  for one in select oid::regprocedure as name, proname, pronamespace = 'public'::regnamespace as outer_one from pg_proc
              where pronamespace = 'ezrec'::regnamespace
                 or pronamespace = 'public'::regnamespace and (proname ~ '^ezrec_' or proname = 'publish_video') loop
    execute format('revoke all on function %s from anon, authenticated, service_role', one.name);
    if one.outer_one and one.proname !~ '^ezrec_stamp_' or one.proname = 'count_view' then
      execute format('grant execute on function %s to service_role', one.name);
    end if;
    if one.proname = any (for_device) then
      execute format('grant execute on function %s to ezrec_device', one.name);
    elsif one.proname = any (for_anybody || array['count_view']) then
      execute format('grant execute on function %s to anon', one.name);
    end if;
  end loop;
end $$;

-- Logs go to the bucket logs, below the court's own folder, and nowhere else.
create or replace function ezrec.may_log(bucket text, name text) returns boolean language plpgsql stable security definer
set search_path = '' as $$
begin
  return bucket = 'logs' and split_part(name, '/', 1) = (ezrec.caller('{}')).camera_id and split_part(name, '/', 2) <> '';
end $$;
comment on function ezrec.may_log is 'Whether a device may put an object there.';
revoke all on function ezrec.may_log from public;
do $$ begin
  if to_regclass('storage.objects') is null then
    return;
  end if;
  grant usage on schema ezrec, storage to ezrec_device;
  grant execute on function ezrec.may_log to ezrec_device;
  grant insert on storage.objects to ezrec_device;
  drop policy if exists ezrec_logs on storage.objects;
  create policy ezrec_logs on storage.objects for insert to ezrec_device with check (ezrec.may_log(bucket_id, name));
exception when insufficient_privilege then
  raise warning 'devices cannot send their logs: %: make the policy ezrec_logs on storage.objects by hand', sqlerrm;
end $$;

drop function ezrec.keep_index(text, text, text[], boolean, text);
drop function ezrec.feed_with(text, jsonb);

do $$ declare
  owner text := coalesce((select user_id from public.ezrec_devices limit 1), (select user_id::text from public.system_status limit 1),
                         (select user_id::text from public.bookings limit 1), '00000000-0000-4000-8000-000000000000');
  one record;
begin
  insert into ezrec.version (version) select 1 where 1 is distinct from (select max(version) from ezrec.version);
  for one in select * from ezrec.problems(owner, 'ezrec-trial', '{}') union all select * from ezrec.open_doors() loop
    raise warning E'%: %\n  %', one.about, one.problem, one.remedy;
  end loop;
end $$;

set ezrec.done = 'yes';  -- taken back with everything else if something failed
notify pgrst, 'reload schema';
commit;

do $$ begin  -- a psql that does not stop at errors would end with status 0
  if current_setting('ezrec.done', true) = 'no' then
    perform pg_terminate_backend(pg_backend_pid());
  end if;
end $$;
