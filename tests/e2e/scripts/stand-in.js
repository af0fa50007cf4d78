// Answers in the server's place. `/serverinfo` has these fields besides its own; `/events` says what `tell` is told; the next
// frames get these answers, and all later ones the last of them: 200 is the server's own, 0 is none. What the page says
// meanwhile is kept in `said`.
(fields, statuses) => {
  const real = window.fetch;
  const standIn = { statuses, answered: 0, unanswered: 0, said: [] };
  window.standIn = standIn;
  window.fetch = async (address, options) => {
    if (address === '/serverinfo') return Response.json({ ...(await (await real(address, options)).json()), ...fields });
    if (address !== '/generate') return real(address, options);
    const status = standIn.statuses.length > 1 ? standIn.statuses.shift() : standIn.statuses[0];
    if (status === 0) {
      standIn.unanswered += 1;
      return new Promise((_, reject) => {
        options.signal.addEventListener('abort', () => reject(options.signal.reason));
      });
    }
    if (status !== 200) return Response.json({ error: 'not now' }, { status, headers: { 'Retry-After': '1' } });
    const response = await real(address, options);
    if (response.ok) standIn.answered += 1;
    return response;
  };
  window.EventSource = class extends EventTarget {
    constructor() {
      super();
      standIn.tell = (stage) => this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(stage) }));
    }
    close() {}
  };
  for (const id of ['status', 'alert']) {
    const place = document.getElementById(id);
    const watch = new MutationObserver(() => place.textContent && standIn.said.push(place.textContent));
    watch.observe(place, { childList: true });
  }
};
