#!/bin/sh
# Make sure of a headless browser for the tests of pages: Debian's chromium and chromium-driver.
set -eu
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
echo "Chromium is missing; installing Debian's chromium and chromium-driver."
if [ "$(id -u)" = 0 ]; then root=; else root=sudo; fi
{ $root apt-get update -qq && $root apt-get install -y -qq --no-install-recommends chromium chromium-driver; } ||
    { echo 'Install them with: sudo apt-get install chromium chromium-driver' >&2; exit 1; }
