// Wires the page: camera or photo → loop → server → view. The form itself works without any of this.

import { PaintError, generate, serverInfo } from './api.js';
import { closeCamera, explain } from './camera.js';
import { ControlPanel } from './controls.js';
import { FrameCutter, drawPhoto, extent, fit } from './frames.js';
import { Loop } from './loop.js';
import { CameraPicker } from './picker.js';
import { Store } from './store.js';
import { View, element } from './view.js';
import { words } from './words.js';

const INFO_EVERY_MS = 30_000;
const SAID_MS = 8_000;

const form = element('painter', HTMLFormElement);
const video = element('video', HTMLVideoElement);
const still = element('still', HTMLCanvasElement);
const device = element('device', HTMLSelectElement);
const mirror = element('mirror', HTMLInputElement);
const file = element('input', HTMLInputElement);

const store = new Store();
const view = new View(store);
const panel = new ControlPanel(form);
const picker = new CameraPicker(device, mirror);
const cutter = new FrameCutter();
const loop = new Loop({ grab, paint: generate });

/** @type {MediaStream | null} */
let stream = null;
/** Which opening of a source is the latest; an earlier one that is answered late is thrown away. */
let opening = 0;

/** Asks the server what it has now. */
async function learn() {
  const info = await serverInfo();
  loop.limit = info.available_gpus;
  panel.offer(info.models);
  shape();
}

/** @returns {Promise<FormData>} the next frame with its parameters */
async function grab() {
  if (!panel.model) await learn();
  if (!panel.model) throw new PaintError(503, words.noModel);
  const live = store.state.phase === 'live';
  const frame = await cutter.cut(live ? video : still, panel.model.size, live && store.state.mirrored);
  const fields = panel.fields();
  fields.set('input', frame, 'frame.jpg');
  return fields;
}

/** Shows the camera or the photo cropped as the model crops it. */
function shape() {
  const [width, height] = extent(store.state.phase === 'photo' ? still : video);
  if (!width || !panel.model) return;
  const frame = fit(width, height, panel.model.size);
  view.shape(frame.width, frame.height);
}

function stop() {
  opening += 1;
  loop.stop();
  closeCamera(stream);
  stream = null;
  video.srcObject = null;
  store.set({ phase: 'idle', status: '', alert: '' });
}

async function start() {
  if (store.state.phase === 'opening') return;
  stop();
  const mine = opening;
  store.set({ phase: 'opening', trouble: null });
  try {
    const opened = await picker.open();
    if (mine !== opening) return closeCamera(opened.stream);
    stream = opened.stream;
    stream.getVideoTracks()[0].addEventListener('ended', () => {
      if (mine !== opening) return;
      stop();
      store.set({ trouble: words.cameraEnded });
    });
    video.srcObject = stream;
    await video.play();
    if (mine !== opening) return;
    if (opened.substitute) sayForAWhile(words.chosenCameraGone);
  } catch (error) {
    if (mine !== opening) return;
    stop();
    store.set({ trouble: explain(error) });
    return;
  }
  await picker.offer(stream);
  if (mine !== opening) return;
  file.value = '';
  store.set({ phase: 'live', painting: null, mirrored: mirror.checked });
  shape();
  loop.start({ once: false });
}

/** @param {string} text */
function sayForAWhile(text) {
  store.set({ status: text });
  setTimeout(() => store.state.status === text && store.set({ status: '' }), SAID_MS);
}

async function paintPhoto() {
  const photo = file.files?.[0];
  if (!photo) return;
  stop();
  const mine = opening;
  try {
    await drawPhoto(photo, still);
  } catch {
    if (mine === opening) store.set({ trouble: words.noPicture });
    return;
  }
  if (mine !== opening) return;
  store.set({ phase: 'photo', painting: null, trouble: null });
  shape();
  loop.start({ once: true });
}

function savePicture() {
  const { painting } = store.state;
  if (!painting) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(painting.blob);
  link.download = `livewebcam-${painting.job || 'picture'}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const toggle = () => (store.state.phase === 'live' ? stop() : start());

loop.addEventListener('painted', (event) => {
  const { painting, recovered } = /** @type {CustomEvent} */ (event).detail;
  const before = store.state.painting;
  const news = [
    painting.clamped && painting.clamped !== before?.clamped ? words.clamped(painting.clamped) : '',
    painting.warnings && painting.warnings !== before?.warnings ? words.warned(painting.warnings) : '',
  ].filter(Boolean);
  store.set({ painting });
  if (recovered) store.set({ status: '', alert: '' });
  if (news.length > 0) sayForAWhile(news.join(' '));
});
loop.addEventListener('retrying', (event) => {
  const { error, seconds } = /** @type {CustomEvent} */ (event).detail;
  if (error.status === 0) store.set({ status: words.lost(seconds), alert: '' });
  else if (error.status === 429) store.set({ status: words.busy(seconds), alert: '' });
  else store.set({ status: '', alert: words.failed(error.message, seconds) });
});
loop.addEventListener('refused', (event) => {
  store.set({ status: '', alert: /** @type {CustomEvent} */ (event).detail.message });
  learn().catch(() => {});
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;
panel.addEventListener('change', (event) => {
  const { model } = /** @type {CustomEvent} */ (event).detail;
  view.showStyle();
  if (model) shape();
  clearTimeout(settling);
  settling = setTimeout(() => loop.changed({ restart: model }), model ? 0 : 150);
});

element('start', HTMLButtonElement).addEventListener('click', start);
element('toggle', HTMLButtonElement).addEventListener('click', toggle);
element('save', HTMLButtonElement).addEventListener('click', savePicture);
for (const button of document.querySelectorAll('.choose')) button.addEventListener('click', () => file.click());
device.addEventListener('change', () => store.state.phase === 'live' && start());
mirror.addEventListener('change', () => store.set({ mirrored: mirror.checked }));
video.addEventListener('resize', shape);
file.removeAttribute('capture'); // it would keep phones from offering their album
file.addEventListener('change', paintPhoto);
form.noValidate = true; // nothing is submitted any more
form.addEventListener('submit', (event) => event.preventDefault());
document.addEventListener('keydown', (event) => {
  const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
  if (event.code !== 'Space' || modified || event.repeat || document.activeElement !== document.body) return;
  event.preventDefault();
  toggle();
});
navigator.mediaDevices?.addEventListener('devicechange', () => stream && picker.offer(stream));
window.addEventListener('pagehide', stop);

learn().catch(() => {});
setInterval(() => {
  if (!document.hidden && store.state.phase !== 'idle') learn().catch(() => {});
}, INFO_EVERY_MS);
view.showStyle();
