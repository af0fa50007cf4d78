#!/bin/sh
# Paints the small picture of every style that the page's style picker shows: a face, in <style-with-dashes>.jpg.
# To be run again when the model or its styles change. Needs ImageMagick (Debian: imagemagick) and the built runner.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
runner=$top/target/release/livewebcam-runner
if [ ! -x "$runner" ]; then
    echo "$runner is missing; build it with: cargo build --release -p livewebcam-runner" >&2
    exit 1
fi
if ! command -v convert >/dev/null; then
    echo "ImageMagick's convert is missing; install it with: apt-get install imagemagick" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Painted at twice the size, so that the strokes are as fine beside the face as in a webcam's frame.
convert "$top/tests/photos/astronaut.png" -crop 256x192+100+0 +repage -resize 384x288 "$work/frame.png"
"$runner" models --json | sed -n '/"styles"/,/]/s/.*"name": "\(.*\)".*/\1/p' >"$work/styles"
while read -r style; do
    "$runner" img2img --input "$work/frame.png" --output "$work/painting.png" --style "$style"
    file=$here/$(printf %s "$style" | tr ' ' '-').jpg
    convert "$work/painting.png" -resize 192x144 -strip -sampling-factor 4:2:0 -interlace Plane \
        -define jpeg:extent=7900B "$file"
done <"$work/styles"
ls -l "$here"
