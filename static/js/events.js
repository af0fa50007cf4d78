// Follows a frame that takes its time: what the server tells of its job, as it happens.

import { part } from './dom.js';
import { inOurWords, say, words } from './words.js';

/** A frame that is back sooner needs no explanation. */
const PATIENCE_MS = 1200;
/** Later frames are followed only if frames take this long. */
const LONG_MS = 4000;

/** @typedef {{state: string, ahead?: number, waits?: string, seconds?: number, step?: number, steps?: number}} Stage */

/** The page's own name for a request: only this visitor can ask for it. */
export function nameRequest() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {Stage} stage
 * @returns {string}
 */
function sentence({ state, ahead = 0, waits, seconds, step = 0, steps = 0 }) {
  // A frame that has yet to go to the cluster stands in the server's line where that knows how long it will take.
  const inLine = state === 'queued' || (state === 'staging' && seconds !== undefined);
  if (state === 'queued' && waits) return say('queuedWhy', { why: inOurWords(waits) });
  if (inLine && ahead === 1) return words.queuedBehindOne;
  if (inLine && ahead > 1) return say('queuedBehind', { count: ahead });
  if (state === 'painting' && steps > 1) return say('step', { step, steps });
  return words[`at-${state}`] ?? '';
}

/**
 * When it will be painted, as far as that is known.
 * @param {Stage} stage
 */
function estimate({ seconds }) {
  if (!seconds) return '';
  return seconds < 100 ? say('inSeconds', { seconds }) : say('inMinutes', { minutes: Math.round(seconds / 60) });
}

/** One frame is followed at a time. */
let following = false;
/** Milliseconds that the last frame took. */
let last = 0;

/** @param {Stage | null} stage */
function show(stage) {
  const bar = /** @type {HTMLProgressElement} */ (part('progress'));
  if (stage?.state === 'painting' && stage.steps) {
    bar.max = stage.steps;
    bar.value = stage.step ?? 0;
  } else {
    bar.removeAttribute('value');
  }
  const [now, then] = stage ? [sentence(stage), estimate(stage)] : ['', ''];
  // What is read aloud does not change with every second.
  if (part('stage-now').textContent !== now) part('stage-now').textContent = now;
  part('estimate').textContent = then;
  part('step-now').textContent = `${now} ${then}`.trim();
}

/**
 * Follows a request until `end` is called.
 * @param {string} name of the request
 * @returns {() => void} end
 */
export function follow(name) {
  const start = performance.now();
  /** @type {EventSource | undefined} */
  let source;
  const timer = setTimeout(() => {
    if (following || (part('waiting').hidden && last < LONG_MS)) return;
    following = true;
    source = new EventSource(`/events?request=${name}`);
    source.addEventListener('message', ({ data }) => {
      const stage = /** @type {Stage} */ (JSON.parse(data));
      if (stage.state === 'ended') source?.close();
      else show(stage);
    });
  }, PATIENCE_MS);
  return () => {
    clearTimeout(timer);
    last = performance.now() - start;
    if (!source) return;
    source.close();
    following = false;
    show(null);
  };
}
