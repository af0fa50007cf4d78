// Has the chosen file painted with this prompt, and tells the job's id.
async (prompt) => {
  const form = new FormData();
  form.set('input', document.querySelector('#input').files[0]);
  form.set('prompt', prompt);
  const response = await fetch('/generate', { method: 'POST', body: form });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  await response.blob();
  return response.headers.get('X-Job-Id');
};
