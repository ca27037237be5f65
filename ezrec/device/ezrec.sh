#!/bin/sh
# The command `ezrec` of this device. Root's commands run as the recorder's user, so that they leave no files behind
# that the recorder may not write, with the secrets that systemd hands to the recorder.
set -u
program=/opt/ezrec-backend/current/venv/bin/python
export EZREC_CONFIG="${EZREC_CONFIG:-/etc/ezrec/config.toml}" PYTHONDONTWRITEBYTECODE=1
case "${1-}" in
install|uninstall|setup|migrate) exec "$program" -m ezrec "$@" ;;
esac
[ "$(id -u)" = 0 ] || exec "$program" -m ezrec "$@"
secrets=$(mktemp -d /run/ezrec-command.XXXXXX) || exit 1
trap 'rm -rf "$secrets"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for file in /etc/credstore/ezrec.*; do
    [ -e "$file" ] && install -m 0400 -o ezrec "$file" "$secrets/${file##*/ezrec.}"
done
chown ezrec "$secrets"
CREDENTIALS_DIRECTORY="$secrets" setpriv --reuid=ezrec --regid=ezrec --init-groups "$program" -m ezrec "$@"
