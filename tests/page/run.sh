#!/usr/bin/env bash
# The pages in a real browser: `cargo test -p unspool-page` leaves them in target/tmp/pages, and this
# opens each in Chromium, walks through it by mouse and keyboard, and scans it for accessibility.
#
# Needs Node.js with npm, and Chromium; as root on Debian it installs what is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ ! -d target/tmp/pages ]]; then
    cargo test -p unspool-page --test pages
fi
found_chromium() { command -v chromium || command -v google-chrome || true; }
CHROMIUM=${CHROMIUM:-$(found_chromium)}
missing=()
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
[[ -n $CHROMIUM ]] || missing+=(chromium fonts-dejavu-core)
if ((${#missing[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null; then
    apt-get update -q > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" > /dev/null
    CHROMIUM=${CHROMIUM:-$(found_chromium)}
fi
if [[ -z $CHROMIUM ]]; then
    echo "Chromium is not there: install it, or name it in the variable CHROMIUM" >&2
    exit 1
fi
export CHROMIUM

# The packages belong beside the script that imports them, but not into the sources.
mkdir -p target/page-test
cp tests/page/package.json tests/page/package-lock.json tests/page/walk.mjs target/page-test/
(cd target/page-test && npm ci --no-audit --no-fund --silent)
node target/page-test/walk.mjs target/tmp/pages
