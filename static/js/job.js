// The page of one job: cancels it, and copies its replay command.

import { words } from './words.js';

/**
 * @param {string} id
 * @param {string} text
 */
function say(id, text) {
  const place = document.getElementById(id);
  if (place) place.textContent = text;
}

const cancel = document.getElementById('cancel');
cancel?.addEventListener('click', async () => {
  const response = await fetch(`/jobs/${encodeURIComponent(cancel.dataset.job ?? '')}`, { method: 'DELETE' }).catch(
    () => null,
  );
  if (response?.ok) {
    say('cancel-status', words.cancelled);
    location.reload();
    return;
  }
  const body = await response?.json().catch(() => null);
  say('cancel-status', body?.error ?? words.notCancelled);
});

document.getElementById('copy')?.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(document.getElementById('replay-command')?.textContent ?? '');
    say('copy-status', words.copied);
  } catch {
    say('copy-status', words.notCopied);
  }
});

// Shows how the job went as soon as it has ended.
const unfinished = document.getElementById('unfinished');
if (unfinished) {
  const events = new EventSource(`/jobs/${encodeURIComponent(unfinished.dataset.job ?? '')}/events`);
  events.addEventListener('message', ({ data }) => {
    if (JSON.parse(data).state !== 'ended') return;
    events.close();
    location.reload();
  });
}
