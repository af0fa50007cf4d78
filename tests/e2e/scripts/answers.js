// Keeps a list of what `/generate` answers, in the order in which the frames were sent.
() => {
  const real = window.fetch;
  window.answers = [];
  window.fetch = async (address, options) => {
    if (address !== '/generate') return real(address, options);
    const answer = { style: options.body.get('style'), status: null, job: null };
    window.answers.push(answer);
    const response = await real(address, options);
    answer.status = response.status;
    answer.job = response.headers.get('X-Job-Id');
    return response;
  };
};
