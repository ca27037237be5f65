-- ----------------------------------------------------------------------------------- tables that were there before us
--
-- Older pages go on reading the columns they know: triggers fill them from ours. Each is made anew from the columns that
-- the table has now.

create or replace function ezrec.columns(of_table text) returns jsonb language sql stable set search_path = '' as $$
  select coalesce(jsonb_object_agg(attname, format_type(atttypid, null)), '{}')
    from pg_catalog.pg_attribute
   where attrelid = to_regclass('public.' || of_table) and attnum > 0 and not attisdropped $$;
comment on function ezrec.columns is 'The columns of a table of ours, with their types.';

do $$ declare  -- one owner, several courts: an older key allowed one row for each owner
  one record;
begin
  for one in select conname from pg_constraint
              where conrelid = 'public.system_status'::regclass and contype = 'u'
                and conkey = array(select attnum from pg_attribute where attrelid = conrelid and attname = 'user_id') loop
    execute format('alter table public.system_status drop constraint %I', one.conname);
  end loop;
  for one in select indexrelid::regclass as name from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
              where indrelid = 'public.system_status'::regclass and indisunique and not indisprimary
                and indnatts = 1 and attname = 'user_id' loop
    execute format('drop index %s', one.name);
  end loop;
end $$;

create or replace function ezrec.feed_with(of_table text, old_columns jsonb) returns text language sql stable
set search_path = '' as $$  -- assignments to those of the old columns that the table has
  select coalesce(string_agg(format('new.%I := %s;', key, value), e'\n    '), '')
    from jsonb_each_text(old_columns) where ezrec.columns(of_table) ? key $$;

do $$ declare
  feed text := ezrec.feed_with('system_status', jsonb_build_object(
    'last_heartbeat', 'coalesce(new.heard_at, new.updated_at)', 'is_recording', 'coalesce(new.recording, false)',
    'pi_active', 'true', 'cpu_usage', 'new.cpu_percent', 'cpu_usage_percent', 'new.cpu_percent',
    'memory_usage', 'new.memory_percent', 'disk_usage', 'new.disk_percent',
    'disk_free_gb', 'new.disk_free_mb / 1024.0', 'temperature_celsius', 'new.temperature_c',
    'uptime_seconds', 'new.uptime_s', 'uptime_start', 'new.started_at',
    'storage_used', 'case when new.disk_percent < 100 then '
                    'round((new.disk_free_mb / (100 - new.disk_percent) * new.disk_percent * 1048576)::numeric) end'));
  had constant jsonb := ezrec.columns('cameras');
  court text := (select string_agg(format('%I = %s', key, value), ', ') from jsonb_each_text(jsonb_build_object(
    'status', '''online''', 'camera_on', 'true', 'is_recording', 'coalesce(new.recording, false)',
    'last_seen', 'coalesce(new.heard_at, new.updated_at)')) where had ? key);
begin
  drop trigger if exists ezrec_feed_old_columns on public.system_status;
  drop function if exists ezrec.feed_old_columns();
  if feed <> '' then
    execute format($f$
create function ezrec.feed_old_columns() returns trigger language plpgsql security definer set search_path = '' as $b$
begin
  begin
    %s
  exception when others then null;  -- an old column that takes no value of ours must not cost a heartbeat
  end;
  return new;
end $b$ $f$, feed);
    comment on function ezrec.feed_old_columns is 'Fills the columns of system_status that older pages read.';
    create trigger ezrec_feed_old_columns before insert or update on public.system_status for each row
      when (new.version is not null) execute function ezrec.feed_old_columns();
  end if;

  drop trigger if exists ezrec_feed_cameras on public.system_status;
  drop function if exists ezrec.feed_cameras();
  if had ?& array['id', 'user_id'] and court <> '' then
    execute format($f$
create function ezrec.feed_cameras() returns trigger language plpgsql security definer set search_path = '' as $b$
begin
  update public.cameras set %s where id::text = new.camera_id::text and user_id::text = new.user_id::text;
  return new;
exception when others then return new;
end $b$ $f$, court);
    comment on function ezrec.feed_cameras is 'Says in the older table cameras that a court is there.';
    create trigger ezrec_feed_cameras after insert or update on public.system_status for each row
      when (new.version is not null) execute function ezrec.feed_cameras();
  end if;
end $$;

do $$ declare  -- links of an older page are found by the hash of their token; its own rows go on working
  has constant jsonb := ezrec.columns('shared_links');
  one text;
begin
  drop trigger if exists ezrec_keep_hash on public.shared_links;
  drop function if exists ezrec.keep_hash();
  if not has ? 'token' then
    return;
  end if;
  foreach one in array array['token', 'video_key'] loop
    if has ? one then
      execute format('alter table public.shared_links alter column %I drop not null', one);  -- new links have none
    end if;
  end loop;
  execute format($f$
create function ezrec.keep_hash() returns trigger language plpgsql security definer set search_path = '' as $b$
begin
  if new.token is not null then
    new.token_hash := encode(sha256(convert_to(new.token::text, 'UTF8')), 'hex');
  end if;
  %s
  return new;
end $b$ $f$, case when has ? 'revoked' then
    'if new.revoked and new.revoked_at is null then new.revoked_at := now(); end if;
  new.revoked := new.revoked_at is not null;' else '' end
    || case when has ? 'access_count' then '
  if tg_op = ''UPDATE'' then
    new.access_count := coalesce(new.access_count, 0) + new.views - old.views;
  end if;' else '' end);
  comment on function ezrec.keep_hash is 'Hashes the tokens that older pages write, and fills the columns that they read.';
  update public.shared_links
     set token_hash = encode(sha256(convert_to(token::text, 'UTF8')), 'hex') where token_hash is null and token is not null;
  if has ? 'video_key' then
    update public.shared_links as link set recording_id = film.recording_id, camera_id = film.camera_id
      from public.videos as film
     where link.recording_id is null and film.storage_path = link.video_key
       and film.user_id::text = link.user_id::text and film.camera_id is not null;
  end if;
  if has ? 'revoked' then
    update public.shared_links set revoked_at = now() where revoked and revoked_at is null;
  end if;
  create trigger ezrec_keep_hash before insert or update on public.shared_links for each row
    execute function ezrec.keep_hash();
end $$;

