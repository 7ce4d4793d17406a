#!/bin/sh
# What a team would write by hand instead of plans/production.toml:
#
#   deploy.sh DEVELOPMENT PRODUCTION BACKUPS LOGS PORT
#
# PRODUCTION has the application and, in .venv, its packages. Where a step fails the script ends: what has to be undone is up to
# whoever called it, and the archive in BACKUPS is what there is for that.
set -eu
development=$1 production=$2 backups=$3 logs=$4 port=$5
now=$(date +%Y%m%d_%H%M%S)
python=$production/.venv/bin/python
log=$logs/service_$now.log

fail() {
    echo "deploy.sh: $*" >&2
    exit 1
}

# The pid that listens on the port; nothing where nobody does.
listener() {
    if command -v lsof >/dev/null; then
        lsof -nP -t -i "tcp:$port" -s tcp:listen || true
    else
        ss -Hltnp "sport = :$port" | sed -n 's/.*pid=\([0-9]*\).*/\1/p'
    fi
}

answers() {
    if command -v curl >/dev/null; then
        curl -fs -o /dev/null --max-time 5 "http://127.0.0.1:$port$1"
    else
        "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "http://127.0.0.1:$port$1" 2>/dev/null
    fi
}

# While the old version serves: backup, and tests of the new one. In-place, they can only run with the packages of the old one.
if command -v zip >/dev/null; then
    (cd "$production" && zip -qr "$backups/backup_$now.zip" .)
else
    "$python" -m zipfile -c "$backups/backup_$now.zip" "$production"
fi
(cd "$development" && PYTHONDONTWRITEBYTECODE=1 "$python" -m unittest discover -s tests)

old=$(listener)
if [ -n "$old" ]; then
    case $(ps -o args= -p "$old") in
        *"$production"*) ;;
        *) fail "someone else's program listens on port $port: process $old" ;;
    esac
    kill -INT "$old"
    looks=0
    while kill -0 "$old" 2>/dev/null; do
        looks=$((looks + 1))
        [ "$looks" -ne 200 ] || kill -KILL "$old"
        sleep 0.1
    done
fi

cp -a "$development/." "$production/"
"$python" -m pip --disable-pip-version-check install --quiet -r "$production/requirements.txt"

cd "$logs"
PYTHONUNBUFFERED=1 PYTHONUTF8=1 setsid "$python" "$production/serve.py" --host=127.0.0.1 "--port=$port" </dev/null >>"$log" 2>&1 &
new=$!
looks=0
until answers /; do
    kill -0 "$new" 2>/dev/null || fail "the new version has ended; see $log"
    looks=$((looks + 1))
    [ "$looks" -lt 900 ] || fail "the new version does not answer; see $log"
    sleep 0.1
done
answers /login || fail "the new version does not let anyone log in; see $log"
answers /api/status || fail "the new version does not tell its status; see $log"
