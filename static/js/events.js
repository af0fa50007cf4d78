// Follows a frame that takes its time: what the server tells of its job, as it happens.

import { part } from './dom.js';
import { say, words } from './words.js';

/** A frame that is back sooner needs no explanation. */
const PATIENCE_MS = 1200;
/** Later frames are followed only if frames take this long. */
const LONG_MS = 4000;

/** @typedef {{state: string, ahead?: number, waits?: string, step?: number, steps?: number}} Stage */

/** The page's own name for a request: only this visitor can ask for it. */
export function nameRequest() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {Stage} stage
 * @returns {string}
 */
function sentence({ state, ahead = 0, waits, step = 0, steps = 0 }) {
  if (state === 'queued' && waits) return say('queuedWhy', { why: words[waits] ?? waits });
  if (state === 'queued' && ahead > 0) return say('queuedBehind', { count: ahead });
  if (state === 'painting' && steps > 1) return say('step', { step, steps });
  return words[`at-${state}`] ?? '';
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
  for (const id of ['stage-now', 'step-now']) part(id).textContent = stage ? sentence(stage) : '';
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
