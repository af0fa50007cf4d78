// The page's settings as a link, and back. They stand behind the `#`, so that no server on the way reads a prompt.

import { recall, remember } from './store.js';

const FIELDS = ['style', 'prompt', 'negative_prompt', 'steps', 'scale', 'strength', 'seed', 'scheduler'];
const VIEWS = ['picture', 'side', 'compare'];
const LONGEST = 2000;

/**
 * @param {FormData} fields
 * @param {string} view
 * @returns {string} an address of this page
 */
export function linkTo(fields, view) {
  const settings = new URLSearchParams();
  for (const name of ['model', ...FIELDS]) {
    const value = fields.get(name);
    if (typeof value === 'string' && value) settings.set(name, value);
  }
  settings.set('view', view);
  const address = new URL(location.href);
  address.hash = settings.toString();
  return address.href;
}

/** Takes up the settings of the address, as if the visitor had chosen them at the last visit. */
export function followLink() {
  const settings = new URLSearchParams(location.hash.slice(1));
  const model = settings.get('model');
  const view = settings.get('view') ?? '';
  if (VIEWS.includes(view)) remember({ view });
  if (!model) return;
  const given = FIELDS.filter((name) => settings.has(name));
  const values = Object.fromEntries(given.map((name) => [name, (settings.get(name) ?? '').slice(0, LONGEST)]));
  remember({ model, values: { ...recall().values, [model]: values } });
  history.replaceState(null, '', location.pathname + location.search);
}
