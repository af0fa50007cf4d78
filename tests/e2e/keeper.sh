#!/bin/sh
# Runs chromedriver until its standard input ends, which the tests hold open: however they end, by a kill too, chromedriver,
# the browsers that it started and their folder go with them.
#
#   keeper.sh FOLDER
set -u

# A session of its own is a process group of its own, which the browsers share.
TMPDIR=$1 setsid chromedriver --port=0 </dev/null &
read -r _
kill -s KILL -- "-$!"
wait
rm -rf "$1"
