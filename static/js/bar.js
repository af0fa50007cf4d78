// The tools under the picture: view, full screen, saving, recording, sharing.

import { button, download, element, part } from './dom.js';
import { linkTo } from './link.js';
import { Recorder } from './recorder.js';
import { remember } from './store.js';
import { words } from './words.js';

const VIEWS = ['picture', 'side', 'compare'];
/** After so long without the pointer, a full screen shows the picture alone. */
const QUIET_MS = 3000;

/**
 * @param {import('./store.js').Store} store
 * @param {() => FormData} settings as they are chosen now
 * @param {(text: string) => void} tell the visitor, for a while
 */
export function wireBar(store, settings, tell) {
  const recorder = new Recorder();
  const theatre = part('theatre');

  const setView = (/** @type {string} */ view) => {
    remember({ view });
    store.set({ view });
  };
  const nextView = () => setView(VIEWS[(VIEWS.indexOf(store.state.view) + 1) % VIEWS.length]);

  function save() {
    const { painting } = store.state;
    if (painting) download(painting.blob, `livewebcam-${painting.job || 'picture'}.png`);
  }

  function record() {
    if (recorder.recording) return recorder.stop();
    if (!store.state.painting) return;
    if (!recorder.possible) return tell(words.noRecorder);
    recorder.start(element('picture', HTMLCanvasElement));
  }

  async function share() {
    const link = linkTo(settings(), store.state.view);
    try {
      await navigator.clipboard.writeText(link);
      tell(words.shared);
    } catch {
      history.replaceState(null, '', link);
      tell(words.shareByHand);
    }
  }

  function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else theatre.requestFullscreen?.().catch(() => {});
  }

  recorder.addEventListener('change', () => {
    const name = recorder.recording ? words.recordStop : words.record;
    button('record').setAttribute('aria-pressed', String(recorder.recording));
    button('record').setAttribute('aria-label', name);
    button('record').title = `${name} (R)`;
    if (recorder.recording) tell(words.recording);
  });
  store.addEventListener('change', () => store.state.phase === 'idle' && recorder.stop());

  let timer = 0;
  const stir = () => {
    delete theatre.dataset.quiet;
    clearTimeout(timer);
    timer = setTimeout(() => (theatre.dataset.quiet = ''), QUIET_MS);
  };
  for (const kind of ['pointermove', 'fullscreenchange']) theatre.addEventListener(kind, stir);

  part('views').addEventListener('change', ({ target }) => setView(/** @type {HTMLInputElement} */ (target).value));
  button('save').addEventListener('click', save);
  button('record').addEventListener('click', record);
  button('share').addEventListener('click', share);
  button('fullscreen').addEventListener('click', fullScreen);
  button('fullscreen').hidden = !document.fullscreenEnabled;
  return { nextView, save, record, share, fullScreen };
}
