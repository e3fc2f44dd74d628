#!/usr/bin/env bash
# What install.sh calls to put a version into its environment, and the one before back when the agent is not well with it.
#
#   update.sh ENVIRONMENT WATCH_SECONDS [PIP ARGUMENT...]
#
# Well: the unit said READY, is still active after so many seconds, and systemd had not to start it again.
set -euo pipefail

here=$1 watch_s=$2
shift 2
before=$here.before

put_back() {
  rm -rf "$here"
  mv "$before" "$here"
}

stays_up() {
  systemctl restart besace.service && sleep "$watch_s" && systemctl is-active --quiet besace.service &&
    [ "$(systemctl show --property=NRestarts --value besace.service)" = 0 ]
}

rm -rf "$before"
cp -al "$here" "$before" # links: pip writes anew what it changes
if ! "$here/bin/pip" --disable-pip-version-check --quiet install --upgrade "$@"; then
  put_back
  printf 'the packages cannot be installed; nothing was changed\nNext: see above\n' >&2
  exit 1
fi
[ -e "${BESACE_ETC:-/etc/besace}/besace.toml" ] || exit 0 # not enrolled: nothing runs yet
if stays_up; then
  echo "updated; the agent stays up"
else
  put_back
  systemctl restart besace.service || true
  printf 'the agent does not stay up with this version; the one before runs again\nNext: journalctl -u besace\n' >&2
  exit 1
fi
