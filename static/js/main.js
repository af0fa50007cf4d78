// Wires the page: source → loop → server → view. The form itself works without any of this.

import { PaintError, generate, serverInfo } from './api.js';
import { wireBar } from './bar.js';
import { ControlPanel } from './controls.js';
import { button, element } from './dom.js';
import { FrameCutter, extent, fit } from './frames.js';
import { listen } from './keys.js';
import { followLink } from './link.js';
import { Loop } from './loop.js';
import { CameraPicker } from './picker.js';
import { drawSeed, markPreset, offerPresets, rollDice } from './presets.js';
import { SourceError, Sources } from './sources.js';
import { Store, recall, remember } from './store.js';
import { View } from './view.js';
import { allInOurWords, inOurWords, say, words } from './words.js';

/** @typedef {import('./sources.js').Kind} Kind */

const INFO_EVERY_MS = 10_000;
const SAID_MS = 8_000;
/** Milliseconds on the line beyond which smaller frames are better than beautiful ones. */
const SLOW_LINE_MS = 1000;

const kiosk = document.documentElement.matches('.kiosk');
followLink();
const form = element('painter', HTMLFormElement);
const video = element('video', HTMLVideoElement);
const photo = element('input', HTMLInputElement);
const clip = element('clip', HTMLInputElement);
const more = element('more', HTMLDetailsElement);

const store = new Store();
const view = new View(store);
const panel = new ControlPanel(form);
const picker = new CameraPicker();
const sources = new Sources(video, element('still', HTMLCanvasElement), picker);
const cutter = new FrameCutter();
const loop = new Loop({ grab, paint: generate });
const bar = wireBar(store, () => panel.fields(), sayForAWhile);

/** Asks the server what it has now. */
async function learn() {
  const info = await serverInfo();
  loop.share(info);
  view.figures.tell(info);
  panel.offer(info.models);
  shape();
}

/** @returns {Promise<FormData>} the next frame with its parameters */
async function grab() {
  if (!panel.model) await learn();
  if (!panel.model) throw new PaintError(503, words.noModel);
  const how = { mirror: sources.mirrored, aspect: picker.aspect };
  const frame = await cutter.cut(sources.element, panel.model.size, how);
  const fields = drawSeed(panel.fields());
  fields.set('input', frame, 'frame.jpg');
  return fields;
}

/** Shows the source cropped as the model crops it. */
function shape() {
  const [width, height] = extent(sources.element);
  if (!width || !panel.model) return;
  const frame = fit(width, height, panel.model.size, picker.aspect);
  view.shape(frame.width, frame.height);
}

function stop() {
  loop.stop();
  sources.stop();
  store.set({ phase: 'idle', paused: false, status: '', alert: '' });
}

/**
 * @param {Kind} kind
 * @param {File} [file]
 */
async function open(kind, file) {
  stop();
  store.set({ phase: kind === 'camera' || kind === 'screen' ? 'opening' : 'idle', trouble: null });
  try {
    if (!(await sources.open(kind, file))) return;
  } catch (error) {
    stop();
    if (!(error instanceof SourceError)) throw error;
    store.set({ trouble: error.reason });
    return;
  }
  if (kind !== 'photo') photo.value = '';
  store.set({ phase: kind === 'photo' ? 'photo' : 'live', painting: null, mirrored: sources.mirrored });
  if (sources.substitute) sayForAWhile(words.chosenCameraGone);
  shape();
  loop.start({ once: kind === 'photo' });
  learn().catch(() => {});
}

const start = () => store.state.phase !== 'opening' && open('camera');
const toggle = () => (store.state.phase === 'live' ? stop() : start());

function pause() {
  if (store.state.phase !== 'live') return;
  const paused = !store.state.paused;
  store.set({ paused });
  if (paused) {
    loop.stop();
    video.pause();
  } else {
    video.play();
    loop.start({ once: false });
  }
}

/** @param {string} text */
function sayForAWhile(text) {
  store.set({ status: text });
  setTimeout(() => store.state.status === text && store.set({ status: '' }), SAID_MS);
}

loop.addEventListener('painted', (event) => {
  const { painting, recovered } = /** @type {CustomEvent} */ (event).detail;
  const before = store.state.painting;
  const changes = painting.clamped.replaceAll(/([a-z_]+)=([^ ,]+)->/g, (_, field, from) => `${inOurWords(field)} ${from} → `);
  const news = [
    painting.clamped && painting.clamped !== before?.clamped ? say('clamped', { changes }) : '',
    painting.warnings && painting.warnings !== before?.warnings ? sentence(allInOurWords(painting.warnings)) : '',
  ].filter(Boolean);
  store.set({ painting });
  cutter.slow = view.figures.line > SLOW_LINE_MS;
  if (recovered) store.set({ status: '', alert: '' });
  if (news.length > 0) sayForAWhile(news.join(' '));
});
/** @param {string} text */
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

loop.addEventListener('retrying', (event) => {
  const { error, seconds } = /** @type {CustomEvent} */ (event).detail;
  if (error.status === 0) store.set({ status: say('lost', { seconds }), alert: '' });
  else if (error.status === 429) store.set({ status: say('busy', { seconds }), alert: '' });
  else store.set({ status: '', alert: say('failed', { reason: error.message, seconds }) });
  if (error.status === 429) learn().catch(() => {});
});
loop.addEventListener('refused', (event) => {
  store.set({ status: '', alert: /** @type {CustomEvent} */ (event).detail.message });
  learn().catch(() => {});
});
sources.addEventListener('ended', (event) => {
  stop();
  store.set({ trouble: /** @type {CustomEvent} */ (event).detail });
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;
panel.addEventListener('change', (event) => {
  const { model } = /** @type {CustomEvent} */ (event).detail;
  view.showStyle();
  if (model) {
    markPreset();
    shape();
  }
  clearTimeout(settling);
  settling = setTimeout(() => loop.changed({ restart: model }), model ? 0 : 150);
});
picker.addEventListener('camera', () => sources.kind === 'camera' && open('camera'));
picker.addEventListener('shape', () => {
  store.set({ mirrored: sources.mirrored });
  shape();
  loop.changed({ restart: false });
});

button('start').addEventListener('click', start);
button('toggle').addEventListener('click', toggle);
button('pause').addEventListener('click', pause);
for (const choose of document.querySelectorAll('.choose')) choose.addEventListener('click', () => photo.click());
button('choose-video').addEventListener('click', () => clip.click());
button('choose-screen').addEventListener('click', () => open('screen'));
button('choose-screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
photo.removeAttribute('capture'); // it would keep phones from offering their album
photo.addEventListener('change', () => photo.files?.[0] && open('photo', photo.files[0]));
clip.addEventListener('change', () => clip.files?.[0] && open('video', clip.files[0]));
video.addEventListener('resize', shape);
more.open = recall().more ?? false;
more.addEventListener('toggle', () => remember({ more: more.open }));
form.noValidate = true; // nothing is submitted any more
form.addEventListener('submit', (event) => event.preventDefault());
navigator.mediaDevices?.addEventListener('devicechange', () => sources.kind === 'camera' && picker.offer(sources.stream));
window.addEventListener('pagehide', stop);

offerPresets();
store.set({ view: kiosk ? 'picture' : (recall().view ?? 'picture') });
if (kiosk) {
  const { attend } = await import('./kiosk.js');
  attend(store, video, (image) => view.showStyle(image), () => {
    stop();
    store.set({ painting: null, trouble: null });
    panel.reset();
  });
} else {
  const steps = { ArrowLeft: () => panel.turn(-1), ArrowRight: () => panel.turn(1) };
  const letters = { p: pause, s: bar.save, r: bar.record, v: bar.nextView, f: bar.fullScreen, l: bar.share };
  listen({ ' ': toggle, ...letters, ...steps, m: () => picker.flip(), d: rollDice });
}

learn().catch(() => {});
setInterval(() => {
  if (!document.hidden && store.state.phase !== 'idle') learn().catch(() => {});
}, INFO_EVERY_MS);
view.showStyle();
