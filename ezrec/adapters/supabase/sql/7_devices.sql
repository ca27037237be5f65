-- ------------------------------------------------------------------------------------- for the project's secret key alone

create or replace function public.ezrec_version() returns integer language sql stable set search_path = '' as
  $$ select 1 $$;
comment on function public.ezrec_version is 'Which version of these functions the project has.';

create or replace function public.ezrec_device_add(court jsonb, name text default '', options jsonb default '{}',
  replaces boolean default false) returns table (id uuid) language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  if replaces then
    update public.ezrec_devices as one set revoked_at = now()
     where one.user_id = who.user_id and one.camera_id = who.camera_id and one.revoked_at is null;
  end if;
  insert into public.ezrec_devices as made (user_id, camera_id, name, options)
  values (who.user_id, who.camera_id, ezrec_device_add.name, coalesce(ezrec.object(ezrec_device_add.options), '{}'))
  returning made.id into id;
  return next;
end $$;
comment on function public.ezrec_device_add is
  'Makes a device for a court; its id goes into its token as `sub`. With `replaces` all others of that court are revoked.';

create or replace function public.ezrec_device_revoke(device uuid)
returns table (id uuid, user_id text, camera_id text, revoked_at timestamptz) language sql security definer
set search_path = '' as $$
  update public.ezrec_devices as one set revoked_at = coalesce(one.revoked_at, now()) where one.id = device
  returning one.id, one.user_id, one.camera_id, one.revoked_at $$;
comment on function public.ezrec_device_revoke is 'Withdraws a device, from its next call on; nothing, if there is none.';

create or replace function public.ezrec_device_list(owner text default null) returns setof public.ezrec_devices
language sql stable security definer set search_path = '' as $$
  select * from public.ezrec_devices as one where owner is null or one.user_id = owner
   order by one.user_id, one.camera_id, one.created_at $$;
comment on function public.ezrec_device_list is 'All devices, or those of an owner.';

create or replace function public.ezrec_fleet(owner text default null, offline_s double precision default 15)
returns table (user_id text, camera_id text, state text, heard_at timestamptz, version text, recording boolean,
  booking_id text, films_waiting bigint, trouble text, last_error text, last_error_at timestamptz, other_device text)
language sql stable security definer set search_path = '' as $$
  select row.user_id::text, row.camera_id::text,
         case when coalesce(row.heard_at, row.updated_at) is null
                or coalesce(row.heard_at, row.updated_at) < now() - make_interval(secs => offline_s) then 'offline'
              when row.recording then 'recording' else 'ready' end,
         coalesce(row.heard_at, row.updated_at), row.version, row.recording, row.current_booking_id::text,
         (select coalesce(sum(count::bigint), 0)::bigint
            from jsonb_each_text(case jsonb_typeof(row.queues -> 'films') when 'object' then row.queues -> 'films'
                                 else '{}' end) as waiting (stage, count)),
         nullif(concat_ws('; ',
           case when row.other_device_at > now() - make_interval(secs => greatest(60, offline_s)) then 'two devices report for it' end,
           (select string_agg(case when part like '%: %' then part else 'being started again: ' || part end, '; ')
              from jsonb_array_elements_text(case jsonb_typeof(row.degraded) when 'array' then row.degraded else '[]' end)
                as part),
           case when (row.queues ->> 'parked')::bigint > 0 then (row.queues ->> 'parked') || ' films parked: '
                     || coalesce(row.queues ->> 'reason', '') end,
           case when row.throttled is not null then 'the processor is held back: ' || row.throttled end), ''),
         row.last_error, row.last_error_at,
         case when row.other_device_at > now() - make_interval(secs => greatest(60, offline_s)) then row.other_device end
    from public.system_status as row
   where owner is null or row.user_id::text = owner
   order by 1, 2 $$;
comment on function public.ezrec_fleet is
  'How each court is, of all owners or of one: offline after so many seconds without a heartbeat; films_waiting are not done yet.';

