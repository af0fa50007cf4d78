// Keyboard shortcuts, and the sheet that explains them. Single letters can be switched off (WCAG 2.2, 2.1.4).

import { button, element } from './dom.js';
import { recall, remember } from './store.js';

const sheet = () => element('keys-sheet', HTMLDialogElement);

/**
 * Whether the focus is where this key has a meaning of its own.
 * @param {string} key
 */
function taken(key) {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return false;
  if (focused.closest('dialog') || focused.matches('textarea, select, input:not([type=radio], [type=checkbox], [type=range])')) return true;
  if (key === ' ') return true;
  return key.startsWith('Arrow') && focused.matches('input');
}

/**
 * @param {Record<string, () => void>} actions by `KeyboardEvent.key`, letters in lower case
 */
export function listen(actions) {
  const on = element('keys-on', HTMLInputElement);
  on.checked = recall().keys ?? true;
  on.addEventListener('change', () => remember({ keys: on.checked }));
  const show = () => sheet().showModal();
  button('keys').addEventListener('click', show);
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || !on.checked || sheet().open) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = key === '?' ? show : actions[key];
    if (!action || taken(key)) return;
    event.preventDefault();
    action();
  });
}
