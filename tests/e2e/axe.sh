#!/bin/sh
# Prints the path of axe-core's script, which finds what keeps people out of a page. It is fetched once, and only that
# version with that content; the tests alone use it.
#
#   axe.sh FOLDER   the folder to keep it in
set -eu

version=4.10.3
sha256=0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292
script=$1/axe-core-$version.min.js

if ! [ -f "$script" ]; then
    mkdir -p "$1"
    work=$(mktemp -d "$1/axe-core.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    archive=axe-core-$version.tgz
    if command -v npm >/dev/null; then
        npm pack --silent "axe-core@$version" >/dev/null
    else
        curl --fail --silent --show-error --location --remote-name "https://registry.npmjs.org/axe-core/-/$archive"
    fi
    echo "$sha256  $archive" | sha256sum --check --quiet
    tar -xzf "$archive" package/axe.min.js
    mv package/axe.min.js "$script"
fi
echo "$script"
