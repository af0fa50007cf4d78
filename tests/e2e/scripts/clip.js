// Chooses a video file, made here: a second of stripes that move.
async () => {
  const canvas = document.createElement('canvas');
  canvas.width = 320;
  canvas.height = 240;
  const context = canvas.getContext('2d');
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: 'video/webm' });
  const pieces = [];
  recorder.addEventListener('dataavailable', ({ data }) => pieces.push(data));
  const ended = new Promise((resolve) => recorder.addEventListener('stop', resolve));
  recorder.start();
  for (let step = 0; step < 20; step += 1) {
    for (let stripe = -1; stripe < 8; stripe += 1) {
      context.fillStyle = stripe % 2 ? 'navy' : 'gold';
      context.fillRect(stripe * 40 + step * 2, 0, 40, 240);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  recorder.stop();
  await ended;
  const files = new DataTransfer();
  files.items.add(new File(pieces, 'stripes.webm', { type: 'video/webm' }));
  const field = document.querySelector('#clip');
  field.files = files.files;
  field.dispatchEvent(new Event('change', { bubbles: true }));
};
