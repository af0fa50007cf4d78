// The wall of jobs, kept up to date while somebody looks at it. Pictures that are there stay as they are.

const EVERY_MS = 3000;

/** @param {Element} job */
const key = (job) => `${job.id} ${job.querySelector('.state')?.className}`;

/** Takes over what is new on the page as the server has it now. */
async function refresh() {
  const response = await fetch(location.href, { headers: { accept: 'text/html' } }).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const [wall, next] = [document.querySelector('.jobs'), page.querySelector('.jobs')];
  if (!wall || !next) {
    if (next) location.reload();
    return;
  }
  const here = new Map([...wall.children].map((job) => [key(job), job]));
  const jobs = [...next.children].map((job) => here.get(key(job)) ?? document.adoptNode(job));
  if (jobs.length === wall.children.length && jobs.every((job, index) => job === wall.children[index])) return;
  const focused = document.activeElement;
  wall.replaceChildren(...jobs);
  if (focused instanceof HTMLElement && focused.isConnected) focused.focus();
  for (const part of ['.lead p', '.pager']) {
    const [old, fresh] = [document.querySelector(part), page.querySelector(part)];
    if (old && fresh) old.replaceWith(document.adoptNode(fresh));
  }
}

setInterval(() => document.hidden || refresh(), EVERY_MS);

const filter = document.getElementById('filter');
if (filter instanceof HTMLFormElement) filter.addEventListener('change', () => filter.requestSubmit());
