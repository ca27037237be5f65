-- ------------------------------------------------------------------------------------------------ bookings: read, told
--
-- Tables differ: times are instants, or local times beside a date, and the columns have one of two pairs of names. What
-- looks at them is made from the columns that the table has now.

do $$
declare
  has constant jsonb := ezrec.columns('bookings');
  own_id constant text := has ->> 'id';
  own_user constant text := has ->> 'user_id';
  own_camera constant text := has ->> 'camera_id';
  starts constant text := case when has ? 'start_time' then 'start_time' else 'starts_at' end;
  first_day constant text := 'now() - interval ''3 days''';
  end_day constant text := 'now() + make_interval(days => days + 2)';
  shown constant text := (
    select string_agg(format('%L, one.%I', key, key), ', ' order by key) from jsonb_object_keys(has) as key
     where key in ('id', 'status', 'start_time', 'end_time', 'starts_at', 'ends_at', 'date'));
  near text;  -- whether a row lies in the days that matter
  mine text := format('one.user_id = owner::%s and one.camera_id = court::%s', own_user, own_camera);
  mine_too text := format('one.user_id = owner::%s and (one.camera_id::text = any (also || court) '
                          'or one.camera_id is null and '''' = any (also))', own_user);
begin
  select string_agg(case
           when has ->> key like 'timestamp%' or has ->> key = 'date'
           then format('(one.%1$I >= %2$s and one.%1$I < %3$s)', key, first_day, end_day)
           else format('(one.%1$I >= to_char(%2$s, ''YYYY-MM-DD'') and one.%1$I < to_char(%3$s, ''YYYY-MM-DD''))', key, first_day,
                       end_day) end, ' or ') into near
    from unnest(array[starts, 'date']) as key
   where has ->> key is not null and has ->> key not like 'time %' and has ->> key <> 'time'
     and not (key = 'date' and has ->> starts like 'timestamp%');
  near := coalesce(near, 'true');

  execute format($f$
create or replace function ezrec.bookings_of(owner text, court text, also text[], days integer)
returns table (said jsonb, cancelled jsonb) language plpgsql stable set search_path = '' as $b$
begin
  if also = '{}' then
    return query select jsonb_build_object(%1$s), to_jsonb(one) from public.bookings as one
      where %2$s and (%4$s) order by one.id;
  else
    return query select jsonb_build_object(%1$s), to_jsonb(one) from public.bookings as one
      where %3$s and (%4$s) order by one.id;
  end if;
end $b$ $f$, shown, mine, mine_too, near);

  execute format($f$
create or replace function ezrec.mark_of(owner text, court text, also text[], days integer) returns text
language plpgsql stable set search_path = '' as $b$
declare
  mark text;
begin
  if also = '{}' then
    select count(*) || '.' || coalesce(sum(one.xmin::text::bigint), 0) into mark
      from public.bookings as one where %1$s and (%3$s);
  else
    select count(*) || '.' || coalesce(sum(one.xmin::text::bigint), 0) into mark
      from public.bookings as one where %2$s and (%3$s);
  end if;
  return mark;
end $b$ $f$, mine, mine_too, near);

  execute format($f$
create or replace function ezrec.booking_for(booking text, owner text, court text, also text[], out known boolean,
  out own boolean, out shown text, out row_id %1$s)
language plpgsql set search_path = '' as $b$
begin
  known := false;
  select true, one.user_id::text = owner and (one.camera_id::text = any (also || court)
           or one.camera_id is null and '' = any (also)), coalesce(one.status::text, ''), one.id
    into known, own, shown, row_id from public.bookings as one where one.id = booking::%1$s for update;
  known := coalesce(known, false);
  own := coalesce(own, false);
exception when data_exception then  -- an id that this table cannot have
  known := false;
  own := false;
end $b$ $f$, own_id);
end $$;
comment on function ezrec.bookings_of is 'A court''s bookings of the days that matter, and each row whole.';
comment on function ezrec.mark_of is 'Another text whenever one of those bookings was made, changed or deleted.';
comment on function ezrec.booking_for is 'Whether there is a booking, whether it is this court''s, and its status.';

create or replace function ezrec.tell(booking text, owner text, court text, also text[], options jsonb, ours text, why text,
  more_cancelled text[] default '{}') returns text language plpgsql set search_path = '' as $$
declare
  found_row record;
  theirs constant text := ezrec.word(ours, options);
begin
  found_row := ezrec.booking_for(booking, owner, court, also);
  if not found_row.own then
    return null;
  elsif theirs = '' or not ezrec.may_tell(found_row.shown, ours, options, more_cancelled) then
    return found_row.shown;
  end if;
  execute format('update public.bookings set status = %L, status_reason = $1 where id = $2', theirs)
    using why, found_row.row_id;
  return theirs;
end $$;
comment on function ezrec.tell is 'Moves a booking''s status on, if it may; the word it has then, or null: no such booking.';

drop function if exists public.ezrec_bookings(jsonb, integer);  -- an older one's answer has fewer columns
create function public.ezrec_bookings(court jsonb, days integer default 30)
returns table (mark text, bookings jsonb, device_options jsonb) language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  dropped constant text[] := case when who.options ? 'cancelled_columns' then ezrec.words_of(who.options -> 'cancelled_columns')
                                  else array['deleted_at'] end;
begin
  days := least(greatest(days, 1), 365);
  mark := ezrec.mark_of(who.user_id, who.camera_id, who.also, days);
  select coalesce(jsonb_agg(case when exists (
           select from unnest(dropped) as name where coalesce(cancelled ->> name, 'false') not in ('false', '0', ''))
           then said || '{"status": "cancelled"}' else said end), '[]') into bookings
    from ezrec.bookings_of(who.user_id, who.camera_id, who.also, days);
  device_options := case when who.device is not null then who.options end;
  return next;
end $$;
comment on function public.ezrec_bookings is
  'A court''s bookings (three days back, so many ahead) in one answer, and their mark: while that is the same, nothing has '
  'changed. A row that is deleted softly comes as a cancelled one. device_options: how a device''s court keeps them.';

create or replace function public.ezrec_beat(court jsonb, status jsonb, days integer default 30)
returns table (mark text, other_device text) language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  asked constant jsonb := case jsonb_typeof(court) when 'string' then (court #>> '{}')::jsonb else court end;
  given constant jsonb := case jsonb_typeof(status) when 'string' then (status #>> '{}')::jsonb else status end
    || jsonb_build_object('user_id', who.user_id, 'camera_id', who.camera_id);
  said public.system_status;
  sender constant text := left(asked ->> 'box', 200);
  lately constant timestamptz := now() - make_interval(secs => greatest(30, 3 * least(3600,
    coalesce((asked ->> 'beat_s')::float8, 0))));
  tries integer := 0;
begin
  begin
    said := jsonb_populate_record(null::public.system_status, given);
  exception when data_exception then
    said := jsonb_populate_record(null::public.system_status, ezrec.fitted('system_status', given));
  end;
  if who.device is not null and (who.seen is null or who.seen < now() - interval '1 minute') then
    update public.ezrec_devices set last_seen = now() where id = who.device;
  end if;
  loop
    update public.system_status as row set
      updated_at = said.updated_at, cpu_percent = said.cpu_percent, memory_percent = said.memory_percent,
      memory_mb = said.memory_mb, disk_free_mb = said.disk_free_mb, disk_percent = said.disk_percent,
      temperature_c = said.temperature_c, throttled = said.throttled, recording = said.recording,
      current_booking_id = said.current_booking_id, cameras = said.cameras, preflight = said.preflight,
      queues = said.queues, last_error = said.last_error, last_error_at = said.last_error_at, version = said.version,
      uptime_s = said.uptime_s, started_at = said.started_at, degraded = said.degraded, heard_at = now(),
      device_id = who.device::text, box = sender,
      -- a box that was started anew is another one, too, but the one before does not come back
      other_device = case when row.heard_at <= lately then row.other_device
                          when row.device_id <> who.device::text then coalesce(row.box, row.device_id)
                          when row.box <> sender then row.box else row.other_device end,
      other_device_at = case when row.heard_at > lately and (row.device_id <> who.device::text
                                  or row.box <> sender and row.other_device = sender) then row.heard_at
                             when row.box <> sender then null else row.other_device_at end
     where row.user_id = said.user_id and row.camera_id = said.camera_id
    returning case when row.other_device_at > lately then row.other_device end into other_device;
    exit when found or tries > 1;
    tries := tries + 1;
    -- the row of a project that had one for each owner is taken over; else there is none yet
    update public.system_status as row set camera_id = said.camera_id
     where row.ctid = (select old.ctid from public.system_status as old where old.user_id = said.user_id
                          and (old.camera_id is null or old.camera_id::text = any (who.also)) limit 1);
    if not found then
      insert into public.system_status (user_id, camera_id) values (said.user_id, said.camera_id)
      on conflict (user_id, camera_id) do nothing;
    end if;
  end loop;
  mark := ezrec.mark_of(who.user_id, who.camera_id, who.also, least(greatest(days, 1), 365));
  return next;
end $$;
comment on function public.ezrec_beat is
  'A heartbeat: takes a court''s row of system_status, and answers with the mark of its bookings (ezrec_bookings) and with '
  'another device that reports for the same court, if there is one.';

create or replace function public.ezrec_tell(court jsonb, booking text, status text, reason text default null)
returns table (word text, problem text) language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  if status not in ('recording', 'completed', 'video_processed', 'video_uploaded', 'failed') then
    raise exception 'status may not be %', status using errcode = '22023';
  end if;
  begin
    word := ezrec.tell(booking, who.user_id, who.camera_id, who.also, who.options, status, reason);
  exception
    when transaction_rollback or lock_not_available or query_canceled then raise;
    when others then
      problem := sqlerrm || ' (' || sqlstate || ')';
  end;
  if word is not null or problem is not null then
    return next;
  end if;
end $$;
comment on function public.ezrec_tell is
  'Tells a booking''s owner what became of it: moves its status on, if it may. The word that it has then, or why it '
  'cannot be told; nothing, if this court has no such booking.';

-- ---------------------------------------------------------------------- bookings: made, changed and cancelled at the court

create or replace function public.ezrec_booking_put(court jsonb, booking jsonb) returns table (id text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  has constant jsonb := ezrec.columns('bookings');
  given jsonb := ezrec.object(booking);
  found_row record;
begin
  id := given ->> 'id';
  if id is null or id !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' or id ~ '[.][.]' then
    raise exception 'a booking needs an id: letters, digits, . _ -, at most 128' using errcode = '22023';
  end if;
  found_row := ezrec.booking_for(id, who.user_id, who.camera_id, who.also);
  if found_row.known and not found_row.own then
    raise exception 'booking % is another court''s', id using errcode = '42501';
  end if;
  given := jsonb_strip_nulls(jsonb_build_object(
    'start_time', given -> 'start_time', 'end_time', given -> 'end_time', 'starts_at', given -> 'start_time',
    'ends_at', given -> 'end_time', 'date', given -> 'date', 'email', given -> 'email', 'title', given -> 'title'));
  if not found_row.known then
    given := given || jsonb_build_object('id', id, 'user_id', who.user_id, 'camera_id', who.camera_id,
                                         'status', 'scheduled');
  end if;
  given := (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(given) where has ? key);
  if found_row.known then
    execute (select format('update public.bookings set %s where id = $1', string_agg(format('%I = %L::%s', key, value,
                           has ->> key), ', ')) from jsonb_each_text(given)) using found_row.row_id;
  else
    execute (select format('insert into public.bookings (%s) values (%s)', string_agg(quote_ident(key), ', ' order by key),
                           string_agg(format('%L::%s', value, has ->> key), ', ' order by key)) from jsonb_each_text(given));
  end if;
  return next;
end $$;
comment on function public.ezrec_booking_put is
  'Makes a booking of this court, or changes its times (id, start_time, end_time; date, email, title if given); again '
  'changes nothing.';

create or replace function public.ezrec_booking_cancel(court jsonb, booking text) returns table (word text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  found_row constant record := ezrec.booking_for(booking, who.user_id, who.camera_id, who.also);
begin
  if found_row.own then
    word := 'cancelled';
    if lower(trim(found_row.shown)) <> word then
      update public.bookings as row set status = 'cancelled' where row.id = found_row.row_id;
    end if;
    return next;
  end if;
end $$;
comment on function public.ezrec_booking_cancel is 'Cancels a booking of this court; nothing, if it has no such booking.';

