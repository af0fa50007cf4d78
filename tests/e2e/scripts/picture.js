// What a canvas, a video or an image shows, in 48 × 36 samples.
(selector, mirrored) => {
  const source = document.querySelector(selector);
  const width = source.videoWidth ?? source.naturalWidth ?? source.width;
  const height = source.videoHeight ?? source.naturalHeight ?? source.height;
  const small = new OffscreenCanvas(48, 36);
  const context = small.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  if (mirrored) context.setTransform(-1, 0, 0, 1, small.width, 0);
  context.drawImage(source, 0, 0, small.width, small.height);
  const { data } = context.getImageData(0, 0, small.width, small.height);
  return { width, height, samples: [...data].filter((_, index) => index % 4 !== 3) };
};
